package etcd

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/store"
)

// disk is a small one of the test's own.
func disk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+size, "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("mount a small disk: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// fillUp leaves nothing on a disk.
func fillUp(t *testing.T, dir string) (filler string) {
	t.Helper()
	filler = filepath.Join(dir, "filler")
	f, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for piece := make([]byte, 1<<20); err == nil; {
		_, err = f.Write(piece)
	}
	if free, err := left(dir); err != nil || free > 0 {
		t.Fatalf("the disk has %d bytes left, %v", free, err)
	}
	return filler
}

func TestAFullDiskStopsWhatIsNewAndLosesNothing(t *testing.T) {
	top := disk(t, "512m")
	dir := filepath.Join(top, "store")
	s := open(t, Config{Dir: dir})
	put := func(name string, expect int64) error {
		_, err := s.Commit(t.Context(), store.Change{Key: thing(name), Op: store.Put, Value: make([]byte, 2000), Expect: expect})
		return err
	}
	for i := range 300 {
		if err := put(fmt.Sprint(i), store.Absent); err != nil {
			t.Fatal(err)
		}
	}
	filler := fillUp(t, top)
	for range 5 {
		if err := put("new", store.Absent); !fault.Is(err, fault.Exhausted) || !strings.Contains(err.Error(), "0 MiB left") || !strings.Contains(err.Error(), "free space") {
			t.Fatalf("on a full disk something new is met by: %v", err)
		}
	}
	if _, err := s.Get(t.Context(), thing("7")); err != nil {
		t.Fatalf("on a full disk nothing is read: %v", err)
	}
	for i := range 200 { // that is how space is freed
		if _, err := s.Commit(t.Context(), store.Change{Key: thing(fmt.Sprint(i)), Op: store.Delete, Expect: store.Any}); err != nil {
			t.Fatalf("on a full disk nothing is deleted: %v", err)
		}
	}
	refused := false
	for range 4000 {
		if err := put("250", store.Any); err != nil {
			refused = fault.Is(err, fault.Exhausted)
			break
		}
	}
	if !refused {
		t.Error("a full disk takes changes without end")
	}
	s.server.Server.Backend().ForceCommit()
	s.Close()

	if err := os.WriteFile(filler+"2", make([]byte, 60<<20), 0o600); err != nil { // the log's segment in store went with the process
		t.Fatal(err)
	}
	if s, err := Open(t.Context(), Config{Dir: dir}); !fault.Is(err, fault.Exhausted) || !strings.Contains(err.Error(), "free space there and start again") {
		if err == nil {
			s.Close()
		}
		t.Fatalf("a start on a full disk: %v", err)
	}
	for _, file := range []string{filler, filler + "2"} {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	s = open(t, Config{Dir: dir})
	if entries, _, err := s.List(t.Context(), "thing"); err != nil || len(entries) != 100 {
		t.Errorf("%d entries are left of 100, %v", len(entries), err)
	}
	if err := put("new", store.Absent); err != nil {
		t.Errorf("with free space again: %v", err)
	}
}

func TestAStoreGoesOnWhenItsDiskHasFreeSpaceAgain(t *testing.T) {
	top := disk(t, "512m")
	s := open(t, Config{Dir: filepath.Join(top, "store")})
	write := func(name string) error {
		_, err := s.Commit(t.Context(), store.Change{Key: thing(name), Op: store.Put, Value: []byte("1"), Expect: store.Absent})
		return err
	}
	filler := fillUp(t, top)
	if err := write("a"); !fault.Is(err, fault.Exhausted) {
		t.Fatalf("on a full disk: %v", err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if err := write("a"); err != nil {
		t.Fatalf("with free space again: %v", err)
	}
}

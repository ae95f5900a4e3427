package etcd

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/store"
)

// etcd would end the process over most of these, and take the rest for a new store, or drop new commits.
func TestDamagedStoreIsRefusedInWords(t *testing.T) {
	whole := t.TempDir()
	s, err := Open(t.Context(), Config{Dir: whole, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		if _, err := s.Commit(t.Context(), store.Change{Key: thing(fmt.Sprint(i)), Op: store.Put, Value: bytes.Repeat([]byte("x"), 2000)}); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	if err := Verify(whole); err != nil {
		t.Fatal(err)
	}
	logs, _ := filepath.Glob(filepath.Join(logFolder(whole), "*.wal"))
	if len(logs) != 1 {
		t.Fatal(logs)
	}
	log := "etcd/member/wal/" + filepath.Base(logs[0])
	const data = "etcd/member/snap/db"
	cut := func(part int64) func(string) error {
		return func(path string) error {
			i, err := os.Stat(path)
			if err != nil {
				return err
			}
			return os.Truncate(path, i.Size()*part/100)
		}
	}
	fill := func(from, to int) func(string) error {
		return func(path string) error {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for i := len(b) * from / 100; i < len(b)*to/100; i++ {
				b[i] = 0xa5
			}
			return os.WriteFile(path, b, 0o600)
		}
	}
	for _, d := range []struct {
		file, how string
		do        func(string) error
	}{
		{data, "removed", os.Remove}, {data, "emptied", cut(0)}, {data, "cut to half", cut(50)}, {data, "cut to a tenth", cut(10)},
		{data, "garbage", fill(0, 100)}, {data, "garbage in the middle", fill(20, 60)},
		{"etcd/member/wal", "removed", os.RemoveAll}, {log, "removed", os.Remove}, {log, "emptied", cut(0)}, {log, "garbage", fill(0, 100)}, {log, "cut short", func(path string) error { return os.Truncate(path, 100_000) }},
		{"etcd/member/snap", "removed", os.RemoveAll},
	} {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
			t.Fatal(err)
		}
		if err := d.do(filepath.Join(dir, d.file)); err != nil {
			t.Fatal(err)
		}
		s, err := Open(t.Context(), Config{Dir: dir, NoSync: true})
		if err == nil {
			s.Close()
		}
		if !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "the records in "+dir+" are damaged") || !strings.Contains(err.Error(), "virga restore") {
			t.Errorf("%s %s: %v", d.file, d.how, err)
		}
	}
}

func TestStoreWhoseFirstStartWasCutOffIsFinished(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(t.Context(), Config{Dir: dir, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if err := os.RemoveAll(logFolder(dir)); err != nil { // the database comes first
		t.Fatal(err)
	}
	if s, err = Open(t.Context(), Config{Dir: dir, NoSync: true}); err == nil {
		s.Close()
		t.Error("it is taken although it is not said to be fresh")
	}
	s = open(t, Config{Dir: dir, NoSync: true, Fresh: true})
	if _, err := s.Commit(t.Context(), store.Change{Key: thing("a"), Op: store.Put, Value: []byte("1")}); err != nil {
		t.Error(err)
	}
}

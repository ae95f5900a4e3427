package etcd

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

func thing(id string) resource.Ref { return resource.Ref{Kind: "thing", ID: resource.ID(id)} }

func TestStateFolderOfAnotherVersionIsRefusedAndLeftAsItIs(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(t.Context(), Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	for _, text := range []string{strconv.Itoa(Format + 1), strconv.Itoa(oldest - 1), "many"} {
		if err := os.WriteFile(filepath.Join(dir, "format"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), Config{Dir: dir}); !fault.Is(err, fault.Precondition) {
			t.Errorf("format %q gives %v", text, err)
		}
		if left, err := os.ReadFile(filepath.Join(dir, "format")); err != nil || string(left) != text {
			t.Errorf("format %q became %q, %v", text, left, err)
		}
	}
}

func TestAPowerCutWhileAFolderIsMarkedDoesNotSpoilIt(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, ".format.new"), nil, 0o600); err != nil { // cut before the number
		t.Fatal(err)
	}
	for range 2 {
		if err := checkFormat(dir); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, ".format.new")); !os.IsNotExist(err) {
		t.Errorf("what was half written is still there: %v", err)
	}
}

func TestRecordsAndRevisionsSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(t.Context(), Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	revision, err := s.Commit(t.Context(), store.Change{Key: thing("a"), Op: store.Put, Value: []byte("1")})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = open(t, Config{Dir: dir})
	e, err := s.Get(t.Context(), thing("a"))
	if err != nil || e.Revision != revision {
		t.Fatalf("after the restart: %+v, %v; want revision %d", e, err, revision)
	}
	if again, err := s.Commit(t.Context()); err != nil || again != revision {
		t.Fatalf("a restart alone moved the revision from %d to %d: %v", revision, again, err)
	}
}

func TestAStoreAloneOpensNoPort(t *testing.T) {
	run := filepath.Join(t.TempDir(), strings.Repeat("a-long-name-", 8))
	s := open(t, Config{Run: run})
	sockets, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		t.Skip(err)
	}
	for _, name := range []string{"client", "peer"} {
		if !strings.Contains(string(sockets), s.socketPath(name)) {
			t.Errorf("nothing listens on %s", s.socketPath(name))
		}
	}
	for _, port := range []string{"2379", "2380"} {
		if c, err := net.Dial("tcp", "127.0.0.1:"+port); err == nil {
			c.Close()
			t.Errorf("something listens on port %s", port)
		}
	}
}

func TestAFullStoreSaysWhatToDo(t *testing.T) {
	s := open(t, Config{QuotaMiB: 4, NoSync: true})
	var err error
	written := 0
	for ; written < 1000 && err == nil; written++ {
		key := thing(fmt.Sprint(written))
		_, err = s.Commit(t.Context(), store.Change{Key: key, Op: store.Put, Value: make([]byte, 1<<20), Expect: store.Absent})
	}
	if !fault.Is(err, fault.Exhausted) || !strings.Contains(err.Error(), "raise the quota") {
		t.Fatalf("after %d MiB: %v", written, err)
	}
	if _, err := s.Get(t.Context(), thing("0")); err != nil {
		t.Fatalf("a full store is not even read: %v", err)
	}
	for i := range written {
		if _, err := s.Commit(t.Context(), store.Change{Key: thing(fmt.Sprint(i)), Op: store.Delete, Expect: store.Any}); err != nil {
			t.Fatalf("a full store deletes nothing: %v", err)
		}
	}
	if err := s.Reclaim(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(t.Context(), store.Change{Key: thing("x"), Op: store.Put, Value: []byte("1")}); err != nil {
		t.Fatalf("after space was reclaimed: %v", err)
	}
}

func TestAStoreFullOfItsPastFreesSpaceByItself(t *testing.T) {
	s := open(t, Config{QuotaMiB: 8, NoSync: true})
	for i := range 30 {
		if _, err := s.Commit(t.Context(), store.Change{Key: thing("a"), Op: store.Put, Value: make([]byte, 1<<20), Expect: store.Any}); err != nil {
			t.Fatalf("write %d of the same MiB: %v", i, err)
		}
	}
}

func TestKeysComeBackAsTheyWere(t *testing.T) {
	for _, ref := range []resource.Ref{
		{Kind: "vm", ID: "x"}, {Kind: "vm", Project: "-", ID: "x"}, {Kind: "n/a", Project: "a/-", ID: "%2F/ü"},
	} {
		back, err := decode(encode(ref))
		if err != nil || back != ref {
			t.Errorf("%v comes back as %v, %v", ref, back, err)
		}
	}
	if _, err := decode("/virga/records/vm/x"); err == nil {
		t.Error("a broken key is understood")
	}
}

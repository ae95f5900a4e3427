package etcd

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// childEnv makes the test binary a process that commits until it is killed.
const childEnv = "VIRGA_ETCD_CHILD"

func numbered(i int, part string) resource.Ref {
	return resource.Ref{Kind: "thing", ID: resource.ID(fmt.Sprintf("%d-%s", i, part))}
}

func commitForEver(dir string) {
	s, err := Open(context.Background(), Config{Dir: dir})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	first, _ := strconv.Atoi(os.Getenv(childEnv + "_FROM"))
	for i := first; ; i++ {
		var changes []store.Change
		for _, part := range []string{"a", "b", "c"} {
			changes = append(changes, store.Change{Key: numbered(i, part), Op: store.Put, Value: []byte("{}"), Expect: store.Any})
		}
		if _, err := s.Commit(context.Background(), changes...); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(i) // acknowledged
	}
}

func TestAKilledStoreKeepsEveryAcknowledgedCommitWhole(t *testing.T) {
	dir := t.TempDir()
	acknowledged := -1
	for round := range 3 {
		acknowledged = commitAndKill(t, dir, acknowledged+1, 40+30*round)
	}
	s := open(t, Config{Dir: dir})
	entries, _, err := s.List(t.Context(), "thing")
	if err != nil {
		t.Fatal(err)
	}
	parts := map[string]int{}
	for _, e := range entries {
		n, _, _ := cut(string(e.Key.ID))
		parts[n]++
	}
	for i := range acknowledged + 1 {
		if parts[strconv.Itoa(i)] == 0 {
			t.Errorf("commit %d was acknowledged and is gone", i)
		}
	}
	for n, have := range parts {
		if have != 3 {
			t.Errorf("commit %s is there with %d of its 3 parts", n, have)
		}
	}
	t.Logf("%d commits acknowledged, %d there", acknowledged+1, len(parts))
}

func cut(id string) (number, part string, ok bool) {
	for i := range id {
		if id[i] == '-' {
			return id[:i], id[i+1:], true
		}
	}
	return id, "", false
}

// commitAndKill lets a child commit from a number on, kills it after some, and returns the last
// that was acknowledged.
func commitAndKill(t *testing.T, dir string, from, some int) int {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(self)
	child.Env = append(os.Environ(), childEnv+"="+dir, fmt.Sprintf("%s_FROM=%d", childEnv, from))
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	guard := time.AfterFunc(time.Minute, func() { _ = child.Process.Kill() })
	defer guard.Stop()
	last := from - 1
	for lines := bufio.NewScanner(out); lines.Scan(); {
		last, _ = strconv.Atoi(lines.Text())
		if last == from+some {
			_ = child.Process.Kill() // what it printed before it died is still read
		}
	}
	_ = child.Wait()
	if last < from+some {
		t.Fatalf("the child died by itself after commit %d", last)
	}
	return last
}

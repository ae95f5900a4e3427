package proc

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

func TestAChildApartSeesNoNetwork(t *testing.T) {
	if Apart() == 0 {
		t.Skip("this host makes no network namespaces")
	}
	before, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command("/bin/sh", "-c", "readlink /proc/self/ns/net; tail -n +3 /proc/net/dev")
	child.SysProcAttr = &syscall.SysProcAttr{Cloneflags: Apart()}
	out, err := child.Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != 2 || lines[0] == before || !strings.HasPrefix(strings.TrimSpace(lines[1]), "lo:") {
		t.Errorf("the child, of %s, is in a network with %q", before, lines)
	}
	if after, _ := os.Readlink("/proc/thread-self/ns/net"); after != before {
		t.Errorf("trying it has left us in %s", after)
	}
}

package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// twoHosts is a cloud of two hosts that share a datastore, and have image tiny.
func twoHosts(t *testing.T) *Cloud {
	c := New(t, 2)
	c.Start()
	h := c.Hosts[0]
	shared := filepath.Join(c.dir, "shared")
	if err := os.Mkdir(shared, 0o755); err != nil {
		t.Fatal(err)
	}
	h.Must("storage", "create", "shared", "--folder", shared, "--host", "h1", "--host", "h2")
	h.Must("datastore", "create", "shared", "--storage", "shared", "--wait")
	h.ImportTiny()
	return c
}

// on tells which host a machine is on.
func (h *Host) on(vm string) string {
	out, _ := h.Virga("vm", "list", "-o", "wide")
	for _, line := range strings.Split(out, "\n") {
		if strings.HasPrefix(line, vm+" ") {
			if m := regexp.MustCompile(`\bh\d\b`).FindString(line); m != "" {
				return m
			}
		}
	}
	return ""
}

func TestAMachineMovesUnderPing(t *testing.T) {
	c := twoHosts(t)
	h := c.Hosts[0]
	for i, name := range []string{"a", "b"} {
		h.Must("vm", "create", name, "--image", "tiny", "--memory", "128MiB", "--host", fmt.Sprintf("h%d", i+1), "--disk", "64MiB",
			"--datastore", "shared", "--wait")
	}
	a, b := h.Guest("a"), h.Guest("b")
	addressA := a.Wait(boot, `VIRGA-READY a (10\.20\.\S+)`)[1]
	addressB := b.Wait(boot, `VIRGA-READY b (10\.20\.\S+)`)[1]
	a.Must(boot, "ping -c 3 -W 2 "+addressB)
	b.Must(boot, "ping -c 3 -W 2 "+addressA)
	a.Must(boot, "ping -c 2 -W 2 "+Outside)
	b.Must(boot, "ping -c 2 -W 2 "+Outside)
	_ = addressA
	_ = strconv.Itoa
	_ = time.Second
}

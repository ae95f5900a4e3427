package lab

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// memory is what the daemon has of its own, in MiB.
func (h *Host) memory() int {
	h.cloud.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", h.PID()))
	if err != nil {
		h.cloud.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "RssAnon:")
	var kib int
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		h.cloud.t.Fatalf("read the memory of the daemon: %v", err)
	}
	return kib >> 10
}

// watch asks for a watch of all VMs; of the answer nothing is read yet.
func (h *Host) watch() net.Conn {
	h.cloud.t.Helper()
	conn, err := net.Dial("unix", filepath.Join(h.Run, "api.sock"))
	if err == nil {
		h.cloud.t.Cleanup(func() { conn.Close() })
		_, err = fmt.Fprint(conn, "GET /v1/watch?kinds=vm HTTP/1.1\r\nHost: virga\r\nConnection: close\r\n\r\n")
	}
	if err != nil {
		h.cloud.t.Fatal(err)
	}
	return conn
}

// hear reads a watch until a revision was told, or its end, and keeps the last that was told.
func hear(conn net.Conn, until int64, told *atomic.Int64) {
	lines := bufio.NewScanner(conn)
	lines.Buffer(nil, 1<<20)
	for told.Load() < until && lines.Scan() {
		if id, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
			last, _ := strconv.ParseInt(id, 10, 64)
			told.Store(last)
		}
	}
}

// TestClientsThatNeverReadTheirWatchHarmNobody makes many changes before many clients of whom one
// reads. What all the others are told would be more than a gigabyte.
func TestClientsThatNeverReadTheirWatchHarmNobody(t *testing.T) {
	const deaf, vms, changes, bytes, bound = 120, 8, 100, 12_000, 250
	c := New(t, 1)
	c.Start()
	h := c.Hosts[0]
	h.ImportTiny()
	for i := range vms {
		h.Must("vm", "create", fmt.Sprintf("web%d", i), "--image", "tiny", "--memory", "128MiB", "--stopped")
	}
	var silent []net.Conn
	for range deaf {
		silent = append(silent, h.watch())
	}
	before := h.memory()
	var told atomic.Int64
	go hear(h.watch(), math.MaxInt64, &told) // ends with its connection

	var writers sync.WaitGroup
	var mu sync.Mutex
	var last int64 // revision that a VM was given
	most := 0
	for i := range vms {
		writers.Go(func() {
			for n := range changes {
				data := fmt.Sprintf("#cloud-config\n# %d ", n) + strings.Repeat("x", bytes)
				status, text, err := h.raw("PATCH", fmt.Sprintf("/v1/projects/default/vms/web%d", i), fmt.Sprintf(`{"spec": {"userData": %q}}`, base64.StdEncoding.EncodeToString([]byte(data))))
				var r struct{ Revision int64 }
				if err != nil || status != 200 || json.Unmarshal([]byte(text), &r) != nil {
					t.Errorf("change %d of web%d: %d %.200s %v", n, i, status, text, err)
					return
				}
				mu.Lock()
				last, most = max(last, r.Revision), max(most, h.memory())
				mu.Unlock()
			}
		})
	}
	writers.Wait()
	if t.Failed() {
		return
	}
	t.Logf("the daemon had %d MiB, and at most %d MiB while %d MiB were to be told", before, most, deaf*vms*changes*bytes>>20)
	if most > before+bound {
		t.Errorf("the daemon grew from %d to %d MiB for clients that do not read", before, most)
	}
	h.Eventually(20*time.Second, "the client that reads was told everything", func() bool { return told.Load() >= last })
	for _, conn := range silent[:5] { // at last they read: they are told the rest, or were cut off and begin again
		var late atomic.Int64
		if hear(conn, last, &late); late.Load() < last {
			hear(h.watch(), last, &late)
		}
		if late.Load() < last {
			t.Errorf("a client that begins again is told up to %d of %d", late.Load(), last)
		}
	}
}

package lab

import (
	"testing"
)

// A VM with two disks is written to, kept, written to again, and has what it had when it goes back; what is deleted
// below it takes nothing from it.
func TestAGuestReadsWhatItsSnapshotKept(t *testing.T) {
	c := New(t, 1)
	h := c.Hosts[0]
	h.Up()
	h.ImportTiny()
	h.Must("volume", "create", "data", "--size", "64MiB")
	h.Must("vm", "create", "web", "--image", "tiny", "--memory", "128MiB", "--disk", "128MiB", "--disk", "volume=data", "--wait")
	write := func(word string) {
		g := h.Guest("web")
		g.Wait(boot, `VIRGA-READY web `)
		for _, disk := range []string{"vda seek=100", "vdb seek=9"} {
			g.Must(boot, "printf '%-8s' "+word+" | dd of=/dev/"+disk+" bs=1M conv=notrunc,fsync")
		}
		g.Close()
	}
	reads := func(word string) {
		t.Helper()
		g := h.Guest("web")
		defer g.Close()
		g.Wait(boot, `VIRGA-READY web `)
		for _, disk := range []string{"vda bs=1M skip=100", "vdb bs=1M skip=9"} {
			if got := g.Must(boot, "dd if=/dev/"+disk+" count=1 2>/dev/null | head -c 8; echo"); got != word {
				t.Errorf("on %s it reads %q, want %q", disk, got, word)
			}
		}
	}
	stop := func() { h.Must("vm", "stop", "web", "--force", "--wait") }
	for _, word := range []string{"one", "two", "three"} {
		write(word)
		stop()
		if word != "three" {
			h.Must("vm-snapshot", "create", word, "--vm", "web", "--wait")
		}
		h.Must("vm", "start", "web", "--wait")
	}
	reads("three")
	for _, word := range []string{"one", "two"} {
		stop()
		h.Must("vm-snapshot", "revert", word, "--wait")
		h.Must("vm", "start", "web", "--wait")
		reads(word)
	}
	stop()
	h.Must("vm-snapshot", "delete", "one", "--wait")
	h.Must("vm", "start", "web", "--wait")
	reads("two")
	h.Must("vm", "delete", "web", "--wait")
	h.Must("volume", "delete", "data", "--wait")
}

package bench

import (
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/virga-cloud/virga/network"
)

// create measures a VM from the request to its guest's first words, and the same command
// line typed by hand with disk and tap there already.
func create(p *Part) {
	c := newCloud(p, 1)
	c.first.ImportTiny()
	c.create("pattern", tiny(128))
	pattern := c.instance(c.ready("pattern"))
	c.booted(c.first, pattern)
	bare := c.replicate(c.first, c.first, pattern, "bare", "", c.spare("hand"))
	c.remove("pattern")
	bare.start() // once before it counts: what it reads is in memory afterwards, as it is for ours
	bare.says("\n")
	bare.stop()

	var ours, byHand, own []float64
	for range max(rounds(), 5) {
		t := c.timed("timed")
		ours, own = append(ours, ms(t.first)), append(own, ms(t.process))
		begun := time.Now()
		bare.start()
		byHand = append(byHand, ms(bare.says("\n").Sub(begun)))
		bare.stop()
	}
	p.Add(Figure{What: "create a VM: request to the guest's first line (it is up, with an address)", Unit: "ms", Ours: Summarize(ours...), Bare: Summarize(byHand...), Target: &Target{Ratio: 1.10}})
	p.Add(Figure{What: "create a VM: request to QEMU's process", Unit: "ms", Ours: Summarize(own...), Target: &Target{Most: 150}, Note: "the kernel tells when a process began in steps of 10 ms"})
}

// spare makes a port that no VM of ours uses: the one of a VM that is never started.
func (c *cloud) spare(name string) *network.Port {
	c.Helper()
	c.create(name, stopped(true))
	port := &network.Port{}
	c.ask("GET", "/v1/projects/default/ports/"+string(c.get(name).Status.NICs[0].PortID), nil, port)
	return port
}

// creation is how long it took from the request for a VM.
type creation struct{ process, first time.Duration }

// timed creates a VM, and deletes it again.
func (c *cloud) timed(name string) creation {
	c.Helper()
	begun, sinceStart := time.Now(), uptime()
	c.create(name, tiny(128))
	answered := time.Since(begun)
	log := filepath.Join(c.first.State, "serial", string(c.get(name).ID)+".log")
	said := func() string { return read(log) }
	first := c.until(slow, "the guest has said a line", func() bool { return strings.Contains(said(), "\n") })
	pid := c.instance(c.get(name)).Status.PID
	t := creation{process: startedAt(pid) - sinceStart, first: first.Sub(begun)}
	c.Logf("answered after %v, process after %v, first line after %v", answered, t.process, t.first)
	c.remove(name)
	return t
}

// uptime is the time since the host's start, the clock by which the kernel tells when a process began.
func uptime() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &t)
	return time.Duration(t.Nano())
}

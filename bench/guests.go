package bench

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/virga-cloud/virga/compute"
)

// manyGuests lets many guests run, looks at what they cost the daemon, kills it, and measures how
// long it takes until a new one has them all in hand. No guest may notice.
func manyGuests(p *Part) {
	c := newCloud(p, 1)
	c.first.ImportTiny()
	time.Sleep(settle)
	before := c.rest()
	n := guests()
	// Guests that do nothing need little: let there be more of them than placement would allow here.
	c.ask("PATCH", "/v1/hosts/h1", map[string]any{"spec": map[string]any{"cpuOvercommitPercent": 100 * (n + 1)}}, nil)
	begun := time.Now()
	pids := map[string]int64{}
	for i := range n {
		c.create(fmt.Sprint("g", i), tiny(128))
	}
	for i := range n {
		name := fmt.Sprint("g", i)
		inst := c.instance(c.ready(name))
		pids[name] = inst.Status.PID
		c.booted(c.first, inst)
	}
	p.Logf("%d guests are up after %v", n, time.Since(begun))
	time.Sleep(settle)
	after := c.rest()
	p.Add(Figure{What: "each further running VM: daemon's memory", Unit: "KiB", Ours: Summarize((after.memoryKiB - before.memoryKiB) / float64(n)), Note: fmt.Sprintf("of %d", n)})
	p.Add(Figure{What: "each further running VM: daemon's processor", Unit: "% of one", Ours: Summarize((after.percent - before.percent) / float64(n))})
	var took []float64
	for range min(rounds(), 3) {
		took = append(took, c.takeOver(pids))
	}
	p.Add(Figure{What: fmt.Sprintf("kill -9 with %d guests running: virga up to all taken over", n), Unit: "s", Ours: Summarize(took...), Note: "the proof is a picture of each guest's screen; no guest was restarted"})
}

// takeOver kills the daemon, starts it anew, and waits until it can show the screen of each guest:
// that needs a server that knows where it is, and an agent that talks to its QEMU.
func (c *cloud) takeOver(pids map[string]int64) float64 {
	c.Helper()
	old := c.first.PID()
	c.first.Kill9()
	c.until(slow, "the daemon is dead", func() bool { return startedAt(int64(old)) == 0 })
	begun := time.Now()
	c.first.Up()
	c.api = connect(c.Part, c.first)
	for name := range pids {
		c.until(slow, "the screen of "+name+" can be seen again", func() bool {
			_, err := ask(c.api, "GET", vmsPath+"/"+name+"/screenshot", nil, nil)
			return err == nil
		})
	}
	took := time.Since(begun).Seconds()
	time.Sleep(time.Second)
	for name, pid := range pids {
		vm := c.get(name)
		if now := c.instance(vm).Status.PID; now != pid || vm.Status.Phase != compute.PhaseRunning {
			c.Errorf("VM %s was process %d, and now it is %s and process %d", name, pid, vm.Status.Phase, now)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(c.first.Run, "vm", "*", "vm")); len(left) != len(pids) {
		c.Errorf("%d guests ran, and now there are %d", len(pids), len(left))
	}
	return took
}

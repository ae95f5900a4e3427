package bench

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/operation"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/lab"
)

// migrate moves a guest of 256 MiB between two hosts that share a datastore, while another guest
// pings it each 10 ms; and, in turns, a replica of it from one QEMU process to another by QMP alone.
func migrate(p *Part) {
	p.Setenv("VIRGA_LOG", "debug") // what the QEMU processes say is in the daemons' logs then
	c := newCloud(p, 2)
	c.shareFolder()
	c.first.ImportTiny()
	on := func(spec request, host string) request {
		spec["hostID"], spec["disks"] = host, []compute.Disk{{DatastoreID: "shared"}}
		return spec
	}
	c.create("pinger", on(tiny(128), "h2"))
	pinger := c.instance(c.ready("pinger"))
	c.booted(c.Hosts[1], pinger)
	tap := c.tapOf(c.Hosts[1])
	moving := on(tiny(256), "")
	delete(moving, "hostID")
	c.create("moving", moving)
	i := c.instance(c.ready("moving"))
	h := c.hostOf(i)
	c.booted(h, i)

	here := c.replicate(h, h, i, "bhere", "", nil)
	disk := filepath.Join(here.dir, "disk.qcow2")
	beside := c.replicate(h, h, i, "bbeside", disk, nil)
	across := c.replicate(h, c.other(h), i, "bacross", disk, nil)
	here.start()
	here.says("VIRGA-READY")

	m := moves{steps: map[string][]float64{}}
	address := c.get("moving").Status.Addresses[0]
	console := c.first.Guest("pinger")
	console.Must(slow, "ping -c 3 -W 2 "+address)
	for range rounds() {
		console.Must(slow, "(ping -i 0.01 "+address+" >/tmp/ping 2>&1 &)") // also while the replica moves: it costs both the same
		time.Sleep(time.Second)
		c.moveOurs(&m, tap)
		t := here.moveTo(beside)
		m.byHand, m.stopped = append(m.byHand, ms(t.total)), append(m.stopped, ms(t.stopped))
		link := beside.moveTo(across)
		m.byLink, m.stoppedByLink = append(m.byLink, ms(link.total)), append(m.stoppedByLink, ms(link.stopped))
		c.Logf("by hand: %v, stopped for %v; over the link: %v, stopped for %v", t.total, t.stopped, link.total, link.stopped)
		across.moveTo(here)
		console.Must(slow, "killall ping; true")
	}
	m.report(p)
}

// moves are the samples of all rounds.
type moves struct {
	ours, byHand, byLink, ended   []float64
	stood, stopped, stoppedByLink []float64
	silence, lost                 []float64
	steps                         map[string][]float64
	order                         []string
}

func (m *moves) report(p *Part) {
	p.Add(Figure{What: "live migration: request to running on the target", Unit: "ms", Ours: Summarize(m.ours...), Bare: Summarize(m.byLink...), Target: &Target{Ratio: 1.15},
		Note: "by hand: from the start of the target's QEMU to the answer of cont, plain TCP over the hosts' link; ours is encrypted and packed"})
	p.Add(Figure{What: "live migration: the guest stands still", Unit: "ms", Ours: Summarize(m.stood...), Bare: Summarize(m.stoppedByLink...), Target: &Target{Difference: 30},
		Note: "from QEMU's word STOP on the source to its word RESUME on the target"})
	p.Add(Figure{What: "live migration: pings lost, one each 10 ms", Unit: "pings", Ours: Summarize(m.lost...), Target: &Target{Most: 1}})
	p.Add(Figure{What: "live migration: the longest silence between two answers to pings", Unit: "ms", Ours: Summarize(m.silence...)})
	p.Add(Figure{What: "beside QMP alone on one host, over a unix socket", Unit: "ms", Ours: Summarize(m.ours...), Bare: Summarize(m.byHand...),
		Note: "no link at all; that of the lab goes through the user-space switch"})
	p.Add(Figure{What: "standing still, beside QMP alone on one host", Unit: "ms", Ours: Summarize(m.stood...), Bare: Summarize(m.stopped...)})
	p.Add(Figure{What: "live migration: request to all cleaned up", Unit: "ms", Ours: Summarize(m.ended...)})
	for _, step := range m.order {
		p.Add(Figure{What: "  step " + step, Unit: "ms", Ours: Summarize(m.steps[step]...)})
	}
}

// moveOurs moves the VM to the other host under ping.
func (c *cloud) moveOurs(m *moves, tap string) {
	c.Helper()
	source := c.instance(c.get("moving"))
	from := c.hostOf(source)
	to := c.other(from)
	listener := c.listen(c.Hosts[1], tap)
	op := &operation.Operation{}
	begun := time.Now()
	c.ask("POST", vmsPath+"/moving/migrate", map[string]string{"host": to.Name}, op)
	c.ask("GET", "/v1/projects/default/operations/"+string(op.ID)+"?wait=ready&timeout=2m", nil, op)
	time.Sleep(time.Second)
	pings := listener.stop()
	if pings.sent < 50 {
		c.Fatalf("only %d pings were sent", pings.sent)
	}

	last := begun
	for _, e := range op.Status.Journal {
		if !slices.Contains(m.order, e.Step) {
			m.order = append(m.order, e.Step)
		}
		m.steps[e.Step] = append(m.steps[e.Step], ms(e.At.Sub(last)))
		if last = e.At; e.Step == "resume" {
			m.ours = append(m.ours, ms(e.At.Sub(begun)))
		}
	}
	m.ended = append(m.ended, ms(op.Status.EndedAt.Sub(begun)))
	stood := c.said(to, c.instance(c.get("moving")), "RESUME").Sub(c.said(from, source, "STOP"))
	m.stood = append(m.stood, ms(stood))
	m.silence, m.lost = append(m.silence, ms(pings.silence)), append(m.lost, float64(len(pings.lost)))
	c.Logf("ours, %s to %s: %v ms, stood still for %v, cleaned up after %v; %d pings sent, longest silence %v, lost those of %v", from.Name, to.Name,
		m.ours[len(m.ours)-1], stood, op.Status.EndedAt.Sub(begun), pings.sent, pings.silence, since(begun, pings.lost))
}

// since tells times as spans.
func since(begun time.Time, at []time.Time) (out []time.Duration) {
	for _, t := range at {
		out = append(out, t.Sub(begun))
	}
	return out
}

// said is when QEMU of an instance said a word for the last time, by its own clock.
func (c *cloud) said(h *lab.Host, i *compute.Instance, word string) time.Time {
	c.Helper()
	pattern := regexp.MustCompile(`QEMU says" instance=` + string(i.ID) + ` event=` + word + ` at=(\S+)`)
	all := pattern.FindAllStringSubmatch(read(filepath.Join(h.State, "virga.log")), -1)
	if len(all) == 0 {
		c.Fatalf("QEMU of %s on %s has not said %s", i.Spec.VMName, h.Name, word)
	}
	at, err := time.Parse(time.RFC3339Nano, all[len(all)-1][1])
	c.must(err)
	return at
}

func (c *cloud) hostOf(i *compute.Instance) *lab.Host {
	c.Helper()
	h := &host.Host{}
	c.ask("GET", "/v1/hosts/"+string(i.Spec.HostID), nil, h)
	for _, x := range c.Hosts {
		if x.Name == h.Name {
			return x
		}
	}
	c.Fatalf("no host %s in the lab", h.Name)
	return nil
}

func (c *cloud) other(h *lab.Host) *lab.Host {
	if h == c.Hosts[0] {
		return c.Hosts[1]
	}
	return c.Hosts[0]
}

// shareFolder makes a datastore that both hosts reach.
func (c *cloud) shareFolder() {
	c.Helper()
	shared := filepath.Join(filepath.Dir(filepath.Dir(c.first.State)), "shared")
	c.must(os.Mkdir(shared, 0o755))
	c.first.Must("storage", "create", "shared", "--folder", shared, "--host", "h1", "--host", "h2")
	c.first.Must("datastore", "create", "shared", "--storage", "shared", "--wait")
}

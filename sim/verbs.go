package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/virga-cloud/virga/cluster/placement"
	"github.com/virga-cloud/virga/compute"
	computeon "github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/storage"
)

type verb func(*teller, args) error

var verbs map[string]verb

func init() { // a map that refers to itself by way of "after"
	verbs = map[string]verb{
		"hosts": makeHosts, "host": hostVerb, "datastore": makeDatastore, "volume": makeVolume, "image": makeImage, "rule": makeRule,
		"vm": vmVerb, "guest": guestVerb, "agent": agentVerb, "server": serverVerb, "orphan": makeOrphan, "resize": resize, "snapshot": snapshotVerb,
		"partition": partition, "heal": heal, "advance": advance, "clock": clock, "fault": planFault,
		"migrate": migrate, "cancel": cancel, "maintenance": mode(host.Maintenance), "cordon": mode(host.Cordoned), "active": mode(host.Active),
		"run": runUntil, "expect": expect, "settle": settle, "after": after,
		"interrupt": interrupt, "undisturbed": undisturbed, "lose": lose, "backup": backup, "records": records,
	}
}

func makeHosts(t *teller, a args) error {
	n, err := strconv.Atoi(a.word(0))
	for i := range n {
		t.c.AddHost(fmt.Sprintf("h%d", i+1), a.number("cpus", "8"), a.number("memory", "16GiB"))
	}
	return err
}

func makeDatastore(t *teller, a args) error {
	var on []*Host
	for _, name := range a.after("on") {
		on = append(on, t.c.Host(name))
	}
	t.c.addDatastore(a.word(0), a.number("capacity", "1000GiB"), on...)
	return nil
}

func makeImage(t *teller, a args) error {
	phase := compute.ImageReady
	switch {
	case a.has("failed"):
		phase = compute.ImageFailed
	case a.has("importing"):
		phase = compute.ImageImporting
	}
	t.c.addImage(a.word(0), phase, a.has("missing"))
	return nil
}

// makeRule: rule apart [affinity] [should]; VMs are put into it by rule=apart.
func makeRule(t *teller, a args) error {
	r := &placement.AffinityRule{Meta: resource.Meta{Name: a.word(0), Project: project}}
	if a.has("affinity") {
		r.Spec.Policy = placement.Affinity
	}
	if a.has("should") {
		r.Spec.Strength = placement.Should
	}
	placement.DefaultRule(&r.Spec)
	return t.c.request(func(_ *store.Snapshot, b *store.Batch) error {
		t.c.server.AffinityRules.Specs.Create(b, r)
		return nil
	})
}

// makeVolume: volume data, which is of no VM.
// volume data loses-file: somebody removes its file by hand; volume data finds-file: and puts it back.
func makeVolume(t *teller, a args) error {
	name, what := a.word(0), ""
	if len(a.words) > 1 {
		what = a.word(1)
	}
	v := store.Named(t.c.all.Snapshot(), storage.Volumes, project, name)
	switch {
	case what == "":
		return t.c.createVolume(name)
	case v == nil:
		return fmt.Errorf("there is no volume %s", name)
	case what == "loses-file":
		t.c.lost[v.ID] = t.c.disks.Lose(v.ID)
	case what == "finds-file":
		t.c.lost[v.ID]()
	default:
		return fmt.Errorf("a volume cannot %q", what)
	}
	return nil
}

func vmVerb(t *teller, a args) error {
	name, front := a.word(1), t.c.server.Front
	simple := func(do func(*store.Batch, *compute.VM) error) error {
		return t.c.withVM(name, func(_ *store.Snapshot, b *store.Batch, vm *compute.VM) error { return do(b, vm) })
	}
	switch a.word(0) {
	case "create":
		return t.createVM(name, a)
	case "start":
		return t.c.withVM(name, front.Start)
	case "stop":
		return simple(func(b *store.Batch, vm *compute.VM) error { return front.Stop(b, vm, a.has("force")) })
	case "restart":
		return t.c.withVM(name, func(snap *store.Snapshot, b *store.Batch, vm *compute.VM) error {
			return front.Restart(snap, b, vm, a.has("force"), "")
		})
	case "pause":
		return simple(front.Pause)
	case "resume":
		return simple(front.Resume)
	case "delete":
		return t.c.withVM(name, t.c.deleteVM)
	case "attach", "detach": // vm attach web data
		return t.c.changeDisk(name, a.word(2), a.word(0) == "attach")
	case "grow": // vm grow web memory=2GiB cpus=2
		return t.c.change(name, func(s *compute.VMSpec) {
			s.MemoryMiB, s.CPUs = a.number("memory", fmt.Sprint(s.MemoryMiB)), a.number("cpus", fmt.Sprint(s.CPUs))
		})
	case "reserve": // vm reserve web mhz=3000
		return t.c.change(name, func(s *compute.VMSpec) { s.CPUReservationMHz = a.number("mhz", "0") })
	}
	return fmt.Errorf("a VM cannot %q", a.word(0))
}

func (t *teller) createVM(name string, a args) error {
	in := compute.VMSpec{
		CPUs: a.number("cpus", "1"), MemoryMiB: a.number("memory", "1GiB"), ImageID: idOf(t.c, compute.Images, project, a.value("image", "")),
		RestartPolicy: compute.RestartPolicy(a.value("policy", "")), StopTimeoutSeconds: a.number("timeout", "0"),
		HostID: idOf(t.c, host.Hosts, "", a.value("host", "")), Power: compute.Power(a.value("power", "")),
	}
	in.MaxCPUs = a.number("max-cpus", "0")
	if rule := a.value("rule", ""); rule != "" {
		in.AffinityRuleIDs = []resource.ID{idOf(t.c, placement.AffinityRules, project, rule)}
	}
	in.CPUReservationMHz, in.MaxMemoryMiB = a.number("reserve", "0"), a.number("max-memory", "0")
	disk := compute.Disk{DatastoreID: idOf(t.c, storage.Datastores, "", a.value("datastore", "")), SizeMiB: a.number("disk", "0")}
	if disk.SizeMiB == 0 && in.ImageID == "" {
		disk.SizeMiB = 1024
	}
	if volume := a.value("volume", ""); volume != "" {
		disk = compute.Disk{VolumeID: idOf(t.c, storage.Volumes, project, volume)}
	}
	in.Disks = []compute.Disk{disk}
	return t.c.createVM(name, in)
}

// runningGuest finds where a VM's guest lives.
func (c *Cluster) livingGuest(name string) (seenGuest, bool) {
	vm := c.vm(name)
	for _, g := range c.guests() {
		if vm != nil && g.vm.VMID == vm.ID && g.State.Alive() && (g.ID == vm.Status.InstanceID || g.State == computeon.Running) {
			return g, true
		}
	}
	return seenGuest{}, false
}

func guestVerb(t *teller, a args) error {
	name, what := a.word(0), a.word(1)
	if what == "ignores" || what == "listens" {
		t.c.manners[t.c.vm(name).ID] = what
		return nil
	}
	g, there := t.c.livingGuest(name)
	if !there {
		return fmt.Errorf("no guest of %s lives", name)
	}
	switch what {
	case "clings": // to the devices that it is asked to give up
		g.h.guests.Clings(g.ID, true)
	case "lets-go":
		g.h.guests.Clings(g.ID, false)
	case "uses": // guest web uses memory=700MiB
		g.h.guests.Uses(g.ID, a.number("memory", "0")<<20)
	case "powers-off":
		g.h.guests.PowerOff(g.ID)
	case "panics":
		g.h.guests.Panic(g.ID)
	case "crashes":
		g.h.guests.Crash(g.ID)
	default:
		return fmt.Errorf("a guest cannot %q", what)
	}
	return nil
}

func hostVerb(t *teller, a args) error {
	switch h := t.c.Host(a.word(0)); a.word(1) {
	case "dies":
		h.Die()
	case "boots":
		h.Boot()
	case "deceived": // it believes that it hears its servers, whatever is true
		h.deceived = true
	case "strange": // host h1 strange instance: the servers write that kind as another version does; host h1 strange none
		h.agent.strange = resource.Kind(a.word(2))
		h.agent.feed.cutOff()
		h.agent.arrive()
	case "declared": // host h1 declared dead [switched-off]
		return t.c.declareDead(h.Name, a.has("switched-off"))
	default:
		return fmt.Errorf("a host cannot %q", a.word(1))
	}
	return nil
}

func agentVerb(t *teller, a args) error {
	switch h := t.c.Host(a.word(0)); a.word(1) {
	case "crashes":
		h.Crash()
	case "starts":
		h.Start()
	default:
		return fmt.Errorf("an agent cannot %q", a.word(1))
	}
	return nil
}

func resize(t *teller, a args) error { // resize web-disk0 2GiB
	return t.c.resize(a.word(0), args{t.c, []string{"to=" + a.word(1)}}.number("to", "0"))
}

func serverVerb(t *teller, a args) error {
	switch a.word(0) {
	case "crashes":
		t.c.server.end()
	case "starts":
		if !t.c.server.up() {
			t.c.server.start()
		}
	}
	return nil
}

// makeOrphan starts a guest by hand that no record knows.
func makeOrphan(t *teller, a args) error {
	m := computeon.VMConfig{ID: resource.NewID(), VMID: resource.NewID(), Epoch: 1, Name: "stranger"}
	t.c.orphans[m.ID] = true
	h := t.c.Host(a.after("on")[0])
	return errors.Join(h.guests.Ensure(context.Background(), m), h.guests.Resume(context.Background(), m.ID))
}

func partition(t *teller, a args) error {
	for _, name := range a.words {
		t.c.Host(name).cut = true
	}
	return nil
}

func heal(t *teller, a args) error {
	for _, name := range a.words {
		h := t.c.Host(name)
		h.cut = false
		if t.c.rng.IntN(2) == 0 && h.agent.up() {
			h.agent.feed.cutOff() // the past is gone: it must list again
			h.agent.arrive()
		}
	}
	return nil
}

func advance(t *teller, a args) error {
	t.c.Advance(a.time(0))
	return nil
}

func clock(t *teller, a args) error { // clock jump +1h
	t.c.jumped += a.time(1)
	return nil
}

// planFault: fault h1 EnsureVolume fails 3|always|never [kind] ["text"]
func planFault(t *teller, a args) error {
	p := &planned{left: 1, err: fault.New(fault.Internal, "planned")}
	switch count := append(a.after("fails"), "1")[0]; count {
	case "always":
		p.left = -1
	case "never":
		p.left = 0
	default:
		n, err := strconv.Atoi(count)
		if err != nil {
			return err
		}
		p.left = n
	}
	kind, text := fault.Unavailable, "planned by the story"
	if more := a.after("fails"); len(more) > 1 {
		kind = fault.Kind(more[1])
		if len(more) > 2 {
			text = more[2]
		}
	}
	p.err = fault.New(kind, "%s", text)
	h := t.c.Host(a.word(0))
	h.faults[a.word(1)] = p
	if a.word(1) == "Transfer" { // memory breaks off on its way, between two calls
		h.guests.FailSends(nil)
		if p.left != 0 {
			h.guests.FailSends(p.err)
		}
	}
	return nil
}

func migrate(t *teller, a args) error {
	return t.c.migrate(a.word(0), append(a.after("to"), "")[0])
}

func cancel(t *teller, a args) error { return t.c.cancel(a.word(0)) }

func mode(m host.Mode) verb {
	return func(t *teller, a args) error { return t.c.setMode(a.word(0), m) }
}

func runUntil(t *teller, a args) error { // run until COND [within D]
	words, limit := a.after("until"), 20*time.Minute
	if n := slices.Index(words, "within"); n >= 0 {
		limit = args{t.c, words[n:]}.time(1)
		words = words[:n]
	}
	ok, saw := false, ""
	if !t.c.Until(limit, func() bool {
		ok, saw = t.c.holds(words)
		return ok
	}) {
		return fmt.Errorf("not within %s; it is %s", limit, saw)
	}
	return nil
}

func expect(t *teller, a args) error {
	if ok, saw := t.c.holds(a.words); !ok {
		return fmt.Errorf("it is %s", saw)
	}
	return nil
}

func settle(t *teller, _ args) error {
	t.c.Settle()
	return nil
}

// after plans a line: after 3s agent h1 starts
func after(t *teller, a args) error {
	l, err := parseLine(0, strings.Join(a.words[1:], " "))
	t.c.later(a.time(0), func() { t.tell(l) })
	return err
}

// interrupt: interrupt "agent h1" [crash]: LINE; LINE
func interrupt(t *teller, a args) error {
	head, rest, _ := strings.Cut(strings.Join(a.words, " "), ":")
	i := &interruption{teller: t}
	i.daemon, i.crash = strings.CutSuffix(strings.TrimSpace(head), " crash")
	for _, raw := range strings.Split(rest, ";") {
		l, err := parseLine(0, raw)
		if err != nil {
			return err
		}
		if len(l.words) > 0 {
			i.lines = append(i.lines, l)
		}
	}
	if t.seen++; t.seen == t.choice {
		i.at = t.at
	}
	t.c.interrupts = append(t.c.interrupts, i)
	return nil
}

// undisturbed ends the part in which interruptions strike.
func undisturbed(t *teller, _ args) error {
	for _, i := range t.c.interrupts {
		i.over = true
	}
	return nil
}

// lose lets answers to agents get lost: lose 1 in 20
func lose(t *teller, a args) error {
	n, err := strconv.Atoi(a.words[len(a.words)-1])
	t.c.loss = n
	return err
}

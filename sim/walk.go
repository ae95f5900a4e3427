package sim

import (
	"fmt"
	"time"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/store"
)

// walk is a random life of a cloud: everything that users, guests and accidents do.
type walk struct {
	teller
	names int
}

// Walk lives so many events; then all is healed, the cloud must come to rest with every VM as
// specified, and when all VMs are deleted nothing may be left. It gives the hash of its trace.
func Walk(seed uint64, events int) (string, error) {
	w := &walk{teller: teller{c: New(seed)}}
	err := w.c.Try(func() {
		w.line("hosts 3 cpus=2 memory=6GiB")
		w.line("datastore shared on h1 h2 h3")
		w.line("datastore own capacity=20GiB on h1")
		w.line("image tiny")
		w.line("image lost missing")
		w.line("run until host h3 alive")
		w.line("advance 5s")
		for range events {
			w.event()
			switch w.c.rng.IntN(10) {
			case 0:
				w.c.Advance(w.c.between(0, 40*time.Second))
			case 1, 2, 3:
				w.c.Advance(w.c.between(0, 3*time.Second))
			default:
				w.c.Advance(w.c.between(0, 300*time.Millisecond))
			}
		}
		w.heal()
		w.c.Advance(11 * time.Minute) // longer than any pause after a crash, and any time limit
		w.c.Settle()
		w.asSpecified()
		w.c.deleteVMs()
		w.c.Settle()
		w.c.emptyHanded()
	})
	return w.c.Hash(), err
}

// line tells a line of the script; a request in it may be refused.
func (w *walk) line(format string, values ...any) {
	l, err := parseLine(0, "? "+fmt.Sprintf(format, values...))
	w.c.must(err)
	w.c.trace.add("%s", l)
	w.tell(l)
}

func (w *walk) pick(from ...string) string { return from[w.c.rng.IntN(len(from))] }

// some gives the name of a VM; empty if there is none.
func (w *walk) some() string {
	vms := store.Every(w.c.all.Snapshot(), compute.VMs)
	if len(vms) == 0 {
		return ""
	}
	return vms[w.c.rng.IntN(len(vms))].Name
}

func (w *walk) event() {
	name, h := w.some(), w.pick("h1", "h2", "h3")
	roll := w.c.rng.IntN(100)
	switch {
	case roll < 14 || name == "":
		w.create()
	case roll < 38:
		w.line("vm %s %s %s", w.pick("start", "start", "stop", "restart", "pause", "resume", "delete"), name, w.pick("", "", "force"))
	case roll < 58:
		w.line("migrate %s %s", name, w.pick("", "", "to h1", "to h2", "to h3"))
	case roll < 62:
		w.line("cancel %s", name)
	case roll < 69:
		w.line("guest %s %s", name, w.pick("powers-off", "panics", "crashes", "ignores", "listens"))
	case roll < 77:
		w.snapshot(name)
	default:
		w.accident(h)
	}
}

// snapshot takes one of a VM, or lets it go back to one, or deletes one; all in any order, and also while it runs.
func (w *walk) snapshot(name string) {
	all := store.Every(w.c.all.Snapshot(), compute.VMSnapshots)
	if len(all) == 0 || w.c.rng.IntN(3) == 0 {
		w.names++
		w.line("snapshot take s%d of %s", w.names, name)
		return
	}
	s := all[w.c.rng.IntN(len(all))]
	if w.c.rng.IntN(3) == 0 {
		w.line("snapshot delete %s", s.Name)
	} else if vm := store.Find(w.c.all.Snapshot(), compute.VMs, s.Spec.VMID); vm != nil {
		w.line("snapshot revert %s of %s", s.Name, vm.Name)
	}
}

func (w *walk) create() {
	if len(store.Every(w.c.all.Snapshot(), compute.VMs)) >= 6 {
		return
	}
	w.names++
	w.line("vm create m%d cpus=%s memory=%s %s %s %s %s timeout=20", w.names, w.pick("1", "2", "4"), w.pick("1GiB", "2GiB", "4GiB"),
		w.pick("image=tiny", "image=tiny", "image=tiny", "", "image=lost"), w.pick("datastore=shared", "datastore=shared", "", "datastore=own"),
		w.pick("", "policy=always", "policy=never"), w.pick("", "", "reserve=2500", "reserve=9000"))
}

func (w *walk) accident(h string) {
	soon := w.c.between(0, 25*time.Second)
	switch w.c.rng.IntN(12) {
	case 0:
		w.line("agent %s crashes", h)
		w.line("after %s agent %s starts", soon, h)
	case 1:
		w.line("server crashes")
		w.line("after %s server starts", soon/3)
	case 2:
		w.line("partition %s", h)
		w.line("after %s heal %s", soon, h)
	case 3:
		if w.c.rng.IntN(3) == 0 {
			w.line("host %s dies", h)
			w.line("after %s host %s boots", 2*soon, h)
		}
	case 4:
		w.line("fault %s %s fails %s %s", h, w.pick("Start", "Resume", "Kill", "Remove", "Send", "Cancel", "Look", "List", "EnsureVolume", "Open",
			"RemoveVolume", "EnsureImage", "EnsurePort", "RemovePort", "Scan", "ListPorts"), w.pick("1", "3", "10"), w.pick("unavailable", "exhausted", "precondition"))
	case 5:
		w.line("fault %s Transfer fails %s precondition", h, w.pick("always", "never"))
	case 6:
		w.line("%s %s", w.pick("maintenance", "cordon", "active", "active"), h)
	case 7:
		w.line("clock jump %s", w.pick("+10m", "-10m", "+1s", "+25h"))
	case 8:
		w.line("lose 1 in %s", w.pick("0", "10", "100"))
	default:
		w.dieSoon(h, soon)
	}
}

// dieSoon lets a daemon die in the middle of a step.
func (w *walk) dieSoon(h string, soon time.Duration) {
	daemon, again := "agent "+h, fmt.Sprintf("after %s agent %s starts", soon/2, h)
	if w.c.rng.IntN(3) == 0 {
		daemon, again = "server", fmt.Sprintf("after %s server starts", soon/5)
	}
	l, err := parseLine(0, again)
	w.c.must(err)
	w.c.interrupts = append(w.c.interrupts, &interruption{daemon: daemon, at: 1 + w.c.rng.IntN(12), crash: true, lines: []line{l}, teller: &w.teller})
}

// heal ends all accidents, the planned ones too.
func (w *walk) heal() {
	c := w.c
	c.trace.add("all is healed")
	c.interrupts, c.plans, c.loss = nil, nil, 0
	w.line("server starts")
	for _, h := range c.hosts {
		h.faults = faults{}
		h.guests.FailSends(nil)
		w.line("heal %s", h.Name)
		h.Boot()
		w.line("active %s", h.Name)
	}
}

// asSpecified checks that every VM is what its owner wants, or says why not.
func (w *walk) asSpecified() {
	for _, vm := range store.Every(w.c.all.Snapshot(), compute.VMs) {
		over := vm.Status.EndedBoot >= compute.Boot(vm) || vm.Spec.Power == compute.Stopped
		wanted := map[compute.Power]string{compute.Running: compute.PhaseRunning, compute.Paused: compute.PhasePaused}[vm.Spec.Power]
		switch {
		case over && (vm.Status.Phase == compute.PhaseStopped || vm.Status.Phase == compute.PhaseCrashed):
		case !over && vm.Status.Phase == wanted:
			if len(vm.Status.Problems) > 0 {
				w.c.fail("VM %s is as specified and has problems: %v", vm.Name, vm.Status.Problems)
			}
		case !over && len(vm.Status.Problems) > 0 && (vm.Status.Phase == compute.PhasePending || vm.Status.Phase == compute.PhaseStarting):
		default:
			w.c.fail("VM %s: power %s, boot %d (ended %d); it is %s: %v\n  %s", vm.Name, vm.Spec.Power, compute.Boot(vm), vm.Status.EndedBoot,
				vm.Status.Phase, vm.Status.Problems, w.c.about(vm.ID))
		}
	}
}

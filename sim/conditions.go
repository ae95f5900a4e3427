package sim

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/virga-cloud/virga/cluster/evacuation"
	"github.com/virga-cloud/virga/cluster/placement"
	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/operation"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/observe"
	"github.com/virga-cloud/virga/storage"
)

// holds says whether a condition is true, and what is true instead:
//
//	vm web running [on h1] | vm web gone        host h1 alive|lost|unknown|gone
//	guest web running on h1 | guest web nowhere  guests of web 1 (ever seen running)
//	migration web succeeded|failed|cancelled|ended
//	rule apart satisfied|violated
//	problem vm web contains "words" | no problem vm web | no CONDITION
//	event web crashed                            error contains "words"
//	volume web-disk0 ready                       orphans 1
//	count running 1                              inventoried h1
//	stale h1 0                                   size web-disk0 2048
//	device web data attached|waiting|detaching|gone
//	given web 1024 | less web 1024: what its balloon leaves a guest, in MiB
//	evacuation h1 emptying|blocked|empty|none    evacuation h1 leaves web because "words"
//	snapshot one ready|pending|gone               layers web-disk0 2
//	cpus web 2
//	empty
func (c *Cluster) holds(words []string) (bool, string) {
	a := args{c, words}
	switch a.word(0) {
	case "vm":
		return c.holdsVM(a)
	case "guest":
		return c.holdsGuest(a)
	case "guests":
		return c.holdsGuests(a)
	case "host":
		id := c.Host(a.word(1)).ID
		if a.word(2) == "gone" {
			h := host.Find(c.all.Snapshot(), id)
			return h == nil, fmt.Sprintf("%+v", h)
		}
		state := host.StateOf(c.all.Snapshot(), id)
		return string(state) == a.word(2), string(state)
	case "inventoried":
		h := host.Find(c.all.Snapshot(), c.Host(a.word(1)).ID)
		return h != nil && h.Status.Inventoried == "yes", "not yet"
	case "migration":
		return c.holdsMigration(a)
	case "evacuation":
		return c.holdsEvacuation(a)
	case "volume":
		v := store.Named(c.all.Snapshot(), storage.Volumes, project, a.word(1))
		if v == nil {
			return a.word(2) == "gone", "gone"
		}
		return v.Status.Phase == a.word(2), fmt.Sprintf("%s %v", v.Status.Phase, v.Status.Problems)
	case "device":
		return c.holdsDevice(a.word(1), a.word(2), a.word(3))
	case "size": // size web-disk0 2048: what the file has and the record says
		v := store.Named(c.all.Snapshot(), storage.Volumes, project, a.word(1))
		if v == nil {
			return false, "no such volume"
		}
		file := c.disks.SizeMiB(v.ID)
		return fmt.Sprint(file) == a.word(2) && v.Status.SizeMiB == file && len(v.Status.Problems) == 0, fmt.Sprintf("%d, %+v", file, v.Status)
	case "snapshot":
		return c.holdsSnapshot(a.word(1), a.word(2))
	case "layers":
		return c.holdsLayers(a.word(1), a.word(2))
	case "cpus": // cpus web 2: what its guest has
		g, _ := c.livingGuest(a.word(1))
		return fmt.Sprint(g.vm.CPUs) == a.word(2), fmt.Sprint(g.vm.CPUs)
	case "given", "less":
		return c.holdsMemory(a.word(1), a.word(2), a.word(0) == "less")
	case "rule":
		return c.holdsRule(a.word(1), a.word(2))
	case "problem":
		said := c.problems(a.word(1), a.word(2))
		return strings.Contains(said, a.word(4)), "problems: " + said
	case "no":
		if a.word(1) != "problem" {
			ok, saw := c.holds(words[1:])
			return !ok, saw
		}
		said := c.problems(a.word(2), a.word(3))
		return said == "", "problems: " + said
	case "event":
		return c.holdsEvent(a)
	case "error":
		return c.lastError != nil && strings.Contains(c.lastError.Error(), a.word(2)), fmt.Sprint(c.lastError)
	case "orphans":
		alive := 0
		for _, g := range c.guests() {
			if c.orphans[g.ID] && g.State.Alive() {
				alive++
			}
		}
		return strconv.Itoa(alive) == a.word(1), strconv.Itoa(alive)
	case "stale": // stale h1 0: guests that live on a removed host
		alive := 0
		for _, g := range c.Host(a.word(1)).guests.Guests() {
			if g.State.Alive() {
				alive++
			}
		}
		return strconv.Itoa(alive) == a.word(2), strconv.Itoa(alive)
	case "count": // count running 1: VMs in that phase
		n := 0
		for _, vm := range store.Every(c.all.Snapshot(), compute.VMs) {
			if vm.Status.Phase == a.word(1) {
				n++
			}
		}
		return strconv.Itoa(n) == a.word(2), strconv.Itoa(n)
	case "copies": // copies 1: of images, on all datastores
		n := len(store.Every(c.all.Snapshot(), storage.ImageCopies))
		return strconv.Itoa(n) == a.word(1), strconv.Itoa(n)
	case "empty":
		left := c.leftovers()
		return left == "", left
	}
	c.fail("the script has no condition %q", a.word(0))
	return false, ""
}

func (c *Cluster) holdsEvacuation(a args) (bool, string) {
	e := store.Named(c.all.Snapshot(), evacuation.Evacuations, "", a.word(1))
	if e == nil {
		return a.word(2) == "none", "none"
	}
	saw := fmt.Sprintf("%s: %+v", e.Status.Phase, e.Status.Left)
	if a.word(2) != "leaves" {
		return string(e.Status.Phase) == a.word(2), saw
	}
	for _, vm := range e.Status.Left {
		if vm.Name == a.word(3) {
			return strings.Contains(vm.Why, a.word(5)), saw
		}
	}
	return false, saw
}

func (c *Cluster) holdsVM(a args) (bool, string) {
	vm := c.vm(a.word(1))
	if vm == nil {
		return a.word(2) == "gone", "gone"
	}
	saw := vm.Status.Phase
	if h := c.hostOf(vm.Status.HostID); h != nil {
		saw += " on " + h.Name
	}
	if len(vm.Status.Problems) > 0 {
		saw += ": " + vm.Status.Problems[0].Message
	}
	on := a.after("on")
	return vm.Status.Phase == a.word(2) && vm.Status.SeenGeneration == vm.Generation &&
		(len(on) == 0 || c.Host(on[0]).ID == vm.Status.HostID), saw
}

func (c *Cluster) holdsGuest(a args) (bool, string) {
	vm := c.vm(a.word(1))
	saw := "nowhere"
	for _, g := range c.guests() {
		if vm == nil || g.vm.VMID != vm.ID || !g.State.Alive() {
			continue
		}
		saw = string(g.State) + " on " + g.h.Name
		if strings.Join(a.words[2:], " ") == saw || len(a.words) == 3 && a.word(2) == string(g.State) {
			return true, saw
		}
	}
	return strings.Join(a.words[2:], " ") == saw, saw
}

// holdsGuests counts the QEMU processes of a VM that ever ran: guests of web 2
func (c *Cluster) holdsGuests(a args) (bool, string) {
	vm := c.vm(a.word(2))
	if vm == nil {
		return false, "no such VM"
	}
	n := strconv.Itoa(len(c.invariants.starts[vm.ID]))
	return n == a.word(3), n
}

func (c *Cluster) holdsMigration(a args) (bool, string) {
	var id resource.ID
	if vm := c.vm(a.word(1)); vm != nil {
		id = vm.ID
	}
	op := c.lastMove(id)
	if op == nil {
		return false, "none"
	}
	saw := op.Status.Phase + " " + op.Status.Why
	for _, e := range op.Status.Journal {
		saw += fmt.Sprintf("; %s %s", e.Step, e.State)
	}
	return op.Status.Phase == a.word(2) || a.word(2) == "ended" && operation.Ended(op), saw
}

// holdsRule: rule apart violated.
func (c *Cluster) holdsRule(name, phase string) (bool, string) {
	r := store.Named(c.all.Snapshot(), placement.AffinityRules, project, name)
	if r == nil {
		return false, "there is none"
	}
	return r.Status.Phase == phase, r.Status.Phase
}

// problems are the words of what is wrong with a record.
func (c *Cluster) problems(noun, name string) string {
	var found []resource.Problem
	switch noun {
	case "vm":
		for _, vm := range store.Every(c.all.Snapshot(), compute.VMs) {
			if vm.Name == name || name == "any" {
				found = append(found, vm.Status.Problems...)
			}
		}
	case "volume":
		if v := store.Named(c.all.Snapshot(), storage.Volumes, project, name); v != nil {
			found = v.Status.Problems
		}
	case "host":
		if h := host.Find(c.all.Snapshot(), c.Host(name).ID); h != nil {
			found = h.Status.Problems
		}
	case "datastore":
		if d := store.Named(c.all.Snapshot(), storage.Datastores, "", name); d != nil {
			found = d.Status.Problems
		}
	}
	var out []string
	for _, p := range found {
		out = append(out, p.Kind+": "+p.Message)
	}
	return strings.Join(out, "; ")
}

func (c *Cluster) holdsEvent(a args) (bool, string) {
	var saw []string
	for _, e := range store.Every(c.all.Snapshot(), observe.Events) {
		if e.Spec.Subject != a.word(1) {
			continue
		}
		if e.Spec.Reason == a.word(2) {
			return true, ""
		}
		saw = append(saw, e.Spec.Reason)
	}
	return false, strings.Join(saw, ", ")
}

// holdsMemory compares what the balloon of a VM leaves it.
func (c *Cluster) holdsMemory(name, mib string, less bool) (bool, string) {
	g, there := c.livingGuest(name)
	if !there {
		return false, "not running"
	}
	m, err := g.h.guests.Memory(context.Background(), g.ID)
	want, wrong := strconv.ParseInt(mib, 10, 64)
	saw := fmt.Sprint(m.Given>>20, " ", err, wrong)
	if less {
		return m.Given>>20 < want, saw
	}
	return m.Given>>20 == want, saw
}

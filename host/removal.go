package host

import (
	"fmt"
	"slices"
	"strings"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/task"
)

// Cause says why a host was removed.
type Cause string

// The causes.
const (
	Unused Cause = "unused" // nothing was on it any more
	Dead   Cause = "dead"   // an administrator has vouched that it is switched off for good
)

// RemovalSpec says which host was removed.
type RemovalSpec struct {
	// HostID is the host; the record is named by it and outlives it.
	HostID resource.ID `json:"hostID"`
	// HostName is what it was called.
	HostName string `json:"hostName"`
	// Cause is unused or dead.
	Cause Cause `json:"cause" enum:"unused,dead"`
	// By is who asked for it.
	By string `json:"by"`
}

// RemovalStatus says what the removal still waits for.
type RemovalStatus struct{ resource.Observed }

// Removal is the end of a host. From the moment it is there nobody believes the host any more, and
// what its agent held is let go of for it. It stays when the host is gone: one that comes back from
// the dead is told so, instead of not being known.
type Removal = resource.Record[RemovalSpec, RemovalStatus]

// Removals is the kind. Every host sees them: hosts refuse each other's memory by them.
var Removals = resource.Define("removal", "removals", resource.Options[RemovalSpec, RemovalStatus]{
	Doc: "The removal of a host, which is refused from then on.", Scope: resource.InCloud, Reach: resource.EveryHost,
	Refs: func(r *Removal) []resource.Ref { return []resource.Ref{Ref(r.Spec.HostID)} },
})

const removalHolder = "removal"

// RemovalOf gives the removal of a host; nil while it is a host of this cloud, or never was one.
func RemovalOf(s *store.Snapshot, id resource.ID) *Removal {
	if id == "" {
		return nil
	}
	return store.Named(s, Removals, "", string(id))
}

// Removed reports whether a host was removed, or is being removed.
func Removed(s *store.Snapshot, id resource.ID) bool { return RemovalOf(s, id) != nil }

// Refused says why a host is not believed any more; nil where it was not removed. Its kind tells the
// host's agent that its cloud is over.
func Refused(s *store.Snapshot, id resource.ID) error {
	r := RemovalOf(s, id)
	if r == nil {
		return nil
	}
	return fault.New(fault.TooLate, "host %s (%s) was %s at %s by %s and is refused since; to join anew: virga down --all, move the state folder away, virga join with another token",
		r.Spec.HostName, id, r.Spec.Cause.words(), r.Created.UTC().Format("2006-01-02 15:04 MST"), r.Spec.By)
}

func (c Cause) words() string {
	if c == Dead {
		return "declared dead and removed"
	}
	return "removed"
}

// Fate says in words what became of a host that was removed: "host h2, which was declared dead".
func Fate(s *store.Snapshot, id resource.ID) string {
	name := NameOf(s, id)
	if r := RemovalOf(s, id); r != nil {
		name = r.Spec.HostName
	}
	return "host " + name + ", which " + EndOf(s, id)
}

// EndOf says how it ended: "was declared dead".
func EndOf(s *store.Snapshot, id resource.ID) string {
	if r := RemovalOf(s, id); r != nil && r.Spec.Cause == Dead {
		return "was declared dead"
	}
	return "was removed"
}

// WayOut says what an operator can do about a host that is unreachable.
func WayOut(s *store.Snapshot, id resource.ID) string {
	return fmt.Sprintf("bring the host back; or, if it is switched off and gone for good: virga host delete %s --dead", NameOf(s, id))
}

// DeadRequest asks for the removal of a host that cannot be asked.
type DeadRequest struct {
	// SwitchedOff vouches that the host is switched off and will not come back with its guests running.
	SwitchedOff bool `json:"switchedOff,omitempty"`
}

// Remover takes hosts out of the cloud.
type Remover struct {
	Hosts    *store.SpecWriter[Spec, Status]
	Removals *store.SpecWriter[RemovalSpec, RemovalStatus]
	// Home is the host that the server runs on, which cannot be removed.
	Home func() resource.ID
	// User says in words who uses a host by a record that speaks of it, as people know it: a VM and
	// not its instance; empty where that follows from others. Nil: the record's own kind and name.
	User func(s *store.Snapshot, x resource.Object) string
	// Leaving takes the host out of what names it, in the same commit; it may be nil.
	Leaving func(b *store.Batch, s *store.Snapshot, h *Host)
}

// Unused removes a host that nothing of a tenant is on; the caller marks it.
func (m *Remover) Unused(b *store.Batch, s *store.Snapshot, h *Host, by string) error {
	if err := m.unused(s, h); err != nil {
		return err
	}
	return m.remove(b, s, h, Unused, by)
}

// Living is Unused for a host that may be alive: its daemon ends and its certificate is refused, so that it
// takes force from who knows that.
func (m *Remover) Living(b *store.Batch, s *store.Snapshot, h *Host, by string, force bool) error {
	if err := m.Unused(b, s, h, by); err != nil {
		return err
	}
	if !force && StateOf(s, h.ID) == Alive {
		return fault.New(fault.Precondition, "remove host %s: it is alive. Its daemon ends, its certificate is refused from then on, and it comes back only by joining anew with another token; "+
			"to remove it all the same: virga host delete %s --force (?force=true); to let it rest: virga host maintenance %s", h.Name, h.Name, h.Name)
	}
	return nil
}

// Dead removes a host that cannot be asked, with what was on it.
func (m *Remover) Dead(b *store.Batch, s *store.Snapshot, h *Host, in *DeadRequest, by string) error {
	switch state := StateOf(s, h.ID); {
	case state == Alive:
		return fault.New(fault.Precondition, "declare host %s dead: its heartbeat came within the last seconds; move its VMs away and delete it, or switch it off and try again", h.Name)
	case state != Lost:
		return fault.New(fault.Unavailable, "declare host %s dead: the servers have not listened long enough to know that it is silent; try again in some seconds", h.Name)
	case !in.SwitchedOff:
		return fault.New(fault.Precondition, "declare host %s dead: vouch by --switched-off (switchedOff in the request) that the host is switched off and will not come back with its guests running. "+
			"Its VMs start elsewhere at once; one that still ran there would run twice, and both would write. What lies on its own disks is given up", h.Name)
	}
	if err := m.remove(b, s, h, Dead, by); err != nil {
		return err
	}
	m.Hosts.Delete(b, h)
	return nil
}

// remove writes the removal into the commit that marks the host.
func (m *Remover) remove(b *store.Batch, s *store.Snapshot, h *Host, cause Cause, by string) error {
	if m.Home != nil && m.Home() == h.ID {
		return fault.New(fault.Precondition, "remove host %s: the server that you ask runs on it", h.Name)
	}
	r := &Removal{Spec: RemovalSpec{HostID: h.ID, HostName: h.Name, Cause: cause, By: by}}
	r.Name = string(h.ID)
	m.Removals.Create(b, r)
	store.Hold(b, h, removalHolder)
	if m.Leaving != nil {
		m.Leaving(b, s, h)
	}
	return nil
}

// unused refuses with the names of what a tenant still has on a host.
func (m *Remover) unused(s *store.Snapshot, h *Host) error {
	var users, followers []string
	for x := range s.Mentioning(h.ID) {
		head := x.Head()
		if head.Project == "" || slices.Contains([]resource.Kind{"event", "operation"}, head.Kind) {
			continue
		}
		if t, is := x.(*task.Task); is && task.Ended(t) { // kept to be looked at for a day
			continue
		}
		name := fmt.Sprintf("%s %s", head.Kind, head.Name)
		if m.User != nil {
			if name = m.User(s, x); name == "" {
				followers = append(followers, fmt.Sprintf("%s %s of project %s, which goes by itself", head.Kind, head.Name, s.NameOf(head.Project)))
				continue
			}
		}
		users = append(users, name+" of project "+s.NameOf(head.Project))
	}
	kind, what := fault.Precondition, "migrate the VMs to another host (virga vm migrate NAME) or delete them; delete the volumes"
	if len(users) == 0 {
		users, kind, what = followers, fault.Unavailable, "wait and retry"
	}
	if len(users) == 0 {
		return nil
	}
	slices.Sort(users)
	users = slices.Compact(users) // one VM has many records
	shown := strings.Join(users[:min(3, len(users))], ", ")
	if more := len(users) - 3; more > 0 {
		shown += fmt.Sprintf(" and %d more", more)
	}
	if StateOf(s, h.ID) == Lost {
		what += "; or, if the host is switched off and gone for good: virga host delete " + h.Name + " --dead --switched-off"
	}
	return fault.New(kind, "remove host %s: it is still used by %s; %s", h.Name, shown, what)
}

package remote

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// AgentHolder is the holder under which agents hold records; "agent:" and more words are theirs
// too. Agents let go of no other.
const AgentHolder = "agent"

// HostScope is the scope of a host's agent. It sees the records of kinds that every host sees,
// and those that speak of its host. It may write their statuses and let go of what it held, and
// make, change and remove records of the kinds that hosts make, if they speak of its host.
// A host that the view does not show was removed from the cloud and may commit nothing; that it
// is shown nothing either is for Access to see to, by a refusal: an empty list would tell the
// agent that all its records are gone.
func HostScope(catalog *resource.Catalog, hostID resource.ID, view *store.View) Scope {
	return &hostScope{catalog: catalog, host: hostID, view: view}
}

type hostScope struct {
	catalog *resource.Catalog
	host    resource.ID
	view    *store.View
}

// Host implements Scope.
func (h *hostScope) Host() resource.ID { return h.host }

// Sees implements Scope. What this server does not understand is passed on to the hosts that are written
// beside it.
func (h *hostScope) Sees(e store.Entry) bool {
	hosts := store.HostsOf(h.catalog, e)
	return slices.Contains(hosts, h.host) || slices.Contains(hosts, resource.AnyHost)
}

func decode(kind resource.Descriptor, e store.Entry) (resource.Object, error) {
	x, err := kind.Decode(e.Value, e.Revision)
	if err == nil && x.Head().Ref() != e.Key {
		err = fault.New(fault.Invalid, "the record at %s calls itself %s", e.Key, x.Head().Ref())
	}
	return x, err
}

// Admit implements Scope.
func (h *hostScope) Admit(current map[resource.Ref]store.Entry, changes []store.Change) ([]store.Change, error) {
	if h.view.Revision() == 0 {
		return nil, fault.New(fault.Unavailable, "the server has not read its records yet; try again")
	}
	if h.view.Snapshot().Lookup(h.host) == nil {
		return nil, fault.New(fault.Denied, "host %s is not in this cloud any more", h.host)
	}
	changes, err := merged(current, changes)
	if err != nil {
		return nil, err
	}
	return store.Stamp(h.catalog, changes), h.mayCommit(current, changes)
}

func (h *hostScope) mayCommit(current map[resource.Ref]store.Entry, changes []store.Change) error {
	names := map[resource.Ref]resource.ID{} // name keys that go with permitted changes, and whose they are
	for _, c := range changes {
		if c.Key.Kind == store.JournalKind {
			return denied(c, "an agent writes no journal")
		}
		if c.Key.Kind == store.NameKind {
			continue
		}
		if err := h.mayChange(c, current, names); err != nil {
			return err
		}
	}
	for _, c := range changes {
		if c.Key.Kind != store.NameKind {
			continue
		}
		if err := mayName(c, current, names); err != nil {
			return err
		}
	}
	return nil
}

// mayName allows the name key of a record that is made or removed in the same commit.
func mayName(c store.Change, current map[resource.Ref]store.Entry, names map[resource.Ref]resource.ID) error {
	owner, ours := names[c.Key]
	value := c.Value
	if c.Op == store.Delete {
		there, ok := current[c.Key]
		if !ok {
			return nil
		}
		value = there.Value
	}
	var id resource.ID
	if !ours || c.Op == store.Check || json.Unmarshal(value, &id) != nil || id != owner || c.Op == store.Put && c.Expect != store.Absent {
		return denied(c, "an agent writes the name keys only of records that it makes or removes")
	}
	return nil
}

func (h *hostScope) mayChange(c store.Change, current map[resource.Ref]store.Entry, names map[resource.Ref]resource.ID) error {
	kind, known := h.catalog.Lookup(c.Key.Kind)
	e, there := current[c.Key]
	var before, after resource.Object // nil: there is none, or it is not understood
	if known && there {
		before, _ = decode(kind, e)
	}
	if known && c.Op == store.Put {
		var err error
		if after, err = decode(kind, store.Entry{Key: c.Key, Value: c.Value}); err != nil && (before != nil || !there) {
			return denied(c, "it is not understood: "+err.Error())
		}
	}
	strange := !known || there && before == nil
	if c.Op == store.Check {
		if !there || h.Sees(e) || h.makes(kind, before) {
			return nil
		}
		return denied(c, "it is not this host's")
	}
	if !strange && kind.HostMakes && (before == nil || h.makes(kind, before)) && (after == nil || h.makes(kind, after)) {
		return mayMake(c, before, after, names)
	}
	switch {
	case !there && !known:
		return denied(c, "this server knows no such kind; it is of an older version than the host")
	case !there:
		return denied(c, "agents make no records of this kind for this host")
	case !h.Sees(e):
		return denied(c, "it is not this host's")
	}
	if err := store.CheckExpectation(c, e.Revision); err != nil {
		return err // it was written from an older picture; what differs is not the agent's doing
	}
	head, err := headOf(e.Key, e.Value)
	if err != nil {
		return denied(c, err.Error())
	}
	if c.Op == store.Delete {
		return mayRemove(c, head, names)
	}
	reported, err := headOf(c.Key, c.Value)
	if err != nil {
		return denied(c, err.Error())
	}
	return mayReport(c, head, reported)
}

// headOf reads what every record has, also of one that is not understood.
func headOf(key resource.Ref, value []byte) (*resource.Meta, error) {
	var head resource.Meta
	if err := json.Unmarshal(value, &head); err != nil {
		return nil, fault.New(fault.Invalid, "it is no record: %w", err)
	}
	if ref := head.Ref(); ref != key {
		return nil, fault.New(fault.Invalid, "the record at %s calls itself %s", key, ref)
	}
	return &head, nil
}

func (h *hostScope) makes(kind resource.Descriptor, x resource.Object) bool {
	return kind.HostMakes && x != nil && slices.Contains(kind.HostsNamed(x), h.host)
}

// mayMake allows everything with a host's own record but to change its name.
func mayMake(c store.Change, before, after resource.Object, names map[resource.Ref]resource.ID) error {
	if before != nil && after != nil && before.Head().Name != after.Head().Name {
		return denied(c, "its name does not change")
	}
	for _, x := range []resource.Object{before, after} {
		if x != nil {
			head := x.Head()
			names[store.NameKey(head.Kind, head.Project, head.Name)] = head.ID
		}
	}
	return nil
}

// mayRemove allows an agent that lets go last to remove what is being deleted.
func mayRemove(c store.Change, head *resource.Meta, names map[resource.Ref]resource.ID) error {
	if head.Deleting == nil {
		return denied(c, "it is not being deleted")
	}
	if other := slices.IndexFunc(head.Holders, func(holder string) bool { return !ofAgents(holder) }); other >= 0 {
		return denied(c, "it is still held by "+head.Holders[other])
	}
	names[store.NameKey(head.Kind, head.Project, head.Name)] = head.ID
	return nil
}

// mayReport allows the status to change, and agents' holders to go.
func mayReport(c store.Change, before, after *resource.Meta) error {
	if !c.Report {
		return denied(c, "an agent reports the status of it and lets go, and writes nothing else")
	}
	for _, holder := range after.Holders {
		if !before.HeldBy(holder) {
			return denied(c, "an agent adds no holders")
		}
	}
	for _, holder := range before.Holders {
		if !after.HeldBy(holder) && !ofAgents(holder) {
			return denied(c, "an agent does not let go for "+holder)
		}
	}
	return nil
}

func ofAgents(holder string) bool {
	return holder == AgentHolder || strings.HasPrefix(holder, AgentHolder+":")
}

func denied(c store.Change, why string) error {
	return fault.New(fault.Denied, "%s %s %s: %s", c.Op, c.Key.Kind, c.Key.ID, why)
}

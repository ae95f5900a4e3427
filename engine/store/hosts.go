package store

import (
	"encoding/json"
	"slices"

	"github.com/virga-cloud/virga/engine/resource"
)

// Stamp writes beside each record which hosts' agents may see it. A server of another version, which does
// not understand the record, passes it on to them.
func Stamp(catalog *resource.Catalog, changes []Change) []Change {
	for i, c := range changes {
		kind, known := catalog.Lookup(c.Key.Kind)
		if !known || c.Op != Put || kind.Reach == resource.NoHost {
			continue
		}
		if x, err := kind.Decode(c.Value, 0); err == nil {
			changes[i].Value = stamp(c.Value, kind.Hosts(x))
		}
	}
	return changes
}

func stamp(value []byte, hosts []resource.ID) []byte {
	var record map[string]json.RawMessage
	if json.Unmarshal(value, &record) != nil {
		return value
	}
	delete(record, resource.HostsField)
	if len(hosts) > 0 {
		record[resource.HostsField], _ = json.Marshal(hosts)
	}
	out, err := json.Marshal(record)
	if err != nil {
		return value
	}
	return out
}

// StampedHosts reads what Stamp wrote.
func StampedHosts(value []byte) []resource.ID {
	var record struct {
		Hosts []resource.ID `json:"hosts"`
	}
	if json.Unmarshal(value, &record) != nil {
		return nil
	}
	return record.Hosts
}

// HostsOf lists the hosts whose agents may see a stored record: by its kind, or where that is not understood
// by what is written beside it.
func HostsOf(catalog *resource.Catalog, e Entry) []resource.ID {
	if e.Value == nil || e.Key.Kind == NameKind || e.Key.Kind == JournalKind {
		return nil
	}
	kind, known := catalog.Lookup(e.Key.Kind)
	if !known {
		return StampedHosts(e.Value)
	}
	if kind.Reach != resource.NamedHost {
		return kind.Hosts(nil)
	}
	if Damaged(e.Value) { // whose it was is lost: all are told that it is there, and damaged
		return []resource.ID{resource.AnyHost}
	}
	x, err := kind.Decode(e.Value, e.Revision)
	if err != nil || x.Head().Ref() != e.Key {
		return StampedHosts(e.Value)
	}
	return kind.Hosts(x)
}

// narrow gives each host what it sees of a revision. What moves out of its sight is told as removed.
func narrow(catalog *resource.Catalog, c Changes) map[resource.ID]Changes {
	out := map[resource.ID]Changes{}
	for _, e := range c.Events {
		saw := HostsOf(catalog, Entry{Key: e.Key, Value: e.Old})
		sees := HostsOf(catalog, Entry{Key: e.Key, Value: e.Value})
		tell := func(hosts []resource.ID, event Event) {
			for _, id := range hosts {
				mine := out[id]
				mine.Revision, mine.Events = c.Revision, append(mine.Events, event)
				out[id] = mine
			}
		}
		var newcomers, stayers, leavers []resource.ID
		for _, id := range sees {
			if slices.Contains(saw, id) {
				stayers = append(stayers, id)
			} else {
				newcomers = append(newcomers, id)
			}
		}
		for _, id := range saw {
			if !slices.Contains(sees, id) {
				leavers = append(leavers, id)
			}
		}
		tell(stayers, e)
		tell(newcomers, Event{Key: e.Key, Value: e.Value})
		tell(leavers, Event{Key: e.Key, Old: e.Old})
	}
	return out
}

// concerned is narrow for the view's own kinds.
func (v *View) concerned(c Changes) map[resource.ID]Changes { return narrow(v.catalog, c) }

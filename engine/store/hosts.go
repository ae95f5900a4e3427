package store

import (
	"bytes"
	"encoding/json"
	"slices"

	"github.com/virga-cloud/virga/engine/resource"
)

// Stamp writes beside each record which hosts' agents may see it. A server of another version, which does
// not understand the record, passes it on to them.
func Stamp(catalog *resource.Catalog, changes []Change) []Change {
	return stampAll(catalog, changes, func(kind resource.Descriptor, c Change) resource.Object {
		x, _ := kind.Decode(c.Value, 0)
		return x
	})
}

// stamp is Stamp, of changes of which the batch has most as records.
func (b *Batch) stamp(catalog *resource.Catalog, changes []Change) []Change {
	return stampAll(catalog, changes, func(_ resource.Descriptor, c Change) resource.Object {
		if w := b.work[c.Key]; w != nil {
			return w.object
		}
		return nil // of what the batch could not read its hosts are written already
	})
}

func stampAll(catalog *resource.Catalog, changes []Change, read func(resource.Descriptor, Change) resource.Object) []Change {
	for i, c := range changes {
		kind, known := catalog.Lookup(c.Key.Kind)
		if !known || c.Op != Put || kind.Reach == resource.NoHost {
			continue
		}
		if x := read(kind, c); x != nil {
			changes[i].Value = stamp(c.Value, kind.Hosts(x))
		}
	}
	return changes
}

var hostsField = []byte(`"` + resource.HostsField + `":`)

func stamp(value []byte, hosts []resource.ID) []byte {
	end := len(value) - 1
	if bytes.Contains(value, hostsField) || end < 2 || value[end] != '}' {
		return stampAnew(value, hosts)
	}
	if len(hosts) == 0 {
		return value
	}
	list, _ := json.Marshal(hosts)
	out := make([]byte, 0, len(value)+len(hostsField)+len(list)+1)
	out = append(append(out, value[:end]...), ',')
	return append(append(append(out, hostsField...), list...), '}')
}

// stampAnew is stamp, where hosts stand beside the record already, or something in it is called so.
func stampAnew(value []byte, hosts []resource.ID) []byte {
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
	if e.Value == nil || !IsRecord(e.Key.Kind) {
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

// narrow gives each host what it sees of a revision. What moves out of its sight is told as removed. Of what
// the view has just read it needs no reading again.
func narrow(catalog *resource.Catalog, c Changes, read map[resource.Ref]Delta) map[resource.ID]Changes {
	out := map[resource.ID]Changes{}
	for _, e := range c.Events {
		saw, sees := sight(catalog, e, read)
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

// sight lists the hosts that saw what was there before an event, and those that see what is there now.
func sight(catalog *resource.Catalog, e Event, read map[resource.Ref]Delta) (saw, sees []resource.ID) {
	d, known := read[e.Key]
	if !known || (d.Old == nil) != (e.Old == nil) || (d.New == nil) != (e.Value == nil) {
		return HostsOf(catalog, Entry{Key: e.Key, Value: e.Old}), HostsOf(catalog, Entry{Key: e.Key, Value: e.Value})
	}
	kind, _ := catalog.Lookup(e.Key.Kind)
	if d.Old != nil {
		saw = kind.Hosts(d.Old)
	}
	if d.New != nil {
		sees = kind.Hosts(d.New)
	}
	return saw, sees
}

// concerned is narrow for the view's own kinds.
func (v *View) concerned(c Changes, read map[resource.Ref]Delta) map[resource.ID]Changes {
	return narrow(v.catalog, c, read)
}

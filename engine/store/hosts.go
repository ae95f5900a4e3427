package store

import (
	"encoding/json"

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

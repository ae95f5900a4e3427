package remote

import (
	"encoding/json"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// opReport is a report on the wire.
const opReport store.Op = "report"

// observed is what a report brings of a record.
type observed struct {
	Status  json.RawMessage `json:"status"`
	Holders []string        `json:"holders,omitempty"`
}

// send gives a change its form on the wire. Of a report only what was observed travels: the server may
// know more of the rest than its agent, or less.
func send(c store.Change) (changeWire, error) {
	if !c.Report {
		return changeWire{Key: c.Key, Op: c.Op, Value: c.Value, Expect: c.Expect, Since: c.Since}, nil
	}
	var o observed
	if err := json.Unmarshal(c.Value, &o); err != nil {
		return changeWire{}, fault.New(fault.Internal, "report %s: %w", c.Key, err)
	}
	return changeWire{Key: c.Key, Op: opReport, Expect: c.Expect, Status: o.Status, Holders: o.Holders}, nil
}

func receive(c changeWire) (store.Change, error) {
	if c.Op != opReport {
		return store.Change{Key: c.Key, Op: c.Op, Value: c.Value, Expect: c.Expect, Since: c.Since}, nil
	}
	if len(c.Status) == 0 || c.Value != nil {
		return store.Change{}, fault.New(fault.Invalid, "report %s: a report has a status, and no value", c.Key)
	}
	if c.Expect <= 0 {
		return store.Change{}, fault.New(fault.Invalid, "report %s: a report expects the revision that it speaks of", c.Key)
	}
	value, err := json.Marshal(observed{c.Status, c.Holders})
	return store.Change{Key: c.Key, Op: store.Put, Value: value, Expect: c.Expect, Report: true}, err
}

// merged puts what reports bring into the records that are there. Fields of a record that the reporter, or
// this server, does not know stay as they are, and their order says nothing.
func merged(current map[resource.Ref]store.Entry, changes []store.Change) ([]store.Change, error) {
	out := make([]store.Change, len(changes))
	for i, c := range changes {
		if c.Report {
			there := current[c.Key]
			if err := store.CheckExpectation(c, there.Revision); err != nil {
				return nil, err // it speaks of an older record
			}
			var err error
			if c.Value, err = merge(there.Value, c.Value); err != nil {
				return nil, fault.New(fault.Invalid, "report %s: %w", c.Key, err)
			}
		}
		out[i] = c
	}
	return out, nil
}

func merge(there, report []byte) ([]byte, error) {
	var record map[string]json.RawMessage
	if err := json.Unmarshal(there, &record); err != nil {
		return nil, err
	}
	var o observed
	if err := json.Unmarshal(report, &o); err != nil {
		return nil, err
	}
	record["status"] = o.Status
	delete(record, "holders")
	if len(o.Holders) > 0 {
		record["holders"], _ = json.Marshal(o.Holders)
	}
	return json.Marshal(record)
}

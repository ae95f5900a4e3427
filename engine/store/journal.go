package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// JournalKind is the pseudo kind of entries of a journal: each is written once, in the commit that it
// tells of, and never changed. They are no records: the view has none of them, List without kinds
// leaves them out, and agents neither see nor write them. They are read by time.
const JournalKind resource.Kind = "journal"

// Journals is what a store can do that keeps journals.
type Journals interface {
	// Range reads entries of a journal with from <= id < to, in the order of time or the newest first;
	// empty bounds are none.
	Range(ctx context.Context, journal string, from, to resource.ID, newest bool, most int) ([]Entry, error)
}

// JournalOf gives the journals of a store.
func JournalOf(s Store) (Journals, error) {
	if j, ok := s.(Journals); ok {
		return j, nil
	}
	return nil, fault.New(fault.Internal, "this store keeps no journals")
}

// JournalKey is the key of an entry that was made by resource.NewID or JournalTime.
func JournalKey(journal string, id resource.ID) resource.Ref {
	return resource.Ref{Kind: JournalKind, Project: resource.ID(journal), ID: id}
}

// JournalTime is the least id of entries of a moment.
func JournalTime(at time.Time) resource.ID {
	ms := fmt.Sprintf("%012x", max(0, at.UnixMilli()))
	return resource.ID(ms[:8] + "-" + ms[8:])
}

// JournalID is the id of a new entry of a moment.
func JournalID(at time.Time) resource.ID {
	return JournalTime(at) + resource.NewID()[13:] // behind the time of a UUIDv7
}

// Append adds an entry to a journal, in the commit that it tells of.
func (b *Batch) Append(journal string, id resource.ID, entry any) {
	value, err := json.Marshal(entry)
	if err != nil && b.err == nil {
		b.err = fault.New(fault.Internal, "encode an entry of the journal %s: %w", journal, err)
	}
	b.extra = append(b.extra, Change{Key: JournalKey(journal, id), Op: Put, Value: value, Expect: Absent})
}

// Forget removes an entry that is old enough.
func (b *Batch) Forget(key resource.Ref) {
	b.extra = append(b.extra, Change{Key: key, Op: Delete, Expect: Any})
}

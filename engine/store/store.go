// Package store keeps the records of the cloud and tells of every change in order.
//
// A Store has four methods. Three implementations pass one conformance suite (storetest):
// etcd (the truth, on servers), memory (tests and the simulator), remote (an agent's, over
// the API, narrowed to what its host may see).
//
// On top of it:
//
//   - View: one watch feeds one indexed in-memory picture of all kinds at one revision.
//     Everything that decides reads a Snapshot of it, never the store.
//   - Batch: the changes of one atomic commit, made of typed writes with compare-and-swap.
//   - Registry: hands out the right to write one half of one kind, once. Asking twice is an
//     error of the program that is found at start.
//   - DB: a Store with its View; a commit returns when the view has seen it, so that nobody
//     decides on a picture older than their own write.
//
// Names are unique because a record is committed together with a name key that must be absent.
// Anything else that must be unique (an address in a network) uses the same way: a claim key.
package store

import (
	"context"

	"github.com/virga-cloud/virga/engine/resource"
)

// Entry is a stored record or claim key.
type Entry struct {
	Key      resource.Ref
	Value    []byte // JSON; nil in an Event that tells of a removal
	Revision int64  // of the last change; 0 where there is none
}

// What a Change expects of the key before it.
const (
	Any    int64 = -1 // whatever is there
	Absent int64 = 0  // nothing is there
)

// Change is one part of a commit. All parts happen, or none does.
type Change struct {
	Key   resource.Ref
	Op    Op
	Value []byte // for Put
	// Report marks a Put in which only the status and the holders differ from what is there at Expect.
	Report bool
	Expect int64 // Any, Absent, or the revision that must be there
}

// Op says what a Change does.
type Op string

// The operations. Check changes nothing and only holds the commit to an expectation.
const (
	Put    Op = "put"
	Delete Op = "delete"
	Check  Op = "check"
)

// Event is one change that has happened. Old is what was there before; nil: nothing that the
// watcher could see.
type Event struct {
	Key   resource.Ref
	Value []byte // nil: removed
	Old   []byte
}

// Batch of events: everything that one revision changed.
type Changes struct {
	Revision int64
	Events   []Event
	// Progress alone: no events, but everything up to Revision has been told.
}

// Watch is a running watch. Changes closes when it ends; Err then says why. A reader that is
// too slow is cut off with fault.TooLate and begins again with a List.
type Watch interface {
	Changes() <-chan Changes
	Err() error
	Stop()
}

// Store keeps entries under keys in one order of revisions.
type Store interface {
	// Get reads one entry; fault.NotFound if there is none. It is linearizable.
	Get(ctx context.Context, key resource.Ref) (Entry, error)
	// List reads all entries of the kinds (of all kinds when none is named) at one revision.
	List(ctx context.Context, kinds ...resource.Kind) ([]Entry, int64, error)
	// Commit makes all changes at one revision, or none: fault.Conflict if an expectation fails
	// (fault.Exists if Absent was expected of a Put). A commit of nothing returns the present revision.
	Commit(ctx context.Context, changes ...Change) (int64, error)
	// Watch tells all that happens after revision, in order, one Changes for each revision;
	// fault.TooLate if that past is gone.
	Watch(ctx context.Context, after int64) (Watch, error)
}

// NameKind is the pseudo kind of name keys and other claim keys. They are no records.
const NameKind resource.Kind = "name"

// NameKey is the key that makes a name unique within kind and project.
func NameKey(kind resource.Kind, project, name string) resource.Ref {
	return ClaimKey(project, string(kind)+":"+name)
}

// ClaimKey is a key that only one record can hold, for example an address in a network.
func ClaimKey(project, what string) resource.Ref {
	return resource.Ref{Kind: NameKind, Project: project, ID: resource.ID(what)}
}

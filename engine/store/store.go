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
// What a commit brings along is derived from its records by the DB, in the same transaction:
//
//   - Names are unique because a record is committed together with a name key that must be absent.
//     Whatever else one record alone may have (the Takes of its kind: an address in a network; what it
//     needs Alone: a volume) uses the same way: a claim key.
//   - A reference (the Needs of its kind) is held: the commit that makes it fails unless the record is
//     there and has no deletion mark, and it touches the record, so that a deletion that was judged
//     before fails. A touch expects nothing: those who refer to one record do not wait for each other,
//     and neither do they for whoever writes its status.
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
	Present int64 = -2 // something is there, at any revision
	Any     int64 = -1 // whatever is there
	Absent  int64 = 0  // nothing is there
)

// Change is one part of a commit. All parts happen, or none does.
type Change struct {
	Key   resource.Ref
	Op    Op
	Value []byte // for Put
	// Report marks a Put in which only the status and the holders differ from what is there at Expect.
	Report bool
	Expect int64 // Any, Absent, Present, or the revision that must be there
	Since  int64 // if not 0: the revision since which nothing has been written there
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
	// List reads all entries of the kinds at one revision; when none is named, all records, and nothing else.
	List(ctx context.Context, kinds ...resource.Kind) ([]Entry, int64, error)
	// Commit makes all changes at one revision, which other commits may share, or none: fault.Conflict if an expectation fails
	// (fault.Exists if Absent was expected of a Put). A commit of nothing returns the present revision.
	Commit(ctx context.Context, changes ...Change) (int64, error)
	// Watch tells all that happens after revision, in order, one Changes for each revision;
	// fault.TooLate if that past is gone.
	Watch(ctx context.Context, after int64) (Watch, error)
}

// NameKind is the pseudo kind of name keys and other claim keys. They are no records.
const NameKind resource.Kind = "name"

// NameKey is the key that makes a name unique within kind and project.
func NameKey(kind resource.Kind, project resource.ID, name string) resource.Ref {
	return ClaimKey(project, string(kind)+":"+name)
}

// ClaimKey is a key that only one record can hold, for example an address in a network.
func ClaimKey(project resource.ID, what string) resource.Ref {
	return resource.Ref{Kind: NameKind, Project: project, ID: resource.ID(what)}
}

// The pseudo kinds of the keys by which references are held. They are hidden: a watch does not tell of them.
const (
	MarkKind  resource.Kind = "mark"  // there while a record is being deleted
	TouchKind resource.Kind = "touch" // written by all that begins to need a record
)

// Hidden reports whether a kind is told only to those who ask for it.
func Hidden(kind resource.Kind) bool { return kind == MarkKind || kind == TouchKind }

// Beside reports whether a kind is no record but goes along with the commit of one: marks, touches, entries
// of a journal.
func Beside(kind resource.Kind) bool { return Hidden(kind) || kind == JournalKind }

// IsRecord reports whether a kind is one of records: neither claims nor what goes along with commits.
func IsRecord(kind resource.Kind) bool { return !Beside(kind) && kind != NameKind }

// Held lists the records, and the claims that they hold.
func Held(ctx context.Context, s Store) ([]Entry, error) {
	records, _, err := s.List(ctx)
	if err != nil {
		return nil, err
	}
	claims, _, err := s.List(ctx, NameKind)
	return append(records, claims...), err
}

// Streaming is a Store that gives its records piece by piece, all at one revision, so that one is made use of while the
// next is read. It is fault.TooLate when that revision was forgotten meanwhile.
type Streaming interface {
	Stream(ctx context.Context, each func([]Entry)) (int64, error)
}

// MarkKey is there while a record is being deleted.
func MarkKey(ref resource.Ref) resource.Ref { return aboutKey(MarkKind, ref) }

// TouchKey is written by every commit that begins to need a record.
func TouchKey(ref resource.Ref) resource.Ref { return aboutKey(TouchKind, ref) }

func aboutKey(kind resource.Kind, ref resource.Ref) resource.Ref {
	return resource.Ref{Kind: kind, Project: ref.Project, ID: resource.ID(string(ref.Kind) + ":" + string(ref.ID))}
}

// Deriving is a Store that derives by itself what the records of a commit bring along: an agent's, whose
// server does it.
type Deriving interface{ Derives() bool }

package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// Incarnation is one life of the records. It changes when a backup is brought back: what was made
// after the backup runs on, and has no record any more. Whoever removes what has no record waits, then,
// until a person has looked.
type Incarnation struct {
	// ID is another one in each life.
	ID resource.ID `json:"id"`
	// Restored is when a backup was brought back, and Made when that had been made; nil: it never was.
	Restored *time.Time `json:"restored,omitempty"`
	Made     *time.Time `json:"made,omitempty"`
	// Settled is a word that changes each time a person says that what hosts have without a record may go.
	Settled string `json:"settled,omitempty"`
}

// IncarnationKey is where it lies. It is no record, and no loop writes it.
var IncarnationKey = ClaimKey("", "store:incarnation")

// ReadIncarnation reads it; a store that is new begins its first.
func ReadIncarnation(ctx context.Context, s Store) (Incarnation, error) {
	for {
		var i Incarnation
		e, err := s.Get(ctx, IncarnationKey)
		if err == nil {
			return i, fault.Wrap(json.Unmarshal(e.Value, &i), "read which life of the records this is")
		}
		if !fault.Is(err, fault.NotFound) {
			return i, err
		}
		i.ID = resource.NewID()
		if _, err := s.Commit(ctx, i.put(Absent)); err == nil || !fault.Is(err, fault.Exists) {
			return i, err
		}
	}
}

// Settle says that the records are taken as they are: each host that has heard of this life may remove what
// has no record again.
func Settle(ctx context.Context, s Store) error {
	e, err := s.Get(ctx, IncarnationKey)
	if err != nil {
		return err
	}
	var i Incarnation
	if err := json.Unmarshal(e.Value, &i); err != nil {
		return fault.New(fault.Internal, "read which life of the records this is: %w", err)
	}
	i.Settled = string(resource.NewID())
	_, err = s.Commit(ctx, i.put(e.Revision))
	return err
}

func (i Incarnation) put(expect int64) Change {
	value, _ := json.Marshal(i)
	return Change{Key: IncarnationKey, Op: Put, Value: value, Expect: expect}
}

// Acquaintance is what a host keeps of the lives of the records that it has heard of.
type Acquaintance struct {
	// Known is the life by which it may judge what has no record.
	Known resource.ID `json:"known,omitempty"`
	// Other is one that it has heard of since, and Word what was settled when it first did.
	Other resource.ID `json:"other,omitempty"`
	Word  string      `json:"word,omitempty"`
}

// Hear takes what a server says. The first life is believed. Another is, when a person settles it after
// this host has heard of it: until then, nobody can have seen what this host has beside its records.
func (a Acquaintance) Hear(id resource.ID, settled string) Acquaintance {
	switch {
	case a.Known == "", id == a.Known:
		return Acquaintance{Known: id}
	case id != a.Other:
		return Acquaintance{Known: a.Known, Other: id, Word: settled}
	case settled != a.Word:
		return Acquaintance{Known: id}
	}
	return a
}

// Doubt says why what has no record must stay; nil: it need not.
func (a Acquaintance) Doubt() error {
	if a.Other == "" {
		return nil
	}
	return fault.New(fault.Unavailable, "a backup of the records was brought back: what this host has without a record stays until somebody has looked, and says virga restore --settle on a server")
}

// Package resource gives every noun of the cloud its one shape: a record.
//
// A record has a Spec (the desired state, with exactly one writer) and a Status (what was
// last seen, with exactly one other writer), and a Meta that is the same for all. Fields
// are exported and plain; records that were read are shared and never changed in place: a
// writer works on its own copy.
package resource

import (
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Kind names a noun in the singular, lower case: "vm".
type Kind string

// ID names a record for ever. It is a UUID version 7, minted before anything is done in its name.
type ID string

// NewID mints an id.
func NewID() ID { return ID(uuid.Must(uuid.NewV7()).String()) }

// IsID reports whether a word has the form of an id. No record is named so: what people type may be either,
// and an id is meant when it looks like one.
func IsID(word string) bool { return len(word) == idLength && uuid.Validate(word) == nil }

const idLength = len("01234567-89ab-7cde-8f01-23456789abcd")

// Ref is the full address of a record.
type Ref struct {
	// Kind is the noun, in the singular.
	Kind Kind `json:"kind"`
	// Project is the id of the tenant that owns the record; empty for what belongs to the cloud as a whole.
	Project ID `json:"projectID,omitempty"`
	// ID names the record for ever.
	ID ID `json:"id"`
}

func (r Ref) String() string {
	return string(r.Kind) + "/" + string(r.Project) + "/" + string(r.ID)
}

// Meta is what every record has.
type Meta struct {
	// Kind is the noun, in the singular.
	Kind Kind `json:"kind"`
	// ID names the record for ever; minted by the API.
	ID ID `json:"id"`
	// Name is unique within the kind and the project; lower case letters, digits and dashes.
	Name string `json:"name"`
	// Project is the id of the tenant that owns the record; empty for what belongs to the cloud as a whole.
	Project ID `json:"projectID,omitempty"`
	// ProjectName is the name that the project has when the record is shown. It is never stored, for a
	// project may be renamed.
	ProjectName string `json:"project,omitempty"`
	// Owner is the record that this one was made for and is deleted with: the VM of a disk that was
	// made with it. None: it stands alone.
	Owner *Ref `json:"owner,omitempty"`
	// Labels are free words for people and selectors.
	Labels map[string]string `json:"labels,omitempty"`
	// Generation rises by one with every change of the spec.
	Generation int64 `json:"generation"`
	// Revision is the store's revision of the last change, the token for compare-and-swap.
	Revision int64 `json:"revision"`
	// Created is when the record was first stored.
	Created time.Time `json:"created"`
	// Deleting is when deletion was asked for. The record goes when the last holder has let go.
	Deleting *time.Time `json:"deleting,omitempty"`
	// Holders name who still has something to undo before the record may go.
	Holders []string `json:"holders,omitempty"`
}

// Head gives generic code the Meta of any record.
func (m *Meta) Head() *Meta { return m }

// Ref is the record's full address.
func (m *Meta) Ref() Ref { return Ref{Kind: m.Kind, Project: m.Project, ID: m.ID} }

// OwnedBy reports whether the record was made for another one, and goes with it.
func (m *Meta) OwnedBy(id ID) bool { return m.Owner != nil && m.Owner.ID == id }

// HeldBy reports whether the holder still has to let go.
func (m *Meta) HeldBy(holder string) bool { return slices.Contains(m.Holders, holder) }

// Record is a noun: the desired state and the observation.
type Record[S, T any] struct {
	Meta
	// Spec is what is wanted.
	Spec S `json:"spec"`
	// Status is what was last seen.
	Status T `json:"status"`

	stored []byte // as it was read, if it has fields that this program does not know
}

// Object is any record.
type Object interface{ Head() *Meta }

// Observed starts every Status: which spec it speaks of, and what is not as it should be.
type Observed struct {
	// SeenGeneration is the generation of the spec that this status speaks of.
	SeenGeneration int64 `json:"seenGeneration,omitempty"`
	// Problems are what keeps the record from being as specified; empty when all is well.
	Problems []Problem `json:"problems,omitempty"`
}

// observed finds the part of any status that all have.
func (o *Observed) observed() *Observed { return o }

// Problem is one reason why a record is not as specified.
type Problem struct {
	// Kind is a word of the closed list of faults.
	Kind string `json:"kind"`
	// Message says what is wrong and what to do, in words.
	Message string `json:"message"`
	// Outside is what is said instead to who does not run the cloud, where Message names hosts or
	// other things of the operator's; none: Message.
	Outside string `json:"outside,omitempty"`
	// Since is when it was first seen.
	Since time.Time `json:"since"`
}

// SetProblem returns the problems with this one alone, keeping Since when it was there already.
// An empty message clears them. Outside is what is said instead to who does not run the cloud.
func SetProblem(old []Problem, kind, message string, now time.Time, outside ...string) []Problem {
	if message == "" {
		return nil
	}
	one := Problem{Kind: kind, Message: message, Outside: strings.Join(outside, " "), Since: now}
	for _, p := range old {
		if p.Kind == kind && p.Message == message {
			one.Since = p.Since
		}
	}
	return []Problem{one}
}

// Copy returns a deep copy of a record, made by way of its JSON.
func Copy[S, T any](r *Record[S, T]) *Record[S, T] {
	data, err := r.encode()
	if err != nil {
		panic("resource: a record that is no JSON: " + err.Error())
	}
	out := new(Record[S, T])
	if err := out.UnmarshalJSON(data); err != nil {
		panic("resource: a record that does not come back from JSON: " + err.Error())
	}
	return out
}

// CopyOf is Copy of a record of any kind.
func CopyOf(x Object) (Object, error) {
	data, err := Encode(x)
	if err != nil {
		return nil, err
	}
	mine := reflect.New(reflect.TypeOf(x).Elem()).Interface().(Object)
	return mine, read(data, mine)
}

// young is how long it is no news that a record waits for others.
const young = 3 * time.Second

// Young reports whether a record is so new that there is no need to write down that it waits: a phase
// that nobody has the time to read costs a commit. After that it is told what it waits for.
func (m *Meta) Young(now time.Time) bool {
	age := now.Sub(m.Created)
	return age >= 0 && age < young
}

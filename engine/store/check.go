package store

import (
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// CheckExpectation compares what a change expects with the revision that is there (0: nothing).
// Every implementation refuses with these words.
func CheckExpectation(c Change, there int64) error {
	switch {
	case c.Expect == Any || c.Expect == there:
		return nil
	case c.Expect == Absent && c.Key.Kind == NameKind:
		return fault.New(fault.Exists, "%s is taken already in project %q; pick another", c.Key.ID, c.Key.Project)
	case c.Expect == Absent:
		return fault.New(fault.Exists, "%s %s exists already", c.Key.Kind, c.Key.ID)
	case there == 0:
		return fault.New(fault.Conflict, "%s %s is gone; read again", c.Key.Kind, c.Key.ID)
	default:
		return fault.New(fault.Conflict, "%s %s has changed (revision %d, expected %d); read again and retry", c.Key.Kind, c.Key.ID, there, c.Expect)
	}
}

// Distinct refuses a commit that names a key twice: its order would be anybody's guess.
func Distinct(changes []Change) error {
	seen := make(map[resource.Ref]bool, len(changes))
	for _, c := range changes {
		if seen[c.Key] {
			return fault.New(fault.Internal, "a commit names %s twice", c.Key)
		}
		seen[c.Key] = true
	}
	return nil
}

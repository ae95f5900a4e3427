package store

import (
	"fmt"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// Unmet is the expectation for which a commit was refused.
type Unmet struct {
	Change Change
	why    string
}

func (u *Unmet) Error() string { return u.why }

// CheckExpectation compares what a change expects with the revision that is there (0: nothing).
// Every implementation refuses with these words.
func CheckExpectation(c Change, there int64) error {
	met := c.Expect == Any || c.Expect == there || c.Expect == Present && there != 0
	if met && (c.Since == 0 || there <= c.Since) {
		return nil
	}
	kind, why := fault.Conflict, ""
	switch {
	case Hidden(c.Key.Kind):
		why = fmt.Sprintf("%s has begun or ceased to be needed meanwhile; read again and retry", c.Key.ID)
	case c.Expect == Absent && c.Key.Kind == NameKind && c.Key.Project == "":
		kind, why = fault.Exists, fmt.Sprintf("%s is taken already; pick another", c.Key.ID)
	case c.Expect == Absent && c.Key.Kind == NameKind:
		kind, why = fault.Exists, fmt.Sprintf("%s is taken already in project %q; pick another", c.Key.ID, c.Key.Project)
	case c.Expect == Absent:
		kind, why = fault.Exists, fmt.Sprintf("%s %s exists already", c.Key.Kind, c.Key.ID)
	case there == 0:
		why = fmt.Sprintf("%s %s is gone; read again", c.Key.Kind, c.Key.ID)
	default:
		why = fmt.Sprintf("%s %s has changed (revision %d, expected %d); read again and retry", c.Key.Kind, c.Key.ID, there, c.Expect)
	}
	return fault.New(kind, "%w", &Unmet{c, why})
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

package observe

import (
	"encoding/json"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/virga-cloud/virga/engine/operation"
	"github.com/virga-cloud/virga/engine/resource"
)

// sight is what can be seen of any record without knowing its noun.
type sight struct {
	hasPhase       bool
	phase          string
	seenGeneration int64
	problems       []resource.Problem
	reasons        []string
}

// The words for states in which nothing is waited for.
var settledPhases = []string{"", "ready", "running", "stopped", "paused", "alive", "closed", "succeeded", "active"}

// The fields in which a status says why it is so, in words.
var reasonFields = []string{"Why", "ExitMessage", "EndedWhy", "OutgoingError"}

// look reads the state of a record: Phase or State, the Observed that every status starts with,
// and the fields in which a status gives its reasons.
func look(x resource.Object) sight {
	var s sight
	status := reflect.ValueOf(x).Elem().FieldByName("Status")
	if !status.IsValid() || status.Kind() != reflect.Struct {
		return s
	}
	text := func(name string) (string, bool) {
		f := status.FieldByName(name)
		if !f.IsValid() || f.Kind() != reflect.String {
			return "", false
		}
		return f.String(), true
	}
	for _, name := range []string{"State", "Phase"} {
		if phase, ok := text(name); ok {
			s.phase, s.hasPhase = phase, true
		}
	}
	if f := status.FieldByName("Observed"); f.IsValid() {
		if o, ok := f.Interface().(resource.Observed); ok {
			s.seenGeneration, s.problems = o.SeenGeneration, o.Problems
		}
	}
	for _, name := range reasonFields {
		if why, _ := text(name); why != "" {
			s.reasons = append(s.reasons, why)
		}
	}
	return s
}

// look reads what the asker may see of a record.
func (e *explanation) look(x resource.Object) sight {
	if kind, known := e.catalog.Lookup(x.Head().Kind); known {
		x = kind.See(x, e.as, "")
	}
	return look(x)
}

func (s sight) settled() bool {
	return len(s.problems) == 0 && slices.Contains(settledPhases, s.phase)
}

// resting reports whether a record is as it has to be while nobody needs it.
func (s sight) resting() bool { return len(s.problems) == 0 && s.phase == "unbound" }

func (s sight) severity() string {
	switch {
	case len(s.problems) > 0 || s.phase == "failed" || s.phase == "lost" || s.phase == "crashed":
		return Error
	case !s.settled():
		return Warning
	}
	return Info
}

// words says the state as the end of a sentence.
func (s sight) words(head *resource.Meta) string {
	switch {
	case head.Deleting != nil && s.phase != "" && s.phase != "deleting":
		return "is being deleted (" + s.phase + ")"
	case head.Deleting != nil:
		return "is being deleted"
	case s.phase == "failed" || s.phase == "crashed" || s.phase == "succeeded":
		return "has " + s.phase
	case s.phase != "":
		return "is " + s.phase
	case len(s.problems) > 0:
		return "has a problem"
	case s.hasPhase:
		return "is new"
	}
	return "is there"
}

// neighbours lists what a record may wait for: first what it refers to, then what was made for it.
// The hard part is to leave out what only shares something with it, like all the other VMs on
// the same host.
func (e *explanation) neighbours(x resource.Object, path []resource.Object) []resource.Object {
	var out []resource.Object
	asked := len(path) == 1
	refs := e.refs(x)
	if !asked && x.Head().Project == "" && look(x).settled() {
		refs = nil // what a datastore lies on is of interest only if the datastore is not well
	}
	for _, ref := range refs {
		if next := e.snap.Lookup(ref.ID); next != nil && next.Head().Kind != operation.Operations.Kind {
			out = append(out, next)
		}
	}
	for next := range e.snap.Mentioning(x.Head().ID) {
		kind, known := e.catalog.Lookup(next.Head().Kind)
		if !known || kind.Kind == Events.Kind || kind.Kind == operation.Operations.Kind {
			continue
		}
		switch {
		case !e.servant(kind, next, x) || e.sibling(next, path):
		case !asked && x.Head().Project == "" && !e.alone(next, x) && !sameContent(next, path):
		case !asked && look(x).settled() && !e.acquainted(next, path):
		default:
			out = append(out, next)
		}
	}
	// What is nearer explains more than what many share.
	slices.SortStableFunc(out, func(a, b resource.Object) int {
		return strings.Compare(nearness(a), nearness(b))
	})
	return out
}

func nearness(x resource.Object) string {
	if x.Head().Project == "" {
		return "far"
	}
	return ""
}

func (e *explanation) refs(x resource.Object) []resource.Ref {
	kind, known := e.catalog.Lookup(x.Head().Kind)
	if !known {
		return nil
	}
	return kind.Refs(x)
}

// servant reports whether a record that refers to x was made to serve it: hosts work on it, or it
// speaks of x alone. What a person made and uses x waits for x, not the other way round.
func (e *explanation) servant(kind resource.Descriptor, next, x resource.Object) bool {
	if kind.Reach == resource.NamedHost {
		return true
	}
	return e.alone(next, x)
}

// alone reports whether a record refers to x and to nothing else.
func (e *explanation) alone(next, x resource.Object) bool {
	return !slices.ContainsFunc(e.refs(next), func(r resource.Ref) bool { return r.ID != x.Head().ID })
}

// sameContent reports whether a record speaks of a content that one on the path speaks of too.
func sameContent(next resource.Object, path []resource.Object) bool {
	theirs := digests(next)
	return slices.ContainsFunc(path, func(there resource.Object) bool { return overlap(digests(there), theirs) })
}

func overlap(a, b []string) bool {
	return slices.ContainsFunc(a, func(d string) bool { return slices.Contains(b, d) })
}

// sibling reports whether a record belongs to another one of the kind of one on the path: it is
// itself of such a kind, or it refers to another of such a kind, or to other content.
func (e *explanation) sibling(next resource.Object, path []resource.Object) bool {
	theirs := digests(next)
	for i, there := range path {
		if there.Head().Kind == next.Head().Kind && there.Head().ID != next.Head().ID {
			return true
		}
		for _, ref := range e.refs(next) {
			// The kinds that many share, like hosts, say nothing about whom it belongs to.
			if ref.Kind == there.Head().Kind && ref.ID != there.Head().ID && (i == 0 || there.Head().Project != "") {
				return true
			}
		}
		if ours := digests(there); len(ours) > 0 && len(theirs) > 0 && !overlap(ours, theirs) {
			return true
		}
	}
	return false
}

// acquainted reports whether a record refers only to what the records of the path refer to, as
// far as it is a tenant's.
func (e *explanation) acquainted(next resource.Object, path []resource.Object) bool {
	known := map[resource.ID]bool{}
	for _, there := range path {
		known[there.Head().ID] = true
		for _, ref := range e.refs(there) {
			known[ref.ID] = true
		}
	}
	return !slices.ContainsFunc(e.refs(next), func(r resource.Ref) bool { return r.Project != "" && !known[r.ID] })
}

var digest = regexp.MustCompile(`sha256:[0-9a-f]+`)

// digests lists the contents that a record speaks of.
func digests(x resource.Object) []string {
	data, err := json.Marshal(x)
	if err != nil || !strings.Contains(string(data), "sha256:") {
		return nil
	}
	return digest.FindAllString(string(data), -1)
}

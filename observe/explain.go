package observe

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/operation"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/task"
)

// Line is one sentence of an explanation.
type Line struct {
	// Depth is how far the sentence is below the record that was asked for: what it waits for is one deeper.
	Depth int `json:"depth"`
	// Severity is info, warning (it waits) or error (something is wrong).
	Severity string `json:"severity" enum:"info,warning,error"`
	// About is the record that the sentence speaks of.
	About resource.Ref `json:"about"`
	// Text is the sentence.
	Text string `json:"text"`
}

// Remarks say, for a kind, what follows from how a record is specified or used: what it waits for though
// nothing is wrong with it.
type Remarks map[resource.Kind]func(*store.Snapshot, resource.Object) []string

// Seen say, for a kind, what is worth knowing and no record tells: whoever knows it is asked.
type Seen map[resource.Kind]func(ctx context.Context, snap *store.Snapshot, x resource.Object, as resource.Sight) []string

// How much an explanation says at most.
const (
	deepest    = 8  // levels of waiting
	widest     = 8  // records of one level
	longest    = 60 // sentences about what is waited for
	lastEvents = 5
)

// Explain says in words why a record is as it is, the most important first: its state and its
// problems, who still holds it when it is being deleted, what it waits for and what those wait
// for, the operations on it, and the last events. It knows no noun: it reads the phase, the
// problems and the holders that all records have, and walks along the references. What a domain
// has to say of its own nouns comes as remarks. Who does not run the cloud is not told which of its
// hosts and datastores is meant, and reads of a record what its kind lets them see.
func Explain(snap *store.Snapshot, c *resource.Catalog, object resource.Object, now time.Time, as resource.Sight, remarks Remarks) []Line {
	e := &explanation{as: as, snap: snap, catalog: c, now: now, seen: map[resource.ID]bool{object.Head().ID: true}}
	e.itself(object)
	before := len(e.lines)
	if remark := remarks[object.Head().Kind]; remark != nil {
		for _, text := range remark(snap, object) {
			e.say(1, Info, object, "%s", text)
		}
	}
	if object.Head().Deleting != nil {
		e.users(object)
	}
	e.walk(object, []resource.Object{object}, 1)
	quiet := len(e.lines) == before && e.look(object).settled()
	e.operations(object)
	e.tasks(object)
	if quiet {
		e.say(0, Info, object, "nothing keeps it from being as specified")
	}
	e.events(object)
	return e.lines
}

type explanation struct {
	as      resource.Sight
	snap    *store.Snapshot
	catalog *resource.Catalog
	now     time.Time
	seen    map[resource.ID]bool
	lines   []Line
}

func (e *explanation) say(depth int, severity string, about resource.Object, format string, args ...any) {
	e.lines = append(e.lines, Line{Depth: depth, Severity: severity, About: about.Head().Ref(), Text: fmt.Sprintf(format, args...)})
}

// itself says how the record is that was asked for.
func (e *explanation) itself(x resource.Object) {
	head, s := x.Head(), e.look(x)
	where := ""
	if head.Project != "" {
		where = " in project " + e.snap.NameOf(head.Project)
	}
	e.say(0, s.severity(), x, "%s%s %s", title(x), where, s.words(head))
	if s.hasPhase && head.Deleting == nil {
		switch {
		case s.phase == "" && s.seenGeneration == 0:
			e.say(1, Warning, x, "nobody has looked at it yet; it was made %s ago", since(head.Created, e.now))
		case s.seenGeneration > 0 && s.seenGeneration < head.Generation:
			e.say(1, Warning, x, "its last change (generation %d) has not been looked at yet, only generation %d", head.Generation, s.seenGeneration)
		}
	}
	e.particulars(1, x, s)
}

// particulars says what is wrong with a record.
func (e *explanation) particulars(depth int, x resource.Object, s sight) {
	head := x.Head()
	for _, p := range s.problems {
		// Problems say themselves what to do, if that is more than their kind says.
		e.say(depth, Error, x, "problem for %s: %s (%s: %s)", since(p.Since, e.now), p.Message, p.Kind, fault.Kind(p.Kind).Next())
	}
	for _, why := range s.reasons {
		if !slices.ContainsFunc(s.problems, func(p resource.Problem) bool { return strings.Contains(p.Message, why) }) {
			e.say(depth, Info, x, "it says: %s", why)
		}
	}
	if head.Deleting == nil {
		return
	}
	if len(head.Holders) == 0 {
		e.say(depth, Warning, x, "it has been deleting for %s and nobody holds it: it goes at any moment", since(*head.Deleting, e.now))
		return
	}
	for _, h := range head.Holders {
		e.say(depth, Warning, x, "deleting for %s: %s has still something to undo and holds it", since(*head.Deleting, e.now), h)
	}
}

// users says which records still refer to one that is being deleted.
func (e *explanation) users(x resource.Object) {
	var names []string
	for other := range e.snap.Mentioning(x.Head().ID) {
		switch {
		case other.Head().ID == x.Head().ID || other.Head().Kind == Events.Kind:
		case other.Head().Kind == operation.Operations.Kind:
		default:
			names = append(names, title(other))
		}
	}
	slices.Sort(names)
	if len(names) > 0 {
		e.say(1, Warning, x, "still referred to by %s", listed(names))
	}
}

func listed(names []string) string {
	if more := len(names) - widest; more > 0 {
		return strings.Join(names[:widest], ", ") + fmt.Sprintf(" and %d more", more)
	}
	return strings.Join(names, ", ")
}

// walk says what a record waits for, and what those wait for. The path leads from the record that
// was asked for to this one. Records that are well are passed through without a word.
func (e *explanation) walk(x resource.Object, path []resource.Object, depth int) {
	if len(path) > deepest {
		return
	}
	told := 0
	for _, next := range e.neighbours(x, path) {
		if e.seen[next.Head().ID] {
			continue
		}
		if len(e.lines) >= longest || told == widest {
			e.say(depth, Info, x, "and more, which is left out")
			return
		}
		e.seen[next.Head().ID] = true
		further, s := append(slices.Clone(path), next), e.look(next)
		if (s.settled() || s.resting() && look(path[0]).settled()) && next.Head().Deleting == nil {
			e.walk(next, further, depth)
			continue
		}
		told++
		if next.Head().Project == "" && e.as < resource.Operator {
			e.say(depth, s.severity(), x, "waits for a %s of the cloud, which %s; an operator sees more", next.Head().Kind, s.words(next.Head()))
			continue
		}
		e.say(depth, s.severity(), next, "%s %s", title(next), s.words(next.Head()))
		e.particulars(depth+1, next, s)
		e.walk(next, further, depth+1)
	}
}

// operations says what is being done to the record, and what failed.
func (e *explanation) operations(x resource.Object) {
	all := store.Referring(e.snap, operation.Operations, x.Head().ID)
	slices.SortFunc(all, func(a, b *operation.Operation) int { return b.Created.Compare(a.Created) })
	failed := 0
	for _, o := range all {
		if !o.Spec.WorksOn(x.Head().ID) {
			continue
		}
		step := ""
		if n := len(o.Status.Journal); n > 0 {
			last := o.Status.Journal[n-1]
			step = fmt.Sprintf(", step %s %s %s ago", last.Step, last.State, since(last.At, e.now))
		}
		switch {
		case !operation.Ended(o):
			phase := o.Status.Phase
			if phase == "" {
				phase = operation.Pending
			}
			e.say(0, Info, o, "operation %s is %s for %s%s", o.Spec.Type, phase, since(o.Created, e.now), step)
			e.particulars(1, o, e.look(o))
		case o.Status.Phase == operation.Failed && failed == 0:
			failed++
			e.say(0, Warning, o, "operation %s failed %s ago%s: %s", o.Spec.Type, since(o.Status.EndedAt, e.now), step, o.Status.Why)
		}
	}
}

// tasks says which hosts work on the record, and what failed.
func (e *explanation) tasks(x resource.Object) {
	all := store.Referring(e.snap, task.Tasks, x.Head().ID)
	slices.SortFunc(all, func(a, b *task.Task) int { return b.Created.Compare(a.Created) })
	failed := 0
	for _, t := range all {
		if t.Spec.Target.ID != x.Head().ID {
			continue
		}
		switch {
		case !task.Ended(t):
			e.say(0, Info, t, "task %s is %s for %s; virga task cancel %s stops it", t.Spec.Type, cmp.Or(t.Status.Phase, task.Pending), since(t.Created, e.now), t.Name)
			e.particulars(1, t, e.look(t))
		case t.Status.Phase == task.Failed && failed == 0:
			failed++
			e.say(0, Warning, t, "task %s failed %s ago: %s", t.Spec.Type, since(t.Status.EndedAt, e.now), t.Status.Why)
		}
	}
}

func (e *explanation) events(x resource.Object) {
	all := slices.DeleteFunc(store.Referring(e.snap, Events, x.Head().ID), func(ev *Event) bool { return ev.Spec.About.ID != x.Head().ID })
	slices.SortFunc(all, func(a, b *Event) int { return b.Spec.At.Compare(a.Spec.At) })
	if len(all) == 0 {
		return
	}
	e.say(0, Info, x, "the last that happened to it:")
	for _, ev := range all[:min(lastEvents, len(all))] {
		e.say(1, ev.Spec.Severity, x, "%s ago: %s (%s, %s)", since(ev.Spec.At, e.now), ev.Spec.Message, ev.Spec.Reason, ev.Spec.By)
	}
}

// title names a record. One that the machinery made has its id as name; the end of it does.
func title(x resource.Object) string {
	head := x.Head()
	if head.Name == string(head.ID) && len(head.Name) > 12 {
		return string(head.Kind) + " …" + head.Name[len(head.Name)-8:]
	}
	return string(head.Kind) + " " + head.Name
}

func since(t, now time.Time) string {
	d := max(now.Sub(t), 0)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

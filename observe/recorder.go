package observe

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/virga-cloud/virga/engine/operation"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// The severities.
const (
	Info    = "info"
	Warning = "warning"
	Error   = "error"
)

// An event that says the same of the same record is told repeats times within repeatWindow. More
// than once, because a commit may lose its race and be built again, and nobody tells us.
const (
	repeatWindow = time.Minute
	repeats      = 3
	rememberMost = 4096
)

// Recorder writes events. It may be used by many at once.
type Recorder struct {
	db     *store.DB
	specs  *store.SpecWriter[EventSpec, EventStatus]
	hostID resource.ID

	mu   sync.Mutex
	told map[subject]telling
}

type subject struct {
	id     resource.ID
	reason string
}

type telling struct {
	since time.Time
	times int
}

// NewRecorder makes a recorder. HostID is the host whose agent records; empty on a server.
func NewRecorder(db *store.DB, specs *store.SpecWriter[EventSpec, EventStatus], hostID resource.ID) *Recorder {
	return &Recorder{db: db, specs: specs, hostID: hostID, told: map[subject]telling{}}
}

// Record adds an event to the batch of the change that it speaks of: about whom (and that record's
// name), how severe, the reason in one word, a sentence, and who did it or saw it. Outside is the sentence for
// who does not run the cloud, where the other names hosts.
func (r *Recorder) Record(b *store.Batch, about resource.Ref, name, severity, reason, message, by string, outside ...string) {
	now := r.db.Now().UTC()
	if !r.worthTelling(about.ID, reason, now) {
		return
	}
	e := &Event{Spec: EventSpec{About: about, Subject: name, Reason: reason, Message: message, Severity: severity, At: now, By: by, HostID: r.hostID}}
	e.Project, e.Spec.Outside = about.Project, strings.Join(outside, " ")
	r.specs.Create(b, e)
}

func (r *Recorder) worthTelling(id resource.ID, reason string, now time.Time) bool {
	// On a server the view shows what was committed: one within the window is enough.
	for _, e := range store.Referring(r.db.Snapshot(), Events, id) {
		if age := now.Sub(e.Spec.At); e.Spec.Reason == reason && e.Spec.About.ID == id && age >= 0 && age < repeatWindow {
			return false
		}
	}
	// An agent does not see events: it counts.
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.told) >= rememberMost {
		for s, t := range r.told {
			if now.Sub(t.since) >= repeatWindow {
				delete(r.told, s)
			}
		}
	}
	key := subject{id, reason}
	t := r.told[key]
	if age := now.Sub(t.since); age >= repeatWindow || age < 0 {
		t = telling{since: now}
	}
	t.times++
	r.told[key] = t
	return t.times <= repeats
}

// Filter narrows a list of events; zero fields do not.
type Filter struct {
	About    string    // a record's id or name
	Reason   string    // a word
	Severity string    // info, warning, error
	Since    time.Time // not before
	Limit    int       // the newest so many
}

// Newest lists events, the newest first.
func Newest(s *store.Snapshot, visible func(*Event) bool, f Filter) []*Event {
	events := store.Every(s, Events)
	slices.SortFunc(events, func(a, b *Event) int { return b.Spec.At.Compare(a.Spec.At) })
	var out []*Event
	for _, e := range events {
		if f.Limit > 0 && len(out) == f.Limit {
			break
		}
		if visible(e) && f.takes(e) {
			out = append(out, e)
		}
	}
	return out
}

func (f Filter) takes(e *Event) bool {
	switch {
	case f.About != "" && f.About != string(e.Spec.About.ID) && f.About != e.Spec.Subject:
		return false
	case f.Reason != "" && f.Reason != e.Spec.Reason, f.Severity != "" && f.Severity != e.Spec.Severity:
		return false
	}
	return !e.Spec.At.Before(f.Since)
}

// Undone tells of an operation that ended without success; it is what an operation.Runner is given.
func (r *Recorder) Undone(b *store.Batch, o *operation.Operation, phase string) {
	name := string(o.Spec.Target.ID)
	if x := r.db.Snapshot().Lookup(o.Spec.Target.ID); x != nil {
		name = x.Head().Name
	}
	severity, message, outside := Info, o.Spec.Type+" "+name+" was cancelled", ""
	if phase == operation.Failed {
		severity, message = Warning, o.Spec.Type+" "+name+" failed: "+o.Status.Why
		if o.Status.WhyOutside != "" {
			outside = o.Spec.Type + " " + name + " failed: " + o.Status.WhyOutside
		}
	}
	r.Record(b, o.Spec.Target, name, severity, "operation-"+phase, message, o.Spec.By, outside)
}

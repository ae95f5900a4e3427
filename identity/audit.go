package identity

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// The audit log is a journal: who asked for what, from where, and what became of it. It has one entry
// for each request that would change something. That of a change is in the commit of the change, as
// one more key, so that there is no change without it. Nothing in the API writes, changes or removes
// entries; they go with time alone, which the operator sets at the server.
const auditJournal = "audit"

// How many entries of requests without a commit wait, and how many are written in a second: whoever is
// refused again and again must not fill the store.
const (
	mostWaiting = 1024
	mostAtOnce  = 32
	tellEvery   = time.Second
)

// Audit keeps the audit log.
type Audit struct {
	db      *store.DB // of requests
	keepFor time.Duration

	mu               sync.Mutex
	refused, waiting []httpapi.Audited // waiting: of what was done without a commit
	dropped          int
}

// NewAudit makes the audit log; entries are kept for so long.
func NewAudit(db *store.DB, keepFor time.Duration) *Audit { return &Audit{db: db, keepFor: keepFor} }

// Keep implements httpapi.Auditor.
func (a *Audit) Keep(b *store.Batch, e *httpapi.Audited) {
	b.Append(auditJournal, store.JournalID(e.At), e)
}

// Tell implements httpapi.Auditor. What was done waits in a place of its own: a flood of refusals does
// not wash it away.
func (a *Audit) Tell(e httpapi.Audited) {
	a.mu.Lock()
	defer a.mu.Unlock()
	queue := &a.refused
	if e.Outcome == httpapi.Done {
		queue = &a.waiting
	}
	if len(*queue) >= mostWaiting {
		a.dropped++
		return
	}
	*queue = append(*queue, e)
}

// Run writes what waits, until ctx ends, and then the rest.
func (a *Audit) Run(ctx context.Context) {
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		if err := a.write(last); err != nil {
			slog.Warn("the audit log could not be written; trying again", "error", err)
		}
		cancel()
	}
}

// write commits some of what waits. What could not be written waits on.
func (a *Audit) write(ctx context.Context) error {
	a.mu.Lock()
	some := append([]httpapi.Audited{}, a.waiting[:min(len(a.waiting), mostAtOnce)]...)
	done := len(some)
	some = append(some, a.refused[:min(len(a.refused), mostAtOnce-done)]...)
	dropped := a.dropped
	a.mu.Unlock()
	if dropped > 0 {
		some = append(some, httpapi.Audited{At: a.db.Now().UTC(), Request: resource.NewID(), Action: "audit-dropped", Outcome: httpapi.Failed,
			Why: fmt.Sprintf("too many requests without a change came at once: %d entries are missing before this one", dropped)})
	}
	if len(some) == 0 {
		return nil
	}
	b := a.db.Begin()
	for i := range some {
		a.Keep(b, &some[i])
	}
	changes, err := b.Changes()
	if err == nil {
		_, err = a.db.Store().Commit(ctx, changes...)
	}
	if err != nil {
		return fault.Wrap(err, "write %d entries of the audit log", len(some))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	told := len(some) - done
	if dropped > 0 {
		told--
	}
	a.waiting, a.refused, a.dropped = a.waiting[done:], a.refused[told:], a.dropped-dropped
	return nil
}

// Forget removes the entries that are older than the operator keeps them. The leader does it.
func (a *Audit) Forget(ctx context.Context, led *store.DB) error {
	j, err := store.JournalOf(led.Store())
	if err != nil || a.keepFor <= 0 {
		return err
	}
	before := store.JournalTime(led.Now().Add(-a.keepFor))
	for {
		old, err := j.Range(ctx, auditJournal, "", before, false, 64)
		if err != nil || len(old) == 0 {
			return err
		}
		b := led.Begin()
		for _, e := range old {
			b.Forget(e.Key)
		}
		if err := led.Commit(ctx, b); err != nil {
			return fault.Wrap(err, "remove old entries of the audit log")
		}
	}
}

// AuditFilter narrows a list of entries; zero fields do not.
type AuditFilter struct {
	User, Action, About, Outcome string
	Project                      resource.ID
	Since, Until                 time.Time
}

func (f *AuditFilter) takes(e *httpapi.Audited) bool {
	for want, got := range map[*string]string{&f.User: e.User, &f.Action: e.Action, &f.Outcome: e.Outcome} {
		if *want != "" && *want != got {
			return false
		}
	}
	if f.Project != "" && f.Project != e.Project {
		return false
	}
	return f.About == "" || f.About == e.Name || e.About != nil && f.About == string(e.About.ID)
}

// AuditPage is a part of the audit log, the newest first.
type AuditPage struct {
	Items []httpapi.Audited `json:"items" doc:"The entries, the newest first."`
	// NextPage is where to go on; none: this is the last.
	NextPage string `json:"nextPage,omitempty" doc:"The token of the next page; none: this is the last."`
}

// mostLookedAt is how many entries one page is looked for in; a filter that takes few goes on by pages.
const mostLookedAt = 10_000

// Read lists entries from a page on. The time is looked up by the index of the store; the rest is
// looked for within it.
func (a *Audit) Read(ctx context.Context, f AuditFilter, page resource.ID, limit int) (AuditPage, error) {
	out := AuditPage{Items: []httpapi.Audited{}}
	j, err := store.JournalOf(a.db.Store())
	if err != nil {
		return out, err
	}
	var from, to resource.ID
	if !f.Since.IsZero() {
		from = store.JournalTime(f.Since)
	}
	if !f.Until.IsZero() {
		to = store.JournalTime(f.Until)
	}
	if page != "" {
		to = page
	}
	for looked := 0; looked < mostLookedAt; {
		some, err := j.Range(ctx, auditJournal, from, to, true, 500)
		if err != nil {
			return out, err
		}
		for _, entry := range some {
			to = entry.Key.ID
			var e httpapi.Audited
			if err := json.Unmarshal(entry.Value, &e); err != nil {
				return out, fault.New(fault.Internal, "read entry %s of the audit log: %w", entry.Key.ID, err)
			}
			if f.takes(&e) {
				out.Items = append(out.Items, e)
			}
			if len(out.Items) == limit {
				out.NextPage = string(to)
				return out, nil
			}
		}
		if looked += len(some); len(some) < 500 {
			return out, nil
		}
	}
	out.NextPage = string(to)
	return out, nil
}

package httpapi

import (
	"net"
	"net/http"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// Audited is one request that would change something: who, by what, from where, and what became of it.
type Audited struct {
	At      time.Time     `json:"at" doc:"When it was answered or committed."`
	User    string        `json:"user,omitempty" doc:"Who asked; none: nobody who is known."`
	Shown   string        `json:"shown,omitempty" doc:"By what they are known: a token by its name, a certificate, the unix socket."`
	From    string        `json:"from,omitempty" doc:"The address that the request came from; none: the unix socket."`
	Request resource.ID   `json:"request" doc:"The request, as it was answered in X-Request-Id."`
	Action  string        `json:"action" doc:"What was asked for: the id of the operation in the API's document, for example create-vm."`
	Method  string        `json:"method,omitempty" doc:"The method of HTTP."`
	Path    string        `json:"path,omitempty" doc:"The path of HTTP."`
	Project resource.ID   `json:"projectID,omitempty" doc:"The project that it was in, by its id; none: the cloud itself, or a project that was not there."`
	Called  string        `json:"project,omitempty" doc:"The name that the project had then."`
	About   *resource.Ref `json:"about,omitempty" doc:"The record that was changed."`
	Name    string        `json:"name,omitempty" doc:"The name of the record."`
	Outcome string        `json:"outcome" enum:"done,refused,failed" doc:"What became of it: done, refused for a reason of the caller's, failed for one of the cloud's."`
	Status  int           `json:"status,omitempty" doc:"The status of HTTP, of what was not done."`
	Why     string        `json:"why,omitempty" doc:"Why it was not done."`
}

// What became of a request.
const (
	Done    = "done"
	Refused = "refused"
	Failed  = "failed"
)

// Auditor keeps what was asked for.
type Auditor interface {
	// Keep puts an entry into the commit that it tells of.
	Keep(b *store.Batch, e *Audited)
	// Tell keeps, soon, an entry that no commit goes with. It does not wait.
	Tell(e Audited)
}

// Long texts come from whoever asks.
const longestText = 300

func short(text string) string {
	if len(text) > longestText {
		return text[:longestText] + "…"
	}
	return text
}

type trailKey struct{}

// trail is the entry of one request, on its way. Nil: the request is none that is kept.
type trail struct {
	api  *API
	said Audited
	kept bool  // by a commit, or told
	seen bool  // by its handler
	err  error // what it was answered with
}

// follow begins the entry of a request. What servers and hosts tell each other is not kept: it is no
// wish of a person's, and comes each second.
func (a *API) follow(op Op, w http.ResponseWriter, r *http.Request) *trail {
	reads := op.Method == http.MethodGet && !op.Acts
	if a.options.Audit == nil || reads || op.Right == AsHost || op.Right == AsServer {
		return nil
	}
	t := &trail{api: a, said: Audited{Request: resource.NewID(), Action: op.ID, Method: r.Method, Path: short(r.URL.Path), Called: short(r.PathValue("project")), Name: r.PathValue("name")}}
	t.said.From = addressOf(r)
	w.Header().Set("X-Request-Id", string(t.said.Request))
	return t
}

// addressOf is where a request came from; empty: the unix socket.
func addressOf(r *http.Request) string {
	from, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	return from
}

// by says who asks, and in which project. Of a request that another server passes on it is one entry, with the
// number that the caller has been told.
func (t *trail) by(c Caller, project resource.ID) {
	if t == nil {
		return
	}
	if v := c.vouched; v.Request != "" {
		t.said.From, t.said.Request = v.From, v.Request
	}
	t.said.User, t.said.Shown = short(c.User), c.Shown
	if p, _ := t.api.project(&Call{Project: project, Snapshot: t.api.DB.Snapshot()}); p != nil {
		t.said.Project, t.said.Called = p.ID, p.Name
	}
}

// note says which record the request is about.
func (t *trail) note(about *resource.Meta) {
	if t != nil {
		ref := about.Ref()
		t.said.About, t.said.Name = &ref, about.Name
	}
}

// keep puts the entry into the commit of the request, if that changes anything.
func (t *trail) keep(c *Call) bool {
	if t == nil || t.kept || c.Batch.Empty() {
		return false
	}
	e := t.said
	e.At, e.Outcome = c.Now(), Done
	t.api.options.Audit.Keep(c.Batch, &e)
	return true
}

// forget keeps nothing of a request that was only judged.
func (t *trail) forget() {
	if t != nil {
		t.kept = true
	}
}

func (t *trail) answered(err error) {
	if t != nil {
		t.seen, t.err = true, err
	}
}

// end tells of a request that no commit has told of.
func (t *trail) end() {
	if t == nil || t.kept {
		return
	}
	t.kept = true
	e := t.said
	e.At, e.Outcome = t.api.DB.Now().UTC(), Done
	if !t.seen {
		t.err = fault.New(fault.Invalid, "the request was not understood")
	}
	if t.err != nil {
		p := AsProblem(t.err)
		e.About = nil // perhaps it was never made
		e.Outcome, e.Status, e.Why = Refused, p.Status, short(p.Detail)
		if p.Status >= 500 {
			e.Outcome = Failed
		}
	}
	t.api.options.Audit.Tell(e)
}

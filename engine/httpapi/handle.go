package httpapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// Op describes a route.
type Op struct {
	ID      string // unique, in kebab case: "migrate-vm"; the generated clients name a function after it
	Method  string
	Path    string  // with {project} where the route belongs to a project
	Summary string  // one line for the reference
	Doc     string  // more of it
	Action  string  // what roles call it: "vm.migrate"; default: made of ID
	Right   Right   // what the caller needs, in the project of the path if there is one
	Tag     string  // the chapter of the reference; usually the plural of the kind
	Status  int     // of success; 200, or 204 for an answer without body
	Query   []Query // parameters of a raw route, after the question mark
	Acts    bool    // it changes something though it is a GET: a console
	Request any     // of a raw route: what its handler reads by Read; none: bytes, or nothing
	Answer  any     // of a raw route: what it answers in JSON; none: bytes, or nothing
	body    *huma.RequestBody
	params  []*huma.Param // of the path, where In does not name them
}

func (o Op) action() string {
	if o.Action != "" {
		return o.Action
	}
	return actionOf(o.ID)
}

// Query is a parameter of a raw route. Its handler reads it itself.
type Query struct {
	Name string
	Type string // as in JSON's schemas: string, boolean, integer
	Doc  string
}

// Call is one request on its way: who asks, one picture of all records to decide on, and the
// batch for what is to be written. A handler may be called again with a fresh Call when somebody
// else was faster; so it does nothing but read the Snapshot and fill the Batch.
type Call struct {
	Caller
	Project  resource.ID // of the path; empty if it has none
	DB       *store.DB
	Snapshot *store.Snapshot
	Batch    *store.Batch
	Force    bool           // of a deletion: the caller knows what is lost by it
	dry      bool           // judge, and do not commit
	said     map[string]any // what a request to change a record says, as it came
	api      *API
	request  *http.Request
	trail    *trail
}

// PathValue gives a word of the path.
func (c *Call) PathValue(name string) string { return c.request.PathValue(name) }

// Says reports whether a request to change a record names a field, by its path: Says("spec", "power"). What
// is asked for by name is wanted now, though the spec may say so already.
func (c *Call) Says(path ...string) bool {
	var v any = c.said
	for _, word := range path {
		m, _ := v.(map[string]any)
		next, there := m[word]
		if !there {
			return false
		}
		v = next
	}
	return true
}

// Now is the present time, of the batch.
func (c *Call) Now() time.Time { return c.DB.Now().UTC() }

// Note remembers what is being done, in the same commit.
func (c *Call) Note(verb string, about *resource.Meta) {
	c.trail.note(about)
	if c.api.options.Note != nil {
		c.api.options.Note(c, verb, about)
	}
}

// attempts is how often a commit is built anew before its caller is told of the race.
const attempts = 10

// commit runs build and commits what it wrote; it begins anew when somebody was faster. A build that
// holds the record to an If-Match refuses the next time.
// That something exists already is a race too: what build chose (an address) is chosen anew, and a
// name that is really taken is refused by build, in better words.
func (a *API) commit(ctx context.Context, c *Call, build func() error) error {
	for n := 1; ; n++ {
		c.Snapshot, c.Batch = a.DB.Snapshot(), a.DB.Begin()
		if err := build(); err != nil {
			return err
		}
		kept := c.trail.keep(c)
		if c.dry {
			c.trail.forget()
			return a.DB.Judge(c.Batch)
		}
		err := a.DB.Commit(ctx, c.Batch)
		if err == nil && kept {
			c.trail.kept = true
		}
		if raced := fault.Is(err, fault.Conflict) || fault.Is(err, fault.Exists); !raced || n == attempts {
			return err
		}
		// The loser's picture may be older than the winner's write: a linearizable empty commit tells how far to wait.
		if err := a.DB.CaughtUp(ctx); err != nil {
			return err
		}
	}
}

// Handle adds a route that is no record's. In and Out are structs with fields tagged path, query,
// header, and a field Body. The handler's Batch is committed after it returns without error.
func Handle[In, Out any](a *API, op Op, do func(context.Context, *Call, *In) (*Out, error)) {
	handle(a, op, func(ctx context.Context, c *Call, in *In) (*Out, error) {
		var out *Out
		err := a.commit(ctx, c, func() (err error) {
			out, err = do(ctx, c, in)
			return err
		})
		if err != nil {
			return nil, err
		}
		return out, nil
	})
}

// handle is Handle without the commit.
func handle[In, Out any](a *API, op Op, do func(context.Context, *Call, *In) (*Out, error)) {
	o := a.operation(op)
	o.SkipValidateBody = op.body != nil
	huma.Register(a.API, o, func(ctx context.Context, in *In) (*Out, error) {
		x, _ := ctx.Value(exchangeKey{}).(exchange)
		r := x.request
		c := &Call{Caller: CallerOf(ctx), Project: resource.ID(r.PathValue("project")), DB: a.DB, api: a, request: r, trail: x.trail}
		out, err := do(ctx, c, in)
		x.trail.answered(err)
		answering(x.writer)
		if err != nil {
			return nil, a.told(ctx, op, err)
		}
		return out, nil
	})
}

func (a *API) operation(op Op) huma.Operation {
	route := op.Method + " " + op.Path
	a.routes = append(a.routes, route)
	a.permit(op.action(), op.Right, route)
	return huma.Operation{
		OperationID: op.ID, Method: op.Method, Path: op.Path, Summary: op.Summary, Description: op.Doc,
		DefaultStatus: op.Status, Tags: []string{op.Tag}, RequestBody: op.body, Parameters: op.params,
		Security: security(op.Right), MaxBodyBytes: 2 * maxBody, BodyReadTimeout: -1,
		Extensions:  map[string]any{"x-right": string(op.Right), "x-action": op.action()},
		Metadata:    map[string]any{registryKey: a.OpenAPI().Components.Schemas},
		Middlewares: huma.Middlewares{a.guard(op)},
	}
}

func security(right Right) []map[string][]string {
	switch right {
	case Public:
		return []map[string][]string{{}}
	case AsHost, AsServer:
		return []map[string][]string{{"certificate": {}}}
	}
	return []map[string][]string{{"token": {}}}
}

type exchangeKey struct{}

// exchange is a request and where its answer goes.
type exchange struct {
	request *http.Request
	writer  http.ResponseWriter
	trail   *trail
}

// guard admits the caller and reads the body whole, within a limit of size; the server limits the time.
func (a *API) guard(op Op) func(huma.Context, func(huma.Context)) {
	forPrograms := op.Right == AsHost || op.Right == AsServer // our own, which say nothing twice
	return func(hctx huma.Context, next func(huma.Context)) {
		r, w := humago.Unwrap(hctx)
		trail := a.follow(op, w, r)
		caller, err := a.enter(r, op.action())
		trail.by(caller, resource.ID(r.PathValue("project")))
		if err == nil {
			err = negotiate(hctx.Operation(), r)
		}
		if err == nil && !forPrograms {
			err = asked(r.URL.Query(), hctx.Operation().Parameters)
		}
		if err == nil {
			err = readBody(w, r, forPrograms)
		}
		if err != nil {
			trail.answered(err)
			trail.end()
			writeProblem(w, r, err)
			return
		}
		defer trail.end()
		ctx := context.WithValue(r.Context(), callerKey{}, caller)
		next(huma.WithContext(hctx, context.WithValue(ctx, exchangeKey{}, exchange{r, w, trail})))
	}
}

func readBody(w http.ResponseWriter, r *http.Request, forPrograms bool) error {
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	if r.ContentLength > maxBody {
		return tooLarge()
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, big := errors.AsType[*http.MaxBytesError](err); big {
		return tooLarge()
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		p := refusal(http.StatusRequestTimeout, "the request did not come whole in time; send it faster")
		p.header = http.Header{"Connection": {"close"}}
		return p
	}
	if err != nil {
		return fault.New(fault.Invalid, "read the request: %w", err)
	}
	r.Body = io.NopCloser(bytes.NewReader(data))
	if forPrograms {
		return nil
	}
	return twice(data)
}

func tooLarge() error {
	return refusal(http.StatusRequestEntityTooLarge, "the request is larger than %d KiB; send less", maxBody>>10)
}

// told makes the answer of an error, and logs what is our own fault.
func (a *API) told(ctx context.Context, op Op, err error) error {
	p := AsProblem(err)
	if outside := fault.OutsideOf(err); outside != "" && !CallerOf(ctx).May(Admin, "") {
		p.Detail = outside
	}
	if p.Kind == fault.Internal && ctx.Err() == nil {
		slog.Error("a request failed by our own fault", "operation", op.ID, "error", err)
	}
	return p
}

// Raw adds a plain handler, with the same admission, for what is no JSON: an upload, a console.
// The handler finds who asks by CallerOf, and path values in the request. The context of the request
// ends when its sender may do this no more, with the reason as its cause.
func (a *API) Raw(op Op, h http.Handler) {
	o := a.operation(op)
	o.Responses = map[string]*huma.Response{
		"default": {Description: "Error", Content: map[string]*huma.MediaType{
			"application/problem+json": {Schema: a.problemSchema()}}},
	}
	if op.Status == 0 {
		op.Status = http.StatusOK
	}
	o.Responses[statusText(op.Status)] = &huma.Response{Description: op.Summary}
	o.Parameters = pathParameters(op.Path)
	for _, q := range op.Query {
		o.Parameters = append(o.Parameters, &huma.Param{Name: q.Name, In: "query", Description: q.Doc, Schema: &huma.Schema{Type: q.Type}})
	}
	if op.Request != nil {
		a.prepare(reflect.TypeOf(op.Request))
		o.RequestBody = documented(a.json(op.Request))
	}
	if op.Answer != nil {
		o.Responses[statusText(op.Status)].Content = map[string]*huma.MediaType{"application/json": {Schema: a.json(op.Answer)["application/json"]}}
	}
	a.OpenAPI().AddOperation(&o)
	a.Mux.HandleFunc(op.Method+" "+op.Path, func(w http.ResponseWriter, r *http.Request) {
		trail := a.follow(op, w, r)
		defer trail.end()
		caller, err := a.enter(r, op.action())
		trail.by(caller, resource.ID(r.PathValue("project")))
		if err == nil {
			err = asked(r.URL.Query(), o.Parameters)
		}
		if err != nil {
			trail.answered(err)
			writeProblem(w, r, err)
			return
		}
		trail.answered(nil)
		if r.Method == http.MethodGet {
			trail.end() // a console is kept when it begins, not when it ends
		}
		if body, ok := r.Body.(*timedBody); ok {
			body.each = reading
		}
		ctx, stop := While(r.Context(), a.options.Recheck, func() error { return a.stillAdmitted(r, op.action(), caller) })
		defer stop()
		ctx = context.WithValue(ctx, trailKey{}, trail)
		h.ServeHTTP(w, r.WithContext(context.WithValue(ctx, callerKey{}, caller)))
	})
}

func (a *API) json(of any) map[string]*huma.Schema {
	return map[string]*huma.Schema{"application/json": a.OpenAPI().Components.Schemas.Schema(reflect.TypeOf(of), true, "")}
}

// largestRequest is how much JSON a raw route reads, in bytes.
const largestRequest = 1 << 20

// Read reads the JSON of a request strictly, in a handler that was given to Raw with this Request.
func (a *API) Read(r *http.Request, into any) error {
	data, err := io.ReadAll(io.LimitReader(r.Body, largestRequest+1))
	switch {
	case err != nil:
		return fault.New(fault.Invalid, "read the request: %w", err)
	case len(data) > largestRequest:
		return fault.New(fault.Invalid, "the request has more than %d bytes", largestRequest)
	}
	if err := twice(data); err != nil {
		return err
	}
	return a.decode(data, into)
}

// Fail answers a request with a fault, in a handler that was given to Raw.
func Fail(w http.ResponseWriter, r *http.Request, err error) {
	if t, _ := r.Context().Value(trailKey{}).(*trail); t != nil {
		t.answered(err)
	}
	writeProblem(w, r, err)
}

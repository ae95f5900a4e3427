package httpapi

import (
	"context"
	"encoding/json"
	"reflect"
	"slices"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// Verb is one of the things that can be done to a record.
type Verb string

// The verbs that write.
const (
	Create Verb = "create"
	Update Verb = "update"
	Delete Verb = "delete"
)

// Routes say how a kind is offered. Everything is optional; the zero value is a kind that
// administrators and the people of a project may read.
type Routes[S, T any] struct {
	// Specs is the right to write the kind; without it the kind is read-only.
	Specs *store.SpecWriter[S, T]
	// Verbs are those that are offered; none named: all, when Specs is there.
	Verbs []Verb
	// Holders must let go of a new record before it can be deleted.
	Holders []string
	// Reading and Writing are the rights needed. Default: Read and Write in a project, Admin in the cloud.
	Reading, Writing Right
	// Visible narrows what a caller who may read sees.
	Visible func(Caller, *resource.Record[S, T]) bool
	// Lending says which records of other projects a project may read.
	Lending Lending[S, T]
	// Ready says whether the record is as specified; an error is a problem that waiting will not solve.
	// Default: the status speaks of the present spec and has no problems.
	Ready func(*resource.Record[S, T]) (bool, error)
	// Default fills what a request left out.
	Default func(*S)
	// Check lists what is wrong with a spec.
	Check func(*S) []fault.Detail
	// Creating is asked before a record is made, and may write more or refuse. It may change the new record:
	// its spec, and what is known of its status from the start.
	Creating func(ctx context.Context, c *Call, r *resource.Record[S, T]) error
	// Renaming is asked before a record gets another name, and may write more or refuse.
	Renaming func(c *Call, r *resource.Record[S, T], name string) error
	// Changing is asked before a spec is changed, and may write more or refuse. It may change the new spec.
	Changing func(ctx context.Context, c *Call, old *resource.Record[S, T], spec *S) error
	// Deleting is asked before a record is marked, and may write more or refuse.
	Deleting func(ctx context.Context, c *Call, r *resource.Record[S, T]) error
}

// Draft is the request for a new record. It has the shape in which records are read: what the cloud itself
// says in one (its id, its status, …) is accepted and left out.
type Draft[S any] struct {
	Name   string            `json:"name" doc:"Unique within the kind and the project: lower case letters, digits and dashes, at most 63."`
	Labels map[string]string `json:"labels,omitempty" doc:"Free words for people and selectors."`
	Spec   S                 `json:"spec" doc:"What is wanted."`
}

// Change is the request for a changed record, in the same shape.
type Change[S any] struct {
	Name   string            `json:"name,omitempty" doc:"Another name; unique within the kind and the project."`
	Labels map[string]string `json:"labels,omitempty" doc:"Free words for people and selectors."`
	Spec   S                 `json:"spec" doc:"What is wanted."`
}

// Page is a part of a list.
type Page[S, T any] struct {
	Items    []*resource.Record[S, T] `json:"items" doc:"The records, in the order of their making."`
	NextPage string                   `json:"nextPage,omitempty" doc:"The token of the next page; none: this is the last."`
	Total    int                      `json:"total" doc:"How many records the whole list has at this moment."`
	Revision int64                    `json:"revision" doc:"The revision of the store that the list is of; a watch goes on from it."`
}

// kind is a kind with its routes, as the handlers need it.
type kind[S, T any] struct {
	Routes[S, T]
	*resource.Type[S, T]
	api  *API
	noun string
}

// kindRoutes is what the watch needs to know of a kind.
type kindRoutes struct {
	resource.Descriptor
	reading string // the action
	visible func(Caller, resource.Object) bool
	meant   func(c *Call, name string) (resource.ID, error) // that a name in a request means; none: nobody
	verbs   []string
	model   string // the name of a record in the document
}

// Register offers a kind.
func Register[S, T any](a *API, t *resource.Type[S, T], o Routes[S, T]) {
	defaultRight := func(given, inProject Right) Right {
		switch {
		case given != "":
			return given
		case t.Scope == resource.InProject:
			return inProject
		}
		return Admin
	}
	o.Reading, o.Writing = defaultRight(o.Reading, Read), defaultRight(o.Writing, Write)
	if o.Ready == nil {
		o.Ready = observedReady[S, T]
	}
	k := &kind[S, T]{Routes: o, Type: t, api: a, noun: Noun(reflect.TypeFor[S]())}
	a.prepare(reflect.TypeFor[Draft[S]]())
	a.prepare(reflect.TypeFor[Change[S]]())
	a.kinds[t.Kind] = &kindRoutes{Descriptor: t.Descriptor, reading: k.action("read"), model: k.noun,
		visible: func(c Caller, x resource.Object) bool { return k.sees(c, x.(*resource.Record[S, T])) },
		meant:   k.meant,
	}
	k.registerList()
	k.registerGet()
	for _, verb := range []struct {
		Verb
		register func()
	}{{Create, k.registerCreate}, {Update, k.registerUpdate}, {Delete, k.registerDelete}} {
		if o.Specs != nil && (len(o.Verbs) == 0 || slices.Contains(o.Verbs, verb.Verb)) {
			verb.register()
		}
	}
}

func (k *kind[S, T]) path() string {
	if k.Scope == resource.InProject {
		return "/v1/projects/{project}/" + k.Plural
	}
	return "/v1/" + k.Plural
}

// action is what roles call a thing that is done to the kind.
func (k *kind[S, T]) action(verb Verb) string { return string(k.Kind) + "." + string(verb) }

func (k *kind[S, T]) onePath() string { return k.path() + "/{name}" }

func (k *kind[S, T]) sees(c Caller, r *resource.Record[S, T]) bool {
	return k.api.allows(c, k.action("read"), r.Ref()) && (k.Visible == nil || k.Visible(c, r))
}

// shown is a record as the caller may see it.
func (k *kind[S, T]) shown(c Caller, r *resource.Record[S, T]) *resource.Record[S, T] {
	return k.Seen(r, c.Sight(r.Project), k.api.projectName(r.Project))
}

// find gives the record that a path names, by name or id.
func (k *kind[S, T]) find(c *Call, name string) (*resource.Record[S, T], error) {
	if r := store.Named(c.Snapshot, k.Type, c.Project, name); r != nil && (k.Visible == nil || k.Visible(c.Caller, r)) {
		return r, nil
	}
	return nil, k.absent(c, name)
}

func (k *kind[S, T]) absent(c *Call, name string) error {
	if c.Project != "" {
		if _, err := k.api.project(c); err != nil {
			return err
		}
		return fault.New(fault.NotFound, "no %s %q in project %s", k.Kind, name, c.Snapshot.NameOf(c.Project))
	}
	return fault.New(fault.NotFound, "no %s %q", k.Kind, name)
}

// one is the answer with one record.
type one[S, T any] struct {
	Status   int
	ETag     string `header:"ETag" doc:"The revision of the record, for If-Match."`
	Location string `header:"Location" doc:"Where a new record is."`
	Body     *resource.Record[S, T]
}

func (k *kind[S, T]) answer(c *Call, status int, r *resource.Record[S, T]) *one[S, T] {
	return &one[S, T]{Status: status, ETag: etag(r.Revision), Body: k.shown(c.Caller, r)}
}

// documented makes the description of a request body that the route reads itself.
func documented(content map[string]*huma.Schema) *huma.RequestBody {
	b := &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{}}
	for media, schema := range content {
		b.Content[media] = &huma.MediaType{Schema: schema}
	}
	return b
}

type rawBody struct{ Body json.RawMessage }

// observedReady is Ready for a kind that has nothing better to say.
func observedReady[S, T any](r *resource.Record[S, T]) (bool, error) {
	observed := observedOf(&r.Status)
	return observed == nil || observed.SeenGeneration >= r.Generation && len(observed.Problems) == 0, nil
}

func observedOf(status any) *resource.Observed {
	v := reflect.ValueOf(status).Elem()
	if v.Kind() != reflect.Struct {
		return nil
	}
	f := v.FieldByName("Observed")
	if !f.IsValid() {
		return nil
	}
	o, _ := f.Addr().Interface().(*resource.Observed)
	return o
}

func statusText(status int) string { return strconv.Itoa(status) }

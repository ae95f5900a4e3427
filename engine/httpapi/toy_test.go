package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
)

type BoatSpec struct {
	// Sails is their number.
	Sails int64 `json:"sails" minimum:"0"`
	// Rig is how they are set.
	Rig string `json:"rig" enum:"sloop,ketch"`
	// Crew are names.
	Crew  []string   `json:"crew"`
	Masts []BoatMast `json:"masts,omitempty"`
	Note  string     `json:"note,omitempty"`
	// HarbourID and VisitedIDs are where it lies, and where it was.
	HarbourID  resource.ID   `json:"harbourID,omitempty" ref:"harbour"`
	VisitedIDs []resource.ID `json:"visitedIDs,omitempty" ref:"harbour"`
	// Chart is for the crew, Keel for the yard.
	Chart string `json:"chart,omitempty"`
	Keel  int64  `json:"keel,omitempty"`
}

type BoatMast struct {
	HeightMM int64 `json:"heightMM"`
}

type BoatStatus struct {
	resource.Observed
	Afloat string `json:"afloat,omitempty"`
}

type Boat = resource.Record[BoatSpec, BoatStatus]

var boats = resource.Define("boat", "boats", resource.Options[BoatSpec, BoatStatus]{
	Doc: "A toy.", Scope: resource.InProject,
	Guards: map[string]resource.Sight{"spec.note": resource.Reader, "spec.chart": resource.Writer, "spec.keel": resource.Operator, "spec.masts.heightMM": resource.Operator},
	Counts: map[string]func(*Boat) int64{"sails": func(b *Boat) int64 { return b.Spec.Sails }},
})

type HarbourSpec struct {
	Secret string `json:"secret,omitempty"`
}
type HarbourStatus struct{ resource.Observed }
type Harbour = resource.Record[HarbourSpec, HarbourStatus]

var harbours = resource.Define("harbour", "harbours", resource.Options[HarbourSpec, HarbourStatus]{Doc: "Another.", Scope: resource.InCloud,
	Guards: map[string]resource.Sight{"spec.secret": resource.Nobody}})

// fleets are the projects of the toy. They have no routes.
var fleets = resource.Define("fleet", "fleets", resource.Options[struct{}, struct{}]{Scope: resource.InCloud, Tenant: true})

// people are the tokens of the toy.
var people = map[string]Caller{
	"root":   {User: "root", Right: Admin},
	"member": {User: "member", Right: Write, Project: "a"},
	"viewer": {User: "viewer", Right: Read, Project: "a"},
	"host":   {User: "host/1", Host: "1"},
}

type toy struct {
	*API
	t        *testing.T
	server   *httptest.Server
	statuses *store.StatusWriter[BoatSpec, BoatStatus]
	projects *store.SpecWriter[struct{}, struct{}]
}

func newToy(t *testing.T, change ...func(*Options, *Routes[BoatSpec, BoatStatus])) *toy {
	t.Helper()
	catalog := resource.NewCatalog(boats, harbours, fleets)
	db := store.NewDB(memory.New(), catalog)
	o := Options{Version: "test", Beat: 50 * time.Millisecond, Patience: 200 * time.Millisecond,
		Authenticate: func(r *http.Request) (Caller, error) {
			c, ok := people[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
			if !ok {
				return c, fault.New(fault.Unauthenticated, "no such token")
			}
			return c, nil
		},
	}
	registry := store.NewRegistry()
	routes := Routes[BoatSpec, BoatStatus]{Specs: store.Specs(registry, boats, "api"),
		Default: func(s *BoatSpec) {
			if s.Rig == "" {
				s.Rig = "sloop"
			}
		},
		Check: func(s *BoatSpec) (out []fault.Detail) {
			if s.Sails > 9 {
				out = append(out, fault.Detail{Field: "sails", Message: "at most 9"})
			}
			return out
		}}
	for _, fn := range change {
		fn(&o, &routes)
	}
	api := New(db, o)
	Register(api, boats, routes)
	Register(api, harbours, Routes[HarbourSpec, HarbourStatus]{Specs: store.Specs(registry, harbours, "api")})
	Action(api, boats, Act{Name: "sail", Summary: "Sail"}, func(_ context.Context, c *Call, b *Boat, in *struct {
		To string `json:"to"`
	}) (*Boat, error) {
		routes.Specs.Set(c.Batch, b, func(s *BoatSpec) { s.Note = "to " + in.To })
		return b, nil
	})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = db.Run(ctx) }()
	projects := store.Specs(registry, fleets, "toy")
	b := db.Begin()
	for _, name := range []string{"a", "b"} {
		projects.Create(b, &resource.Record[struct{}, struct{}]{Meta: resource.Meta{ID: resource.ID(name), Name: name}})
	}
	if err := db.Commit(ctx, b); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(nil)
	server.Config = NewServer(api)
	server.StartTLS()
	t.Cleanup(func() { server.CloseClientConnections(); server.Close(); stop(); <-done })
	return &toy{API: api, t: t, server: server, statuses: store.Statuses(registry, boats, "toy"), projects: projects}
}

type reply struct {
	*http.Response
	body []byte
}

func (r reply) into(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal(r.body, v); err != nil {
		t.Fatalf("%s: %v", r.body, err)
	}
}

func (r reply) problem(t *testing.T) Problem {
	t.Helper()
	var p Problem
	r.into(t, &p)
	if got := r.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Fatalf("content type %q", got)
	}
	if p.Status != r.StatusCode || p.Type != "urn:virga:fault:"+string(p.Kind) {
		t.Fatalf("problem %+v with status %d", p, r.StatusCode)
	}
	return p
}

func (y *toy) do(who, method, path, body string, headers ...string) reply {
	y.t.Helper()
	req, err := http.NewRequest(method, y.server.URL+path, bytes.NewReader([]byte(body)))
	if err != nil {
		y.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+who)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := y.server.Client().Do(req)
	if err != nil {
		y.t.Error(err)
		return reply{Response: &http.Response{}}
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		y.t.Error(err)
	}
	return reply{resp, data}
}

func (y *toy) want(status int, r reply) reply {
	y.t.Helper()
	if r.StatusCode != status {
		y.t.Fatalf("status %d, want %d: %s", r.StatusCode, status, r.body)
	}
	return r
}

func (y *toy) boat(who, project, name string) *Boat {
	y.t.Helper()
	var b Boat
	y.want(201, y.do(who, "POST", "/v1/projects/"+project+"/boats", `{"name":"`+name+`","spec":{"sails":2}}`)).into(y.t, &b)
	return &b
}

package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
	"github.com/virga-cloud/virga/wiring"
)

// told is an audit log that only counts.
type told struct {
	sync.Mutex
	paths []string
}

func (a *told) Keep(*store.Batch, *httpapi.Audited) {}

func (a *told) Tell(e httpapi.Audited) {
	a.Lock()
	defer a.Unlock()
	a.paths = append(a.paths, e.Method+" "+e.Path)
}

// Every route of the product that would change something leaves one entry, whatever becomes of the request.
func TestEveryRouteThatChangesSomethingIsAudited(t *testing.T) {
	s := &server{c: &config{state: t.TempDir(), run: t.TempDir()}}
	s.db = store.NewDB(memory.New(), wiring.Catalog())
	s.led = s.db
	if err := s.wire(store.NewRegistry()); err != nil {
		t.Fatal(err)
	}
	log := &told{}
	api := httpapi.New(s.db, httpapi.Options{Audit: log, Authenticate: func(*http.Request) (httpapi.Caller, error) {
		return httpapi.Caller{User: "nobody"}, nil
	}})
	s.cloud.Routes(api)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	acts := []string{"/v1/projects/{project}/vms/{name}/console", "/v1/projects/{project}/vms/{name}/vnc"}
	tried := 0
	for _, route := range api.Routes() {
		method, path, _ := strings.Cut(route, " ")
		if method == http.MethodGet && !slices.Contains(acts, path) || strings.HasPrefix(path, "/v1/agent/") || strings.HasPrefix(path, "/v1/server/") {
			continue
		}
		tried++
		before := len(log.paths)
		path = strings.NewReplacer("{project}", "p", "{name}", "n", "{digest}", "d", "{id}", "i").Replace(path)
		api.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, method, path, strings.NewReader("{")))
		if len(log.paths) != before+1 {
			t.Errorf("%s left %d entries", route, len(log.paths)-before)
		}
	}
	if tried < 50 {
		t.Errorf("only %d routes were tried", tried)
	}
}

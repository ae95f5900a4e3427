package host

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
)

// A record of a tenant that lies on a host, as compute has them.
type lodgerSpec struct{ HostID resource.ID }
type lodgerStatus struct{ resource.Observed }

var lodgers = resource.Define("instance", "instances", resource.Options[lodgerSpec, lodgerStatus]{Scope: resource.InProject,
	Refs: func(r *resource.Record[lodgerSpec, lodgerStatus]) []resource.Ref {
		return []resource.Ref{Ref(r.Spec.HostID)}
	}})

func serve(t *testing.T, caller httpapi.Caller) (*world, func(method, path, body string) *httptest.ResponseRecorder) {
	t.Helper()
	w := newWorldWith(t, resource.NewCatalog(Hosts, Livenesses, Removals, lodgers), memory.New())
	a := httpapi.New(w.db, httpapi.Options{Authenticate: func(*http.Request) (httpapi.Caller, error) { return caller, nil }})
	Register(a, &Remover{Hosts: w.specs, Removals: w.removals, Home: func() resource.ID { return "home" }}, events{w})
	RegisterHeartbeat(a, &Relay{Listener: w.life.Listener})
	return w, func(method, path, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		answer := httptest.NewRecorder()
		a.ServeHTTP(answer, r)
		return answer
	}
}

// events keeps the last that people are told.
type events struct{ *world }

func (e events) Record(_ *store.Batch, about resource.Ref, name, severity, reason, message, by string, _ ...string) {
	e.told = append(e.told, fmt.Sprint(about.Kind, " ", name, " ", severity, " ", reason, ": ", message, " (", by, ")"))
}

var admin = httpapi.Caller{User: "root", Right: httpapi.Admin}

func TestAHostIsListedChangedAndChecked(t *testing.T) {
	w, call := serve(t, admin)
	if got := call("GET", "/v1/hosts/one", ""); got.Code != 200 || !strings.Contains(got.Body.String(), `"mode":"active"`) {
		t.Errorf("show: %d %s", got.Code, got.Body)
	}
	if got := call("PUT", "/v1/hosts/one", `{"spec":{"mode":"maintenance","zone":"a"}}`); got.Code != 200 {
		t.Errorf("update: %d %s", got.Code, got.Body)
	}
	if want := "host one info maintenance: root made it maintenance (root)"; !slices.Equal(w.told, []string{want}) {
		t.Errorf("told %q, want %q", w.told, want)
	}
	if h := Find(w.db.Snapshot(), "h"); h.Spec.Mode != Maintenance || h.Spec.Zone != "a" || h.Spec.MemoryOvercommitPercent != 0 {
		t.Errorf("got %+v", h.Spec)
	}
	if got := call("PUT", "/v1/hosts/one", `{"spec":{"zone":"Not A Zone"}}`); got.Code != 422 || !strings.Contains(got.Body.String(), "spec.zone") {
		t.Errorf("a bad zone: %d %s", got.Code, got.Body)
	}
}

func TestAHostThatIsUsedIsNotRemoved(t *testing.T) {
	w, call := serve(t, admin)
	writer := store.Specs(store.NewRegistry(), lodgers, "test")
	b := w.db.Begin()
	tenant := &resource.Record[lodgerSpec, lodgerStatus]{Meta: resource.Meta{Name: "web-1", Project: "blue"}, Spec: lodgerSpec{HostID: "h"}}
	writer.Create(b, tenant)
	w.commit(b)
	if got := call("DELETE", "/v1/hosts/one", ""); got.Code != 409 || !strings.Contains(got.Body.String(), "web-1 of project blue") {
		t.Errorf("used: %d %s", got.Code, got.Body)
	}
	b = w.db.Begin()
	writer.Delete(b, store.Find(w.db.Snapshot(), lodgers, tenant.ID))
	w.commit(b)
	if got := call("DELETE", "/v1/hosts/one", ""); got.Code >= 300 {
		t.Errorf("unused: %d %s", got.Code, got.Body)
	}
	w.finishRemoval()
	if Find(w.db.Snapshot(), "h") != nil {
		t.Error("it is still there")
	}
}

func TestAHostThatIsAliveIsRemovedByForceOnly(t *testing.T) {
	w, call := serve(t, admin)
	for state := Unknown; state != Alive; state = w.pass(time.Second, true) {
	}
	got := call("DELETE", "/v1/hosts/one", "")
	if text := got.Body.String(); got.Code != 409 || !strings.Contains(text, "it is alive") || !strings.Contains(text, "virga host delete one --force") {
		t.Errorf("without force: %d %s", got.Code, text)
	}
	if Find(w.db.Snapshot(), "h").Deleting != nil || RemovalOf(w.db.Snapshot(), "h") != nil {
		t.Error("what was refused is begun")
	}
	if got := call("DELETE", "/v1/hosts/one?force=true", ""); got.Code >= 300 {
		t.Errorf("by force: %d %s", got.Code, got.Body)
	}
	if RemovalOf(w.db.Snapshot(), "h") == nil {
		t.Error("it is not removed")
	}
}

func TestOnlyAHostSaysThatItLives(t *testing.T) {
	if _, call := serve(t, admin); call("POST", "/v1/agent/heartbeat", "").Code != 403 {
		t.Error("an administrator's heartbeat is taken as a host's")
	}
	w, call := serve(t, httpapi.Caller{Host: "h"})
	if got := call("POST", "/v1/agent/heartbeat", ""); got.Code != 204 {
		t.Fatalf("got %d %s", got.Code, got.Body)
	}
	if state, _ := w.life.Listener.State("h", w.now); state != Alive {
		t.Errorf("a host that sent a heartbeat is %s", state)
	}
	if _, call := serve(t, httpapi.Caller{Host: "stranger"}); call("POST", "/v1/agent/heartbeat", "").Code != 404 {
		t.Error("a host that is not of the cloud may send heartbeats")
	}
}

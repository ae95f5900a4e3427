package host

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
	"github.com/virga-cloud/virga/engine/task"
)

// finishRemoval makes one step of the removal loop, and looks once more: nothing may change.
func (w *world) finishRemoval() {
	w.Helper()
	loop := w.removal.Loop()
	for range 2 {
		if _, err := loop.Step(w.Context(), "h"); err != nil {
			w.Fatal(err)
		}
	}
	before := w.db.Revision()
	if _, err := loop.Step(w.Context(), "h"); err != nil || w.db.Revision() != before {
		w.Errorf("a second look wrote, or failed: %v", err)
	}
}

// silent lets a host send a heartbeat, and then none any more.
func (w *world) silent() {
	w.step()
	w.pass(3*time.Second, true)
	w.pass(15*time.Second, false)
}

func TestAHostIsDeclaredDeadOnlyWhenItIsSilentAndSomebodyVouches(t *testing.T) {
	w, call := serve(t, admin)
	const path = "/v1/hosts/one/declare-dead"
	w.step()
	if got := call("POST", path, `{"switchedOff":true}`); got.Code != 503 || !strings.Contains(got.Body.String(), "not listened long enough") {
		t.Errorf("no heartbeat yet: %d %s", got.Code, got.Body)
	}
	w.pass(3*time.Second, true)
	if got := call("POST", path, `{"switchedOff":true}`); got.Code != 409 || !strings.Contains(got.Body.String(), "its heartbeat came") {
		t.Errorf("alive: %d %s", got.Code, got.Body)
	}
	w.pass(15*time.Second, false)
	for _, body := range []string{"", "{}", `{"switchedOff":false}`} {
		if got := call("POST", path, body); got.Code != 409 || !strings.Contains(got.Body.String(), "vouch by --switched-off") {
			t.Errorf("nobody vouches: %d %s", got.Code, got.Body)
		}
	}
	if Removed(w.db.Snapshot(), "h") {
		t.Fatal("a refused request has removed it")
	}
	if got := call("POST", path, `{"switchedOff":true}`); got.Code != 202 {
		t.Fatalf("dead: %d %s", got.Code, got.Body)
	}
	s := w.db.Snapshot()
	if h := Find(s, "h"); h == nil || h.Deleting == nil || !h.HeldBy(removalHolder) {
		t.Errorf("the host is %+v", h)
	}
	if StateOf(s, "h") != Lost || !fault.Is(Refused(s, "h"), fault.TooLate) {
		t.Errorf("it is %s and refused by %v", StateOf(s, "h"), Refused(s, "h"))
	}
	w.step() // its life goes
	w.finishRemoval()
	s = w.db.Snapshot()
	if Find(s, "h") != nil || RemovalOf(s, "h") == nil || NameOf(s, "h") != "one" || StateOf(s, "h") != Lost {
		t.Error("the host is not gone, or forgotten")
	}
	if got := call("POST", "/v1/agent/heartbeat", ""); got.Code != 403 {
		t.Errorf("an administrator's heartbeat: %d", got.Code)
	}
	if got := call("GET", "/v1/removals/h", ""); got.Code != 200 || !strings.Contains(got.Body.String(), `"cause":"dead"`) {
		t.Errorf("the removal: %d %s", got.Code, got.Body)
	}
}

func TestTheHostOfTheServerIsNotRemoved(t *testing.T) {
	w := newWorldWith(t, resource.NewCatalog(Hosts, Livenesses, Removals), memory.New())
	m := &Remover{Hosts: w.specs, Removals: w.removals, Home: func() resource.ID { return "h" }}
	b := w.db.Begin()
	if err := m.Unused(b, w.db.Snapshot(), Find(w.db.Snapshot(), "h"), "root"); !fault.Is(err, fault.Precondition) {
		t.Errorf("got %v", err)
	}
}

func TestWorkThatHasEndedKeepsNoHost(t *testing.T) {
	w := newWorldWith(t, resource.NewCatalog(Hosts, Livenesses, Removals, task.Tasks), memory.New())
	r := store.NewRegistry()
	specs, statuses := store.Specs(r, task.Tasks, "test"), store.Statuses(r, task.Tasks, "test")
	m := &Remover{Hosts: w.specs, Removals: w.removals}
	job := &task.Task{Meta: resource.Meta{ID: resource.NewID(), Name: "convert", Project: "p"}, Spec: task.Spec{HostID: "h"}}
	b := w.db.Begin()
	specs.Create(b, job)
	w.commit(b)
	unused := func() error { return m.Unused(w.db.Begin(), w.db.Snapshot(), Find(w.db.Snapshot(), "h"), "root") }
	if err := unused(); !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "task convert") {
		t.Errorf("it works there still: %v", err)
	}
	b = w.db.Begin()
	statuses.Set(b, store.Find(w.db.Snapshot(), task.Tasks, job.ID), func(s *task.Status) { s.Phase = task.Succeeded })
	w.commit(b)
	if err := unused(); err != nil {
		t.Errorf("it has ended: %v", err)
	}
}

func TestARemovedHostIsToldSoByItsHeartbeat(t *testing.T) {
	w, call := serve(t, httpapi.Caller{Host: "h"})
	w.silent()
	m := &Remover{Hosts: w.specs, Removals: w.removals}
	b := w.db.Begin()
	if err := m.Dead(b, w.db.Snapshot(), Find(w.db.Snapshot(), "h"), &DeadRequest{SwitchedOff: true}, "root"); err != nil {
		t.Fatal(err)
	}
	w.commit(b)
	got := call("POST", "/v1/agent/heartbeat", "")
	if got.Code != 410 || !strings.Contains(got.Body.String(), "declared dead") || !strings.Contains(got.Body.String(), "virga join") {
		t.Errorf("got %d %s", got.Code, got.Body)
	}
}

// TestARemovedHostGoesWhenNothingOfItsAgentIsLeft: the loop lets go of what others give up, and of
// nothing else; what agents make themselves goes at once.
func TestARemovedHostGoesWhenNothingOfItsAgentIsLeft(t *testing.T) {
	made := resource.Define("device", "devices", resource.Options[lodgerSpec, lodgerStatus]{Scope: resource.InCloud,
		Refs: func(r *resource.Record[lodgerSpec, lodgerStatus]) []resource.Ref {
			return []resource.Ref{Ref(r.Spec.HostID)}
		}})
	w := newWorldWith(t, resource.NewCatalog(Hosts, Livenesses, Removals, lodgers, made), memory.New())
	w.removal.Held = []Held{HeldOf(lodgers), MadeBy(made)}
	w.silent()
	registry := store.NewRegistry()
	instances, devices := store.Specs(registry, lodgers, "test"), store.Specs(registry, made, "test")
	b := w.db.Begin()
	for _, name := range []string{"kept", "given-up"} {
		r := &resource.Record[lodgerSpec, lodgerStatus]{Meta: resource.Meta{Name: name, Project: "blue", ID: resource.ID(name)}, Spec: lodgerSpec{HostID: "h"}}
		instances.Create(b, r, agentHolder)
	}
	devices.Create(b, &resource.Record[lodgerSpec, lodgerStatus]{Meta: resource.Meta{Name: "disk"}, Spec: lodgerSpec{HostID: "h"}})
	if err := (&Remover{Hosts: w.specs, Removals: w.removals}).Dead(b, w.db.Snapshot(), Find(w.db.Snapshot(), "h"), &DeadRequest{SwitchedOff: true}, "root"); err != nil {
		t.Fatal(err)
	}
	w.commit(b)
	b = w.db.Begin()
	instances.Delete(b, store.Find(w.db.Snapshot(), lodgers, "given-up"))
	w.commit(b)
	w.step()
	w.finishRemoval()
	s := w.db.Snapshot()
	if store.Find(s, lodgers, "given-up") != nil || len(store.Every(s, made)) != 0 || store.Find(s, lodgers, "kept") == nil {
		t.Errorf("left are %v", store.Every(s, lodgers))
	}
	if p := RemovalOf(s, "h").Status.Problems; Find(s, "h") == nil || len(p) != 1 || !strings.Contains(p[0].Message, "instance kept") {
		t.Errorf("the host went before its instance, or does not say for what it waits: %v", p)
	}
	b = w.db.Begin()
	instances.Delete(b, store.Find(s, lodgers, "kept"))
	w.commit(b)
	w.finishRemoval()
	if s := w.db.Snapshot(); Find(s, "h") != nil || len(RemovalOf(s, "h").Status.Problems) != 0 {
		t.Error("the host is still there, or says that it waits")
	}
	if !slices.Contains(w.told, "lost") {
		t.Errorf("told %v", w.told)
	}
}

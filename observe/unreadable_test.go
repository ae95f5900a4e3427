package observe_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/observe"
)

// By the status, by the list and by explain, also when only its name is known.
func TestDamagedRecordIsNamedWithWhatToDo(t *testing.T) {
	c := newCloud(t)
	c.waiting("1", "sha256:aaaa")
	m := c.db.Store().(*memory.Store)
	vm := resource.Ref{Kind: "vm", Project: "blue", ID: "vm1"}
	if err := m.Damage(t.Context(), vm); err != nil {
		t.Fatal(err)
	}
	db := store.NewDB(m, c.db.Catalog()) // after a restart: a view that has read it does not read it again
	db.Now = c.db.Now
	if err := db.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	caller := httpapi.Caller{User: "root", Right: httpapi.Admin}
	a := httpapi.New(db, httpapi.Options{Authenticate: func(*http.Request) (httpapi.Caller, error) { return caller, nil }})
	observe.Server(db, observe.NewRight(store.NewRegistry()), nil, nil).Routes(a)
	httpapi.Register(a, compute.VMs, httpapi.Routes[compute.VMSpec, compute.VMStatus]{})
	httpapi.Register(a, host.Hosts, httpapi.Routes[host.Spec, host.Status]{})
	ask := func(path string, want int) string {
		t.Helper()
		w := httptest.NewRecorder()
		a.ServeHTTP(w, httptest.NewRequestWithContext(context.Background(), "GET", path, nil))
		if w.Code != want {
			t.Errorf("%s gives %d: %s", path, w.Code, w.Body)
		}
		return w.Body.String()
	}
	var list struct{ Items []observe.UnreadableRecord }
	if err := json.Unmarshal([]byte(ask("/v1/unreadable-records", 200)), &list); err != nil || len(list.Items) != 1 {
		t.Fatalf("listed are %v, %v", list, err)
	}
	if x := list.Items[0]; x.About != vm || x.Name != "vm1" || !strings.Contains(x.Why, "damaged") || !strings.Contains(x.Remedy, "virga restore FILE") || !strings.Contains(x.Remedy, "--delete vm/vm1") {
		t.Errorf("listed is %+v", x)
	}
	if got := ask("/v1/status", 200); !strings.Contains(got, `"unreadableRecords":1`) {
		t.Errorf("status %s", got)
	}
	if got := ask("/v1/explain/vm/vm1?project=blue", 200); !strings.Contains(got, "cannot be read: it is damaged") || !strings.Contains(got, "--delete vm/vm1") {
		t.Errorf("explained is %s", got)
	}
	ask("/v1/explain/vm/vm2?project=blue", 404)
	caller = httpapi.Caller{User: "eve", Right: httpapi.Read, Project: "blue"}
	if got := ask("/v1/explain/vm/vm1?project=blue", 200); !strings.Contains(got, "cannot be read") || strings.Contains(got, "virga restore") {
		t.Errorf("a tenant is told %s", got)
	}
	ask("/v1/unreadable-records", 403)
}

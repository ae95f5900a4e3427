package client

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// server is a connection to one that remembers what it was asked.
func server(t *testing.T, answers map[string]string) (*Connection, func() []string) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "api.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan string, 100)
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body any
		_ = json.NewDecoder(r.Body).Decode(&body)
		text, _ := json.Marshal(body)
		asked <- fmt.Sprintf("%s %s %s%s", r.Method, r.URL.RequestURI(), r.Header.Get("If-Match"), text)
		fmt.Fprint(w, answers[r.Method+" "+r.URL.Path+r.URL.Query().Get("page")])
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close(); <-done })
	c, err := Connect(Options{Socket: socket})
	if err != nil {
		t.Fatal(err)
	}
	return c, func() (out []string) {
		for {
			select {
			case a := <-asked:
				out = append(out, a)
			default:
				return out
			}
		}
	}
}

func TestVerbsAskTheRoutesOfTheirKind(t *testing.T) {
	c, asked := server(t, map[string]string{
		"GET /v1/projects/a/vms":            `{"items":[{"name":"one"}],"nextPage":"2"}`,
		"GET /v1/projects/a/vms2":           `{"items":[{"name":"two"}]}`,
		"GET /v1/projects/a/vms/one":        `{"name":"one","spec":{"cpus":3}}`,
		"POST /v1/projects/a/vms":           `{"name":"new"}`,
		"PATCH /v1/projects/a/vms/one":      `{"name":"one"}`,
		"POST /v1/projects/a/vms/one/start": `{"name":"one"}`,
	})
	ctx := t.Context()
	all, err := VMs.List(ctx, c, "a", ListOptions{Labels: []string{"x=y"}})
	if err != nil || len(all) != 2 || all[1].Name != "two" {
		t.Errorf("%v %v", all, err)
	}
	if vm, err := VMs.Get(ctx, c, "a", "one"); err != nil || vm.Spec.CPUs != 3 {
		t.Errorf("%v %v", vm, err)
	}
	if _, err := VMs.Wait(ctx, c, "a", "one", time.Second); err != nil {
		t.Error(err)
	}
	if vm, err := VMs.Create(ctx, c, "a", Draft[NetworkSpec]{Name: "new", Spec: NetworkSpec{Domain: "tiny"}}); err != nil || vm.Name != "new" {
		t.Errorf("%v %v", vm, err)
	}
	if _, err := VMs.Update(ctx, c, "a", "one", map[string]any{"spec": 1}, 9); err != nil {
		t.Error(err)
	}
	var started VM
	if err := VMs.Action(ctx, c, "a", "one", "start", nil, &started); err != nil || started.Name != "one" {
		t.Errorf("%v %v", started, err)
	}
	limit := time.Minute
	if err := Hosts.Delete(ctx, c, "a", "h1", &limit); err != nil {
		t.Error(err)
	}
	want := []string{
		"GET /v1/projects/a/vms?label=x%3Dy&limit=1000 null", "GET /v1/projects/a/vms?label=x%3Dy&limit=1000&page=2 null",
		"GET /v1/projects/a/vms/one null", "GET /v1/projects/a/vms/one?timeout=1s&wait=ready null",
		`POST /v1/projects/a/vms {"name":"new","spec":{"domain":"tiny","mtu":0,"outside":""}}`, `PATCH /v1/projects/a/vms/one "9"{"spec":1}`,
		"POST /v1/projects/a/vms/one/start {}", "DELETE /v1/hosts/h1?timeout=1m0s&wait=gone null",
	}
	if got := asked(); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("asked\n%s\nwanted\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A script whose variable is not set must not act on, or show, the whole list.
func TestEmptyNameIsRefusedBeforeAnythingIsAsked(t *testing.T) {
	c, asked := server(t, nil)
	for _, name := range []string{"", " ", "\t"} {
		if _, err := VMs.Get(t.Context(), c, "a", name); !IsKind(err, "invalid") {
			t.Errorf("get %q: %v", name, err)
		}
		if err := VMs.Delete(t.Context(), c, "a", name, nil); !IsKind(err, "invalid") {
			t.Errorf("delete %q: %v", name, err)
		}
		if err := VMs.Action(t.Context(), c, "a", name, "start", nil, nil); !IsKind(err, "invalid") {
			t.Errorf("start %q: %v", name, err)
		}
	}
	if got := asked(); len(got) > 0 {
		t.Errorf("asked %v", got)
	}
}

func TestWatchOfAKindTellsItsRecords(t *testing.T) {
	for name, c := range connections(t) {
		var heard []string
		err := VMs.Watch(t.Context(), c, "", func(n Change[VM]) error {
			heard = append(heard, fmt.Sprint(n.Revision, n.Gone, n.Synced))
			return nil
		})
		if got := fmt.Sprint(heard); got != "[3 false false 5 false true 6 true false]" || !IsKind(err, "too-late") {
			t.Errorf("%s: %s %v", name, got, err)
		}
	}
}

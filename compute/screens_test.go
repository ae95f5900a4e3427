package compute

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/virga-cloud/virga/compute/stream"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
	"github.com/virga-cloud/virga/host"
)

// hall is a server with VMs, and the agents of its hosts.
type hall struct {
	*testing.T
	db     *store.DB
	status *store.StatusWriter[VMSpec, VMStatus]
	agents map[resource.ID]http.HandlerFunc
}

func newHall(t *testing.T) *hall {
	h := &hall{T: t, agents: map[resource.ID]http.HandlerFunc{}}
	h.db = store.NewDB(memory.New(), resource.NewCatalog(VMs, Instances, host.Hosts, host.Removals))
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = h.db.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	l := store.NewRegistry()
	vms, hosts := store.Specs(l, VMs, "test"), store.Specs(l, host.Hosts, "test")
	h.status = store.Statuses(l, VMs, "test")
	h.commit(func(b *store.Batch) {
		for _, name := range []string{"h1", "h2"} {
			hosts.Create(b, &host.Host{Meta: resource.Meta{ID: resource.ID(name + "-id"), Name: name}})
		}
		for _, name := range []string{"web", "new"} {
			vms.Create(b, &VM{Meta: resource.Meta{ID: resource.ID(name + "-id"), Name: name, Project: "p"}})
		}
	})
	h.on("h1-id", "i1")
	return h
}

func (h *hall) commit(change func(*store.Batch)) {
	h.Helper()
	b := h.db.Begin()
	change(b)
	if err := h.db.Commit(h.Context(), b); err != nil {
		h.Fatal(err)
	}
}

// on is where the host "web" is.
func (h *hall) on(hostID, instanceID resource.ID) {
	h.commit(func(b *store.Batch) {
		h.status.Set(b, store.Find(h.db.Snapshot(), VMs, "web-id"), func(s *VMStatus) { s.HostID, s.InstanceID = hostID, instanceID })
	})
}

// agent answers for a host, with the words of what it is asked.
func (h *hall) agent(hostID resource.ID, answer func(w http.ResponseWriter, asked string)) {
	h.agents[hostID] = func(w http.ResponseWriter, r *http.Request) { answer(w, r.URL.RequestURI()) }
}

func (h *hall) dial(_ context.Context, hostID resource.ID) (net.Conn, error) {
	agent := h.agents[hostID]
	if agent == nil {
		return nil, errors.New("no route to host")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	server := &http.Server{Handler: agent}
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(l) })
	h.Cleanup(func() { server.Close(); wg.Wait() })
	return net.Dial("tcp", l.Addr().String())
}

// log asks for a log over HTTP.
func (h *hall) log(vm, query string) (int, string, error) {
	h.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{project}/{name}", (&Screens{DB: h.db, Dial: h.dial}).log)
	server := httptest.NewServer(mux)
	defer server.Close()
	answer, err := http.Get(server.URL + "/p/" + vm + "?" + query)
	if err != nil {
		h.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text), err
}

func (h *hall) wants(status int, words, vm, query string) {
	h.Helper()
	if got, text, err := h.log(vm, query); got != status || !strings.Contains(text, words) || err != nil {
		h.Errorf("the log of %s with %q: %d %q, %v; wanted %d with %q", vm, query, got, text, err, status, words)
	}
}

func TestTheLogOfAVMIsReadWhereItLastRan(t *testing.T) {
	h := newHall(t)
	h.wants(409, "has not run yet", "new", "")
	h.wants(503, "which its host keeps: its agent is not reached: no route to host; bring the host back", "web", "")
	h.agent("h1-id", func(w http.ResponseWriter, asked string) { _, _ = io.WriteString(w, asked) })
	h.wants(200, "/vms/web-id/log?follow=false&previous=false", "web", "")
	h.on("h1-id", "") // stopped
	h.wants(200, "/vms/web-id/log?follow=false&previous=true&tail=7", "web", "previous=true&tail=7")
	h.wants(422, "tail is", "web", "tail=-1")
	h.wants(422, "follow is", "web", "follow=perhaps")
	h.wants(422, "ask for previous or for follow", "web", "follow=true&previous=true")
}

func TestAVMThatMovesIsFollowed(t *testing.T) {
	h := newHall(t)
	h.agent("h1-id", func(w http.ResponseWriter, asked string) {
		_, _ = io.WriteString(w, "one "+asked[strings.Index(asked, "?"):]+" ")
		h.on("h2-id", "i2")
	})
	h.agent("h2-id", func(w http.ResponseWriter, asked string) {
		_, _ = io.WriteString(w, "two "+asked[strings.Index(asked, "?"):])
		h.on("h2-id", "")
	})
	h.wants(200, "one ?follow=true&previous=false&tail=3 two ?follow=true&previous=false", "web", "follow=true&tail=3")
}

func TestALogThatBreaksOffIsNotTakenForTheWhole(t *testing.T) {
	h := newHall(t)
	h.agent("h1-id", func(w http.ResponseWriter, _ string) {
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	if _, text, err := h.log("web", "follow=true"); err == nil {
		t.Errorf("%q is taken for all", text)
	}
}

// A console went on for as long as its connection, whatever became of its user's right, the host or the VM.
func TestConsolesAndScreensEndWithTheRightToThem(t *testing.T) {
	for _, verb := range []string{"console", "vnc"} {
		for _, what := range []string{"token", "host", "instance"} {
			t.Run(verb+" "+what, func(t *testing.T) {
				h := newHall(t)
				l := store.NewRegistry()
				instances, removals := store.Specs(l, Instances, "test"), store.Specs(l, host.Removals, "test")
				h.commit(func(b *store.Batch) {
					instances.Create(b, &Instance{Meta: resource.Meta{ID: "i1", Project: "p"}, Spec: InstanceSpec{VMID: "web-id", VMName: "web", HostID: "h1-id"}})
				})
				var revoked atomic.Bool
				ws := h.open(verb, &revoked)
				switch what {
				case "token":
					revoked.Store(true)
				case "host":
					h.commit(func(b *store.Batch) {
						removals.Create(b, &host.Removal{Meta: resource.Meta{ID: "r", Name: "h1-id"}, Spec: host.RemovalSpec{HostID: "h1-id"}})
					})
				case "instance":
					h.commit(func(b *store.Batch) { instances.Delete(b, store.Find(h.db.Snapshot(), Instances, "i1")) })
				}
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				if _, _, err := ws.Read(ctx); err == nil || ctx.Err() != nil {
					t.Errorf("it goes on: %v", err)
				}
			})
		}
	}
}

// open gives the websocket of a VM whose agent echoes, after the first word.
func (h *hall) open(verb string, revoked *atomic.Bool) *websocket.Conn {
	h.Helper()
	h.agents["h1-id"] = func(w http.ResponseWriter, _ *http.Request) {
		if conn, err := stream.Upgrade(w); err == nil {
			_, _ = io.Copy(conn, conn)
			conn.Close()
		}
	}
	api := httpapi.New(h.db, httpapi.Options{Recheck: 20 * time.Millisecond, Authenticate: func(*http.Request) (httpapi.Caller, error) {
		if revoked.Load() {
			return httpapi.Caller{}, fault.New(fault.Unauthenticated, "this token was deleted")
		}
		return httpapi.Caller{User: "mel", Right: httpapi.Write, Project: "p"}, nil
	}})
	(&Screens{DB: h.db, Dial: h.dial}).Register(api)
	server := httptest.NewServer(api)
	h.Cleanup(server.Close)
	ws, _, err := websocket.Dial(h.Context(), server.URL+"/v1/projects/p/vms/web/"+verb, nil)
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { _ = ws.CloseNow() })
	if err := ws.Write(h.Context(), websocket.MessageBinary, []byte("hello")); err != nil {
		h.Fatal(err)
	}
	if _, text, err := ws.Read(h.Context()); err != nil || string(text) != "hello" {
		h.Fatalf("%q %v", text, err)
	}
	return ws
}

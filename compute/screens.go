package compute

import (
	"context"
	"io"
	"net"
	"net/http"

	"github.com/coder/websocket"

	"github.com/virga-cloud/virga/compute/stream"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// Screens passes consoles, screens, pictures and logs of machines from their hosts' agents on to
// those who ask the API.
type Screens struct {
	DB *store.DB
	// Dial opens a secured connection to the agent of a host.
	Dial func(ctx context.Context, hostID resource.ID) (net.Conn, error)
}

// Register offers the routes.
func (s *Screens) Register(a *httpapi.API) {
	for _, route := range []struct {
		verb, summary string
		right         httpapi.Right
		h             http.HandlerFunc
	}{
		{"console", "The serial console, as a websocket of binary messages", httpapi.Write, s.socket("console")},
		{"vnc", "The screen in VNC, as a websocket of binary messages (subprotocol binary)", httpapi.Write, s.socket("display")},
		{"screenshot", "A picture of the screen, PNG", httpapi.Read, s.plain("screenshot")},
		{"log", "All that the serial console said", httpapi.Read, s.plain("log")},
	} {
		a.Raw(httpapi.Op{
			ID: route.verb + "-vm", Method: "GET", Path: "/v1/projects/{project}/vms/{name}/" + route.verb,
			Right: route.right, Tag: "vms", Summary: route.summary,
		}, route.h)
	}
}

// open asks the agent of the machine's host for a stream or a file.
func (s *Screens) find(r *http.Request) (*Instance, error) {
	snap := s.DB.Snapshot()
	vm, err := findVM(snap, r.PathValue("project"), r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	if i := Find(snap, vm); i != nil {
		return i, nil
	}
	return nil, fault.New(fault.Precondition, "machine %s does not run; virga vm start %s", vm.Name, vm.Name)
}

// Find gives the instance that is the machine; nil if it does not run.
func Find(snap *store.Snapshot, vm *VM) *Instance {
	return store.Find(snap, Instances, vm.Status.InstanceID)
}

func (s *Screens) dialer(i *Instance) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) { return s.Dial(ctx, i.Spec.HostID) }
}

func (s *Screens) socket(what string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		i, err := s.find(r)
		if err != nil {
			httpapi.Fail(w, r, err)
			return
		}
		far, err := stream.Open(r.Context(), s.dialer(i), "/instances/"+string(i.ID)+"/"+what)
		if err != nil {
			httpapi.Fail(w, r, fault.Wrap(err, "open the %s of machine %s", what, i.Spec.VMName))
			return
		}
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"binary"}})
		if err != nil {
			far.Close()
			return
		}
		ws.SetReadLimit(1 << 20)
		stream.Splice(websocket.NetConn(r.Context(), ws, websocket.MessageBinary), far)
	}
}

func (s *Screens) plain(what string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		i, err := s.find(r)
		if err != nil {
			httpapi.Fail(w, r, err)
			return
		}
		dial := s.dialer(i)
		client := http.Client{Transport: &http.Transport{
			DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		}}
		request, err := http.NewRequestWithContext(r.Context(), http.MethodGet, "http://agent/instances/"+string(i.ID)+"/"+what, nil)
		if err != nil {
			httpapi.Fail(w, r, err)
			return
		}
		answer, err := client.Do(request)
		if err != nil {
			httpapi.Fail(w, r, fault.New(fault.Unavailable, "get the %s of machine %s from its host: %w", what, i.Spec.VMName, err))
			return
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			httpapi.Fail(w, r, stream.FaultOf(answer))
			return
		}
		w.Header().Set("Content-Type", answer.Header.Get("Content-Type"))
		_, _ = io.Copy(w, answer.Body)
	}
}

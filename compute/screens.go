package compute

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/coder/websocket"

	"github.com/virga-cloud/virga/compute/stream"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
)

// Screens passes consoles, screens, pictures and logs of VMs from their hosts' agents on to
// those who ask the API.
type Screens struct {
	DB *store.DB
	// Dial opens a secured connection to the agent of a host.
	Dial func(ctx context.Context, hostID resource.ID) (net.Conn, error)
}

// How long the agent of a host may take until a connection to it stands, and until it begins to answer.
const (
	agentHears   = 10 * time.Second
	agentAnswers = time.Minute
	stillThere   = 2 * time.Second // between two looks at whether what is shown is still there
)

// Register offers the routes.
func (s *Screens) Register(a *httpapi.API) {
	for _, route := range []struct {
		verb, summary string
		right         httpapi.Right
		h             http.HandlerFunc
		query         []httpapi.Query
	}{
		{"console", "The serial console, as a websocket of binary messages", httpapi.Write, s.socket("console"), nil},
		{"vnc", "The screen in VNC, as a websocket of binary messages (subprotocol binary)", httpapi.Write, s.socket("display"), nil},
		{"screenshot", "A picture of the screen, PNG", httpapi.Read, s.screenshot, nil},
		{"log", "What the serial console said, also of a VM that does not run", httpapi.Read, s.log, logQuery},
	} {
		a.Raw(httpapi.Op{
			ID: route.verb + "-vm", Method: "GET", Path: "/v1/projects/{project}/vms/{name}/" + route.verb,
			Right: route.right, Tag: "vms", Summary: route.summary, Query: route.query, Acts: route.right == httpapi.Write,
		}, route.h)
	}
	s.registerInside(a)
}

// find gives the instance that is the VM of a request.
func (s *Screens) find(r *http.Request) (*Instance, error) {
	snap := s.DB.Snapshot()
	vm, err := findVM(snap, resource.ID(r.PathValue("project")), r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	if i := Find(snap, vm); i != nil {
		return i, nil
	}
	return nil, fault.New(fault.Precondition, "VM %s does not run; virga vm start %s", vm.Name, vm.Name)
}

// Find gives the instance that is the VM; nil if it does not run.
func Find(snap *store.Snapshot, vm *VM) *Instance {
	return store.Find(snap, Instances, vm.Status.InstanceID)
}

func (s *Screens) dialer(hostID resource.ID) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, agentHears)
		defer cancel()
		return s.Dial(ctx, hostID)
	}
}

func (s *Screens) socket(what string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		i, err := s.find(r)
		if err != nil {
			httpapi.Fail(w, r, err)
			return
		}
		s.carry(w, r, i, what, "open the "+what)
	}
}

// carry carries bytes between who asks and what of an instance its host opens.
func (s *Screens) carry(w http.ResponseWriter, r *http.Request, i *Instance, what, doing string) {
	far, err := stream.Open(r.Context(), s.dialer(i.Spec.HostID), "/instances/"+string(i.ID)+"/"+what)
	if err != nil {
		httpapi.Fail(w, r, fault.Wrap(err, "%s of VM %s", doing, i.Spec.VMName))
		return
	}
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"binary"}})
	if err != nil {
		far.Close()
		return
	}
	ws.SetReadLimit(1 << 20)
	ctx, stop := httpapi.While(r.Context(), stillThere, func() error { return s.still(i) })
	defer stop()
	stream.Splice(websocket.NetConn(ctx, ws, websocket.MessageBinary), far)
}

// still says why a console or a screen of an instance ends.
func (s *Screens) still(i *Instance) error {
	snap := s.DB.Snapshot()
	if store.Find(snap, Instances, i.ID) == nil {
		return fault.New(fault.NotFound, "VM %s does not run here any more", i.Spec.VMName)
	}
	return host.Refused(snap, i.Spec.HostID)
}

func (s *Screens) screenshot(w http.ResponseWriter, r *http.Request) {
	i, err := s.find(r)
	var answer *http.Response
	if err == nil {
		answer, err = s.get(r.Context(), i.Spec.HostID, "/instances/"+string(i.ID)+"/screenshot")
	}
	if err != nil {
		httpapi.Fail(w, r, fault.Wrap(err, "take a picture of VM %s", r.PathValue("name")))
		return
	}
	defer answer.Body.Close()
	pass(w, answer)
}

// log passes on what a VM said on the host where it is, or was when it last ran. One that is
// followed and moves is followed to its next host, which has kept what it said there from the start.
func (s *Screens) log(w http.ResponseWriter, r *http.Request) {
	options, err := ParseLogOptions(r.URL.Query())
	var vm *VM
	if err == nil {
		vm, err = findVM(s.DB.Snapshot(), resource.ID(r.PathValue("project")), r.PathValue("name"))
	}
	var answer *http.Response
	if err == nil {
		answer, err = s.said(r.Context(), vm, options)
	}
	if err != nil {
		httpapi.Fail(w, r, err)
		return
	}
	for {
		pass(w, answer)
		answer.Body.Close()
		now := store.Find(s.DB.Snapshot(), VMs, vm.ID)
		if !options.Follow || now == nil || now.Status.InstanceID == "" || now.Status.HostID == vm.Status.HostID {
			return
		}
		vm, options.Tail = now, -1
		if answer, err = s.said(r.Context(), vm, options); err != nil {
			panic(http.ErrAbortHandler) // the VM says more than can be told
		}
	}
}

// said asks a VM's host for its serial log.
func (s *Screens) said(ctx context.Context, vm *VM, options LogOptions) (*http.Response, error) {
	if vm.Status.HostID == "" {
		return nil, fault.New(fault.Precondition, "VM %s has not run yet, and has said nothing; virga vm start %s", vm.Name, vm.Name)
	}
	snap := s.DB.Snapshot()
	if host.Removed(snap, vm.Status.HostID) {
		return nil, fault.New(fault.NotFound, "the serial log of VM %s went with its host, which %s", vm.Name, host.EndOf(snap, vm.Status.HostID))
	}
	answer, err := s.get(ctx, vm.Status.HostID, "/vms/"+string(vm.ID)+"/log?"+options.Query())
	return answer, fault.Wrap(err, "read the serial log of VM %s, which its host keeps", vm.Name)
}

// ask asks the agent of a host.
func (s *Screens) ask(ctx context.Context, hostID resource.ID, c call) (*http.Response, error) {
	dial := s.dialer(hostID)
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, ResponseHeaderTimeout: cmp.Or(c.patience, agentAnswers),
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
	}}
	request, err := http.NewRequestWithContext(ctx, c.method, "http://agent"+c.path, c.body)
	if err != nil {
		return nil, fault.New(fault.Internal, "ask an agent for %s: %w", c.path, err)
	}
	answer, err := client.Do(request)
	if err != nil {
		if asked, ok := errors.AsType[*url.Error](err); ok {
			err = asked.Err // without the address, which is none
		}
		return nil, fault.New(fault.Unavailable, "its agent is not reached: %w; bring the host back, and try again", err)
	}
	if answer.StatusCode != http.StatusOK {
		defer answer.Body.Close()
		return nil, stream.FaultOf(answer)
	}
	return answer, nil
}

func pass(w http.ResponseWriter, answer *http.Response) {
	w.Header().Set("Content-Type", answer.Header.Get("Content-Type"))
	stream.Pour(w, answer.Body)
}

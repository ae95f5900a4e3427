package onhost

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/compute/stream"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/task"
)

// Peer is who opened a connection to the agent: a server, or another host.
type Peer struct {
	Server bool
	Host   resource.ID
}

// Streams are the agent's own routes, for servers and other hosts alone: consoles, screens, logs,
// and the memory of VMs that move in. The listener in front of it checks certificates.
//
//	GET /instances/{id}/console     upgrade: the serial line          servers
//	GET /instances/{id}/display     upgrade: VNC                      servers
//	GET /instances/{id}/screenshot  PNG                               servers
//	POST /instances/{id}/exec       a command in the guest            servers
//	GET, PUT /instances/{id}/file   a file of the guest               servers
//	GET /instances/{id}/tcp         upgrade: a TCP port of the guest  servers
//	GET /instances/{id}/memory      upgrade: the source's QEMU        the source's host, while the instance waits for it
//	GET /figures                    what the guests use of the host   servers
//	GET /tasks/{id}/progress        how far a task is, as JSON        servers
//	GET /record-copies              what records are kept here        servers
//	GET /record-copies/{id}         those of a VM or volume           servers
//	GET /vms/{id}/log          what the serial line said here    servers, also when nothing runs
type Streams struct {
	Hypervisor Hypervisor
	// Peer says who asks.
	Peer func(*http.Request) (Peer, error)
	// Find gives the record of an instance here; nil if there is none.
	Find func(resource.ID) *compute.Instance
	// Reach opens connections to guests; nil: it cannot be done here.
	Reach Reach
	// Progress tells how far a task of this host is; false: nothing is known of it.
	Progress func(resource.ID) (task.Progress, bool)
	// Figures are what the guests use of this host; nil: nobody looks.
	Figures func(people bool) compute.HostFigures
	// Records are the copies of records that are kept here; nil: none are.
	Records *RecordCopies
}

// Handler makes the routes.
func (s *Streams) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /instances/{id}/console", s.forServers(s.console))
	mux.HandleFunc("GET /instances/{id}/display", s.forServers(s.display))
	mux.HandleFunc("GET /instances/{id}/screenshot", s.forServers(s.screenshot))
	mux.HandleFunc("POST /instances/{id}/exec", s.forServers(s.exec))
	mux.HandleFunc("GET /instances/{id}/file", s.forServers(s.readFile))
	mux.HandleFunc("PUT /instances/{id}/file", s.forServers(s.writeFile))
	mux.HandleFunc("GET /instances/{id}/tcp", s.forServers(s.tcp))
	mux.HandleFunc("GET /instances/{id}/memory", s.memory)
	mux.HandleFunc("GET /figures", s.forServers(s.figures))
	mux.HandleFunc("GET /tasks/{id}/progress", s.forServers(s.progress))
	mux.HandleFunc("GET /record-copies", s.forServers(s.recordCopies))
	mux.HandleFunc("GET /record-copies/{id}", s.forServers(s.recordCopy))
	mux.HandleFunc("GET /vms/{id}/log", s.forServers(s.log))
	return mux
}

func (s *Streams) forServers(do func(http.ResponseWriter, *http.Request, resource.ID) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		peer, err := s.Peer(r)
		if err == nil && !peer.Server {
			err = fault.New(fault.Denied, "only a server of the cloud may ask this of an agent")
		}
		if err == nil {
			err = do(w, r, resource.ID(r.PathValue("id")))
		}
		if err != nil {
			stream.Fail(w, err)
		}
	}
}

func (s *Streams) progress(w http.ResponseWriter, _ *http.Request, id resource.ID) error {
	p, known := s.Progress(id)
	if !known {
		return fault.New(fault.NotFound, "task %s does not work on this host", id)
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(p)
}

func (s *Streams) figures(w http.ResponseWriter, r *http.Request, _ resource.ID) error {
	if s.Figures == nil {
		return fault.New(fault.Precondition, "nobody looks at what guests use on this host: it has no control groups")
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(s.Figures(r.URL.Query().Has("people")))
}

func (s *Streams) console(w http.ResponseWriter, r *http.Request, id resource.ID) error {
	c, ok := s.Hypervisor.(Console)
	if !ok {
		return fault.New(fault.Precondition, "this hypervisor has no consoles")
	}
	line, err := c.Console(r.Context(), id)
	if err != nil {
		return err
	}
	return s.splice(w, line)
}

func (s *Streams) display(w http.ResponseWriter, r *http.Request, id resource.ID) error {
	c, ok := s.Hypervisor.(Console)
	if !ok {
		return fault.New(fault.Precondition, "this hypervisor has no screens")
	}
	screen, err := c.Display(r.Context(), id)
	if err != nil {
		return err
	}
	return s.splice(w, screen)
}

func (s *Streams) screenshot(w http.ResponseWriter, r *http.Request, id resource.ID) error {
	shooter, ok := s.Hypervisor.(Screenshotter)
	if !ok {
		return fault.New(fault.Precondition, "this hypervisor takes no pictures")
	}
	png, err := shooter.Screenshot(r.Context(), id)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "image/png")
	_, err = w.Write(png)
	return err
}

func (s *Streams) log(w http.ResponseWriter, r *http.Request, vmID resource.ID) error {
	l, ok := s.Hypervisor.(Logger)
	if !ok {
		return fault.New(fault.Precondition, "this hypervisor keeps no serial logs")
	}
	options, err := compute.ParseLogOptions(r.URL.Query())
	if err != nil {
		return err
	}
	said, err := l.Log(r.Context(), vmID, options)
	if err != nil {
		return err
	}
	defer said.Close()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	stream.Pour(w, said)
	return nil
}

// memory takes a VM's memory from the agent of its source.
func (s *Streams) memory(w http.ResponseWriter, r *http.Request) {
	id := resource.ID(r.PathValue("id"))
	peer, err := s.Peer(r)
	i := s.Find(id)
	m, can := s.Hypervisor.(Migrator)
	if err == nil {
		err = expects(id, i, peer, r.URL.Query().Get("token"))
	}
	if err == nil && !can {
		err = fault.New(fault.Precondition, "this hypervisor cannot move VMs")
	}
	if err != nil {
		stream.Fail(w, err)
		return
	}
	conn, err := stream.Upgrade(w)
	if err != nil {
		stream.Fail(w, err)
		return
	}
	defer conn.Close()
	conn = stream.Steady(conn, memoryPause)
	if err := m.AcceptStream(context.WithoutCancel(r.Context()), id, stream.Packed(conn)); err != nil {
		slog.Warn("the memory of a VM that moves in broke off", "instance", id, "from", peer.Host, "error", err)
	}
}

// memoryPause is how long a source may send nothing before it is given up.
const memoryPause = time.Minute

// expects decides whether an instance here takes memory from a peer: from the host of its source, in the
// one attempt that it was started for.
func expects(id resource.ID, i *compute.Instance, peer Peer, token string) error {
	switch {
	case peer.Host == "":
		return fault.New(fault.Denied, "only another host may send memory")
	case i == nil || i.Spec.Run != compute.RunIncoming || i.Spec.Incoming == nil:
		return fault.New(fault.Precondition, "instance %s does not wait for memory here", id)
	case i.Spec.Incoming.HostID != peer.Host:
		return fault.New(fault.Denied, "instance %s does not take memory from host %s", id, peer.Host)
	case token == "" || subtle.ConstantTimeCompare([]byte(i.Spec.Incoming.Token), []byte(token)) != 1:
		return fault.New(fault.Denied, "instance %s does not wait for the memory of this migration", id)
	}
	return nil
}

func (s *Streams) splice(w http.ResponseWriter, far io.ReadWriteCloser) error {
	conn, err := stream.Upgrade(w)
	if err != nil {
		far.Close()
		return err
	}
	stream.Splice(conn, far)
	return nil
}

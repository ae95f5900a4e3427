package onhost

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/compute/stream"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// Executor is a hypervisor that has commands run in guests, and reads and writes their files, by the agent in
// them.
type Executor interface {
	// Exec runs a command and returns when it has ended.
	Exec(ctx context.Context, id resource.ID, r compute.ExecRequest) (compute.ExecResult, error)
	// ReadFile hands on what is in a file, WriteFile puts into one what a reader gives.
	ReadFile(ctx context.Context, id resource.ID, path string, to io.Writer) error
	WriteFile(ctx context.Context, id resource.ID, path string, from io.Reader) error
}

// Reach opens a connection to a TCP port of a guest, inside its first network.
type Reach func(ctx context.Context, i *compute.Instance, port uint16) (net.Conn, error)

func (s *Streams) executor() (Executor, error) {
	if e, can := s.Hypervisor.(Executor); can {
		return e, nil
	}
	return nil, fault.New(fault.Precondition, "this hypervisor cannot speak to the agents of guests")
}

func (s *Streams) exec(w http.ResponseWriter, r *http.Request, id resource.ID) error {
	e, err := s.executor()
	if err != nil {
		return err
	}
	var in compute.ExecRequest
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&in); err != nil {
		return fault.New(fault.Invalid, "read the command: %w", err)
	}
	in.Default()
	if err := in.Check(); err != nil {
		return err
	}
	out, err := e.Exec(r.Context(), id, in)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(out)
}

// tooMuch ends the reading of a file that is too large.
type tooMuch struct {
	to   io.Writer
	left int64
}

func (t *tooMuch) Write(p []byte) (int, error) {
	if t.left -= int64(len(p)); t.left < 0 {
		return 0, fault.New(fault.Precondition, "the file has more than %d MiB; no more are read", compute.MaxGuestFile>>20)
	}
	return t.to.Write(p)
}

func (s *Streams) readFile(w http.ResponseWriter, r *http.Request, id resource.ID) error {
	e, err := s.executor()
	path := r.URL.Query().Get("path")
	if err == nil {
		err = compute.CheckGuestPath(path)
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	from, to := io.Pipe()
	defer from.Close()
	go func() { _ = to.CloseWithError(e.ReadFile(ctx, id, path, &tooMuch{to, compute.MaxGuestFile})) }()
	said := bufio.NewReader(from)
	if _, err := said.Peek(1); err != nil && !errors.Is(err, io.EOF) {
		return err // before anything was answered
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	stream.Pour(w, said)
	return nil
}

func (s *Streams) writeFile(w http.ResponseWriter, r *http.Request, id resource.ID) error {
	e, err := s.executor()
	path := r.URL.Query().Get("path")
	if err == nil {
		err = compute.CheckGuestPath(path)
	}
	if err == nil {
		err = e.WriteFile(r.Context(), id, path, http.MaxBytesReader(w, r.Body, compute.MaxGuestFile))
	}
	return err // without one, 200
}

func (s *Streams) tcp(w http.ResponseWriter, r *http.Request, id resource.ID) error {
	port, err := strconv.ParseUint(r.URL.Query().Get("port"), 10, 16)
	i := s.Find(id)
	switch {
	case err != nil || port == 0:
		return fault.New(fault.Invalid, "name a TCP port, from 1 to 65535")
	case i == nil:
		return fault.New(fault.NotFound, "no instance %s is here", id)
	case s.Reach == nil:
		return fault.New(fault.Precondition, "this host does not reach into networks")
	}
	far, err := s.Reach(r.Context(), i, uint16(port))
	if err != nil {
		return err
	}
	return s.splice(w, far)
}

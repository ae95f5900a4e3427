package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/etcd"
	"github.com/virga-cloud/virga/identity"
	"github.com/virga-cloud/virga/wiring"
)

// What is said of a server's own records is said on its host, by root, to the daemon if it runs: these
// requests are no part of the API, and are answered on the unix socket only.

// signInLink is a way into the console, once.
type signInLink struct {
	Secret string `json:"secret"`
}

// localRequest asks for it.
type localRequest struct {
	// File is where a backup is written.
	File string `json:"file,omitempty"`
	// Repair asks to put right what is safe to.
	Repair string `json:"repair,omitempty"`
	// Delete names a record that cannot be read and is given up.
	Delete string `json:"delete,omitempty"`
}

// local answers them.
func (s *server) local(mux *http.ServeMux, authenticate func(*http.Request) (httpapi.Caller, error)) {
	handle := func(path string, do func(ctx context.Context, in localRequest) (any, error)) {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			caller, err := authenticate(r)
			if _, unix := httpapi.ConnOf(r.Context()).(*net.UnixConn); err == nil && (!unix || !caller.May(httpapi.Admin, "")) {
				err = fault.New(fault.Denied, "only root on the server's own host may do this")
			}
			var in localRequest
			if err == nil {
				err = fault.Wrap(json.NewDecoder(io.LimitReader(r.Body, 64<<10)).Decode(&in), "read the request")
			}
			var out any
			if err == nil {
				out, err = do(r.Context(), in)
			}
			if err != nil {
				httpapi.Fail(w, r, err)
				return
			}
			_ = json.NewEncoder(w).Encode(out)
		})
	}
	handle("/local/backup", func(ctx context.Context, in localRequest) (any, error) {
		return struct{}{}, s.c.backUp(ctx, s.store, in.File, time.Now())
	})
	handle("/local/check", func(ctx context.Context, in localRequest) (any, error) {
		if in.Delete != "" {
			return struct{}{}, deleteUnreadable(ctx, s.store, in.Delete)
		}
		return examine(ctx, s.store, in.Repair == "yes")
	})
	handle("/local/sign-in", func(ctx context.Context, _ localRequest) (any, error) {
		b := s.db.Begin()
		secret := identity.SignInLink(b, s.cloud.Identity, "root", s.db.Now())
		return signInLink{secret}, s.db.Commit(ctx, b)
	})
	handle("/local/settle", func(ctx context.Context, _ localRequest) (any, error) {
		return struct{}{}, store.Settle(ctx, s.store)
	})
}

// ask asks the daemon of this host on its socket.
func (c *config) ask(ctx context.Context, path string, in localRequest, out any) error {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", c.socket())
	}}}
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://virga"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if err != nil {
		return fault.New(fault.Unavailable, "ask the daemon: %w", err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		return fault.New(fault.Unavailable, "ask the daemon: %w", err)
	}
	if answer.StatusCode != http.StatusOK {
		var p httpapi.Problem
		if json.Unmarshal(data, &p) != nil || p.Kind == "" {
			return fault.New(fault.Unavailable, "the daemon answered %s", answer.Status)
		}
		return fault.New(p.Kind, "%s", p.Detail)
	}
	if out == nil {
		return nil
	}
	return fault.Wrap(json.Unmarshal(data, out), "read the daemon's answer")
}

// server reads the config of a server.
func (f *folders) server() (*config, error) {
	if os.Geteuid() != 0 {
		return nil, fault.New(fault.Denied, "read the records: the state folder is root's; try sudo")
	}
	c, found, err := loadConfig(f.state, f.run)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fault.New(fault.Precondition, "there is no cloud in %s; another state folder is named by --state", f.state)
	}
	if c.Server != "yes" {
		return nil, fault.New(fault.Precondition, "host %s has no server, and no records of its own; do this on the host of %s", c.Name, c.Servers[0])
	}
	return c, nil
}

// offline opens the records while no daemon runs.
func (c *config) offline(ctx context.Context, do func(*etcd.Store) error) error {
	unlock, err := lockFolder(c.state)
	if err != nil {
		return err
	}
	defer unlock()
	if err := c.whole(true); err != nil {
		return err
	}
	run, err := os.MkdirTemp("", "virga-")
	if err != nil {
		return fault.New(fault.Internal, "make a folder for sockets: %w", err)
	}
	defer os.RemoveAll(run)
	s, err := etcd.Open(ctx, etcd.Config{Dir: c.in("store"), Run: run, ID: string(c.HostID), Fresh: c.isNew()})
	if err != nil {
		return err
	}
	defer s.Close()
	return do(s)
}

// finding is one, on the wire and for people.
type finding struct {
	Record   string `json:"record"`
	Name     string `json:"name,omitempty"`
	Class    string `json:"class"` // what kind of finding it is
	Wrong    string `json:"wrong"`
	Repair   string `json:"repair,omitempty"` // "possible", "done"
	Harmless string `json:"harmless,omitempty"`
}

// said puts a finding into words.
func said(f store.Finding) finding {
	out := finding{Record: f.Key.String(), Name: f.Name, Class: string(f.Class), Wrong: f.Wrong}
	if f.Harmless {
		out.Harmless = "yes"
	}
	if f.Repair != nil {
		out.Repair = "possible"
	}
	return out
}

// examine looks at all records, and repairs what is safe to.
func examine(ctx context.Context, s store.Store, repair bool) ([]finding, error) {
	entries, err := store.Held(ctx, s)
	if err != nil {
		return nil, err
	}
	out := []finding{}
	for _, f := range store.Examine(wiring.Catalog(), entries) {
		one := said(f)
		if f.Repair != nil && repair {
			if _, err := s.Commit(ctx, *f.Repair); err != nil {
				return out, fault.Wrap(err, "repair %s", f.Key)
			}
			one.Repair = "done"
		}
		out = append(out, one)
	}
	return out, nil
}

// deleteUnreadable gives up a record that cannot be read, named as kind/id.
func deleteUnreadable(ctx context.Context, s store.Store, record string) error {
	kind, id, ok := strings.Cut(record, "/")
	if !ok {
		return fault.New(fault.Invalid, "delete the record %s: name it by kind and id, like vm/0190a0b0-0000-7000-8000-000000000000", record)
	}
	entries, err := store.Held(ctx, s)
	if err != nil {
		return err
	}
	changes, err := store.RemoveUnreadable(wiring.Catalog(), entries, resource.Kind(kind), resource.ID(id))
	if err != nil {
		return err
	}
	_, err = s.Commit(ctx, changes...)
	return fault.Wrap(err, "delete the record %s", record)
}

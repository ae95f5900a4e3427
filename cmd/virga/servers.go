package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/identity/ca"
)

// others is this server's way to the other servers of the cloud: by their certificates, at the addresses
// that their hosts report.
type others struct {
	s *server
	t *http.Transport
}

func newOthers(s *server) *others {
	o := &others{s: s, t: &http.Transport{ForceAttemptHTTP2: true}}
	if s.authority != nil { // none where only the routes are wanted
		o.t.TLSClientConfig = ca.ClientTLS(s.rotator, s.authority.Pool(), ca.ServerName)
	}
	return o
}

// askWithin is how long another server may take to answer.
const askWithin = 5 * time.Second

// Leads implements wiring.Servers.
func (o *others) Leads() bool {
	leads, _ := o.s.role.Leads()
	return leads
}

// Ask implements wiring.Servers.
func (o *others) Ask(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	address, err := o.address(ctx, "")
	if err != nil {
		return err
	}
	body, err := json.Marshal(in)
	if err != nil {
		return fault.New(fault.Internal, "ask the server that leads: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, method, "https://"+address+path, bytes.NewReader(body))
	if err != nil {
		return fault.New(fault.Internal, "ask the server that leads: %w", err)
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := (&http.Client{Transport: o.t}).Do(r)
	if err != nil {
		return fault.New(fault.Unavailable, "ask the server that leads, at %s: %w", address, err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil || answer.StatusCode >= 300 {
		return fault.New(fault.Unavailable, "ask the server that leads, at %s: it answered %s (%v)", address, answer.Status, err)
	}
	if out == nil {
		return nil
	}
	return fault.Wrap(json.Unmarshal(data, out), "read the answer of the server that leads")
}

// Forward implements wiring.Servers.
func (o *others) Forward(w http.ResponseWriter, r *http.Request, to resource.ID, path string) {
	address, err := o.address(r.Context(), to)
	if err == nil && httpapi.CallerOf(r.Context()).Server {
		err = fault.New(fault.Unavailable, "this request came from another server already; ask again in a moment")
	}
	if err != nil {
		httpapi.Fail(w, r, err)
		return
	}
	(&httputil.ReverseProxy{
		Transport: o.t, ErrorLog: slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug),
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL = &url.URL{Scheme: "https", Host: address, Path: path, RawQuery: p.In.URL.RawQuery}
			p.Out.Host = address
			p.Out.Header.Del("Authorization") // the caller was admitted; this server vouches for it
			httpapi.Vouch(p.Out, r)
		},
		ModifyResponse: func(answer *http.Response) error {
			httpapi.Passed(r)
			answer.Header.Del("X-Request-Id") // it has one
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			httpapi.Fail(w, r, fault.New(fault.Unavailable, "pass it on to the server at %s: %w", address, err))
		},
	}).ServeHTTP(w, r)
}

// address is where the server of a host answers; an empty host is the one that leads.
func (o *others) address(ctx context.Context, id resource.ID) (string, error) {
	if id == "" {
		leads, err := o.s.store.Leader(ctx, "server")
		if err != nil {
			return "", err
		}
		if id = resource.ID(leads); id == "" || id == o.s.c.HostID {
			return "", fault.New(fault.Unavailable, "no server leads at this moment; try again")
		}
	}
	h := host.Find(o.s.db.Snapshot(), id)
	if h == nil || h.Status.APIAddress == "" || id == o.s.c.HostID {
		return "", fault.New(fault.Unavailable, "host %s runs no other server that could be asked", host.NameOf(o.s.db.Snapshot(), id))
	}
	return h.Status.APIAddress, nil
}

package client

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/coder/websocket"
)

func answer(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/v1/status":
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"version":%q,"ready":"yes","revision":7}`, r.Header.Get("Authorization"))
	case "/v1/watch":
		w.Header().Set("Content-Type", "text/event-stream")
		switch r.Header.Get("Last-Event-ID") {
		case "":
			fmt.Fprint(w, "event: change\ndata: {\"revision\":3,\"type\":\"put\",\"kind\":\"vm\",\"object\":{}}\n\nevent: synced\nid: 5\ndata: {\"revision\":5}\n\n")
		case "5":
			fmt.Fprint(w, "event: change\nid: 6\ndata: {\"revision\":6,\"type\":\"delete\",\"kind\":\"vm\"}\n\n")
		case "6":
			fmt.Fprint(w, "event: error\ndata: {\"kind\":\"too-late\",\"detail\":\"gone\"}\n\n")
		}
	case "/echo":
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		kind, data, err := c.Read(r.Context())
		if err == nil {
			_ = c.Write(r.Context(), kind, data)
		}
	case "/plain":
		http.Error(w, "a proxy is unwell", http.StatusBadGateway)
	default:
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"type":"urn:virga:fault:not-found","kind":"not-found","status":404,"detail":"no vm \"x\" in project a","errors":[{"field":"name","message":"m"}]}`)
	}
}

// connections are one over TLS and one over a unix socket to the same server.
func connections(t *testing.T) map[string]*Connection {
	t.Helper()
	server := httptest.NewTLSServer(http.HandlerFunc(answer))
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "api.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	local := &http.Server{Handler: http.HandlerFunc(answer)}
	go func() { _ = local.Serve(l) }()
	t.Cleanup(func() { local.Close() })
	out := map[string]*Connection{}
	for name, o := range map[string]Options{"tls": {Server: server.URL, CAFile: file, Token: "s"}, "unix": {Socket: socket, Token: "s"}} {
		c, err := Connect(o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.http.CloseIdleConnections)
		out[name] = c
	}
	return out
}

func TestAConnectionAnswersOrFailsWithAKind(t *testing.T) {
	for name, c := range connections(t) {
		t.Run(name, func(t *testing.T) {
			var s ServerStatus
			err := c.Call(t.Context(), Call{Method: "GET", Path: "/v1/status", Out: &s})
			if err != nil || s.Version != "Bearer s" || s.Revision != 7 {
				t.Errorf("%v %+v", err, s)
			}
			_, err = Projects.Get(t.Context(), c, "", "x")
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Kind != "not-found" || len(e.Details) != 1 || ExitCode(err) != 5 || err.Error() != `no vm "x" in project a` {
				t.Errorf("%v", err)
			}
			if _, err := c.Dial(t.Context(), "/plain"); ExitCode(err) != 10 {
				t.Errorf("%v", err)
			}
			ws, err := c.Dial(t.Context(), "/echo")
			if err != nil {
				t.Fatal(err)
			}
			defer ws.CloseNow()
			if err := ws.Write(t.Context(), websocket.MessageBinary, []byte("hi")); err != nil {
				t.Fatal(err)
			}
			if _, data, err := ws.Read(t.Context()); err != nil || string(data) != "hi" {
				t.Errorf("%q %v", data, err)
			}
		})
	}
	if _, err := Connect(Options{Server: "http://x"}); ExitCode(err) != 2 {
		t.Error(err)
	}
	c, err := Connect(Options{Socket: filepath.Join(t.TempDir(), "none")})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Call(t.Context(), Call{Method: "GET", Path: "/v1/status"}); !IsKind(err, "unavailable") {
		t.Error(err)
	}
}

func TestAWatchIsFollowedOverBreaks(t *testing.T) {
	for name, c := range connections(t) {
		t.Run(name, func(t *testing.T) {
			var heard []string
			err := c.Follow(t.Context(), WatchOptions{Kinds: []string{"vm"}}, func(e Notice) error {
				heard = append(heard, fmt.Sprint(e.Name, e.Revision, e.Type))
				return nil
			})
			if fmt.Sprint(heard) != "[change3put synced5 change6delete]" || !IsKind(err, "too-late") {
				t.Errorf("%v %v", heard, err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			if err := c.Follow(ctx, WatchOptions{}, func(Notice) error { cancel(); return nil }); !errors.Is(err, context.Canceled) {
				t.Errorf("%v", err)
			}
		})
	}
}

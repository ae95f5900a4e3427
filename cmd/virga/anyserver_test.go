package main

import (
	"context"
	"crypto"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/virga-cloud/virga/identity/ca"
)

// someServers are servers of one cloud, each of which says its name, and a host's client of them.
type someServers struct {
	servers []*httptest.Server
	refuses []bool // it answers that it cannot serve
	way     *anyServer
	client  *http.Client
}

func newSomeServers(t *testing.T, n int, before ...string) *someServers {
	t.Helper()
	authority, err := ca.Open(t.TempDir(), ca.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := &someServers{refuses: make([]bool, n)}
	addresses := slices.Clone(before)
	for i := range n {
		rotator, err := ca.NewRotator(filepath.Join(t.TempDir(), "server"), time.Now, func(_ context.Context, key crypto.Signer) ([]byte, error) {
			return authority.IssueServer(key.Public())
		}, nil)
		if err == nil {
			err = rotator.Ensure(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if s.refuses[i] {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			_, _ = io.WriteString(w, r.Proto+" "+string(rune('a'+i)))
		}))
		server.EnableHTTP2, server.TLS = true, ca.ServerTLS(rotator, authority.Pool())
		server.StartTLS()
		t.Cleanup(server.Close)
		s.servers = append(s.servers, server)
		addresses = append(addresses, server.Listener.Addr().String())
	}
	s.way = newAnyServer(addresses, ca.ClientTLS(nil, authority.Pool(), ca.ServerName))
	transport := s.way.transport()
	t.Cleanup(transport.CloseIdleConnections)
	s.client = &http.Client{Timeout: 20 * time.Second, Transport: transport}
	return s
}

// ask says which server answers; a request that is cut off is made again, as an agent does.
func (s *someServers) ask(t *testing.T) string {
	t.Helper()
	for range 3 {
		answer, err := s.client.Get(serverURL("/"))
		if err != nil {
			continue
		}
		data, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		if failing(answer.StatusCode) {
			s.way.leave()
			continue
		}
		return string(data)
	}
	t.Fatal("no server answers")
	return ""
}

func TestHostGoesByAnotherServerWhenOneIsAway(t *testing.T) {
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	// The kernel takes connections for a process that stands still.
	still, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer still.Close()
	s := newSomeServers(t, 2, dead.Addr().String(), still.Addr().String())
	if got := s.ask(t); got != "HTTP/2.0 a" {
		t.Fatalf("%s answers, not the first that lives", got)
	}
	s.client.CloseIdleConnections()
	begun := time.Now()
	if got := s.ask(t); got != "HTTP/2.0 a" || time.Since(begun) > time.Second {
		t.Errorf("the one that answered is not asked first: %s after %s", got, time.Since(begun))
	}
	s.servers[0].CloseClientConnections()
	s.servers[0].Close()
	if got := s.ask(t); got != "HTTP/2.0 b" {
		t.Errorf("%s answers when the first is gone", got)
	}
	s.servers[1].CloseClientConnections()
	s.servers[1].Close()
	for range 3 { // one that had a connection may be told that it is cut
		if _, err = s.client.Get(serverURL("/")); err != nil && strings.Contains(err.Error(), "server "+dead.Addr().String()) {
			break
		}
	}
	if err == nil || !strings.Contains(err.Error(), dead.Addr().String()) || !strings.Contains(err.Error(), s.servers[1].Listener.Addr().String()) {
		t.Errorf("that no server answers does not name those that were asked: %v", err)
	}
}

func TestHostLeavesAServerThatCannotServe(t *testing.T) {
	s := newSomeServers(t, 2)
	if got := s.ask(t); got != "HTTP/2.0 a" {
		t.Fatal(got)
	}
	s.refuses[0] = true // it has lost the store; its connection is as good as ever
	if got := s.ask(t); got != "HTTP/2.0 b" {
		t.Errorf("%s answers when the first cannot", got)
	}
	if got := s.ask(t); got != "HTTP/2.0 b" {
		t.Errorf("%s answers, though the second is good", got)
	}
	s.way.mu.Lock()
	defer s.way.mu.Unlock()
	if len(s.way.conns) != 1 {
		t.Errorf("%d connections are kept", len(s.way.conns))
	}
}

// TestHostWithOneServerKeepsItsConnection: there is nowhere to go.
func TestHostWithOneServerKeepsItsConnection(t *testing.T) {
	s := newSomeServers(t, 1)
	s.ask(t)
	s.way.leave()
	s.way.mu.Lock()
	defer s.way.mu.Unlock()
	if len(s.way.conns) != 1 || s.way.good != 0 {
		t.Errorf("%d connections, server %d", len(s.way.conns), s.way.good)
	}
}

// TestHostBelievesNoServerOfAnotherCloud: the name alone is not enough.
func TestHostBelievesNoServerOfAnotherCloud(t *testing.T) {
	s, other := newSomeServers(t, 1), newSomeServers(t, 1)
	s.way.addresses = other.way.addresses
	if _, err := s.client.Get(serverURL("/")); err == nil {
		t.Error("a server of another cloud answers")
	}
}

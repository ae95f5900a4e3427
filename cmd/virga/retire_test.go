package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/identity/ca"
	"github.com/virga-cloud/virga/wiring"
)

// TestOtherHostsRefuseAHostThatWasRemoved: its certificate is good until it expires, its word is not.
func TestOtherHostsRefuseAHostThatWasRemoved(t *testing.T) {
	authority, err := ca.Open(t.TempDir(), ca.Options{})
	if err != nil {
		t.Fatal(err)
	}
	db, removals := store.NewDB(memory.New(), wiring.Catalog()), store.Specs(store.NewRegistry(), host.Removals, "test")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = db.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	r := &host.Removal{Spec: host.RemovalSpec{HostID: "gone", HostName: "h2", Cause: host.Dead}}
	r.Name = "gone"
	b := db.Begin()
	removals.Create(b, r)
	if err := db.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	a := &agent{c: &config{}, db: db}
	for id, refused := range map[resource.ID]bool{"gone": true, "here": false} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		made, err := authority.IssueHost(key.Public(), id)
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(made)
		leaf, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		chain := []*x509.Certificate{leaf}
		peer, err := a.peer(&http.Request{TLS: &tls.ConnectionState{PeerCertificates: chain, VerifiedChains: [][]*x509.Certificate{chain}}})
		if peer.Host != id || fault.Is(err, fault.TooLate) != refused {
			t.Errorf("host %s asks as %+v: %v", id, peer, err)
		}
	}
	if _, err := a.dialTarget(t.Context(), compute.Outgoing{HostID: "gone", Address: "127.0.0.1:1"}); !fault.Is(err, fault.TooLate) {
		t.Errorf("memory is sent to a host that was removed: %v", err)
	}
}

// TestOnlyAServerThatKnowsOfTheRemovalEndsAHost: one that has lost its memory knows nobody.
func TestOnlyAServerThatKnowsOfTheRemovalEndsAHost(t *testing.T) {
	for body, over := range map[string]bool{
		`{"kind":"too-late","detail":"host h2 was removed"}`:       true,
		`{"kind":"unauthenticated","detail":"who is that?"}`:       false,
		`{"kind":"unavailable","detail":"the server is starting"}`: false,
		`<html>gone</html>`: false,
	} {
		a := &agent{over: make(chan error, 1)}
		for range 2 {
			if err := a.unwelcome(&http.Response{Status: "410 Gone", Body: io.NopCloser(strings.NewReader(body))}); err == nil {
				t.Error("a heartbeat that is refused succeeds")
			}
		}
		if got := len(a.over) == 1; got != over {
			t.Errorf("%s ends the host: %v", body, got)
		}
	}
}

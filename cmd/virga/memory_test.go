package main

import (
	"context"
	"crypto"
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/compute/onhost/qemu"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
	"github.com/virga-cloud/virga/engine/store/storetest"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/identity/ca"
	"github.com/virga-cloud/virga/wiring"
)

// TestMemoryIsTakenFromTheSourcesHostAlone asks the target's agent as every host that has a certificate.
func TestMemoryIsTakenFromTheSourcesHostAlone(t *testing.T) {
	dir, err := os.MkdirTemp("", "vm") // sockets have short names
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	authority, err := ca.Open(filepath.Join(dir, "ca"), ca.Options{})
	if err != nil {
		t.Fatal(err)
	}
	of := func(id resource.ID) *ca.Rotator {
		r, err := ca.NewRotator(filepath.Join(dir, string(id)), time.Now, func(_ context.Context, k crypto.Signer) ([]byte, error) { return authority.IssueHost(k.Public(), id) }, nil)
		if err == nil {
			err = r.Ensure(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	source, target, third, removed := resource.NewID(), resource.NewID(), resource.NewID(), resource.NewID()
	db := store.NewDB(memory.New(), wiring.Catalog())
	db.Inline = true
	l := store.NewRegistry()
	i := &compute.Instance{Spec: compute.InstanceSpec{HostID: target, Run: compute.RunIncoming, Incoming: &compute.Incoming{HostID: source, Token: "of this attempt"}}}
	i.ID, i.Project, i.Name = resource.NewID(), "default", "i"
	gone := &host.Removal{Spec: host.RemovalSpec{HostID: removed, HostName: "gone", Cause: host.Dead}}
	gone.ID, gone.Name = resource.NewID(), string(removed)
	b := db.Begin()
	store.Specs(l, compute.Instances, "test").Create(b, i)
	store.Specs(l, host.Removals, "test").Create(b, gone)
	storetest.Plant(t, db, b)
	guests, err := qemu.New(qemu.Config{RunDir: filepath.Join(dir, "g"), LogDir: filepath.Join(dir, "l")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(guests.Close)
	a := &agent{db: db, guests: guests, rotator: of(target), trust: &tls.Config{RootCAs: authority.Pool()}}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); a.tasks.Wait() })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a.serve(ctx, listener)

	ask := func(from resource.ID, token string) error {
		other := &agent{db: store.NewDB(memory.New(), wiring.Catalog()), trust: ca.ClientTLS(of(from), authority.Pool(), "")}
		conn, err := other.dialTarget(t.Context(), compute.Outgoing{InstanceID: i.ID, HostID: target, Address: listener.Addr().String(), Token: token})
		if err == nil {
			_ = conn.Close()
		}
		return err
	}
	if err := ask(source, "of this attempt"); err != nil {
		t.Errorf("the source: %v", err)
	}
	for name, c := range map[string]struct {
		from  resource.ID
		token string
		kind  fault.Kind
		says  string
	}{
		"a third host":               {third, "of this attempt", fault.Denied, "does not take memory from host " + string(third)},
		"the source's other attempt": {source, "of another", fault.Denied, "of this migration"},
		"the source without a token": {source, "", fault.Denied, "of this migration"},
		"the target itself":          {target, "of this attempt", fault.Denied, "does not take memory"},
		"a host that was removed":    {removed, "of this attempt", fault.TooLate, "declared dead"},
	} {
		if err := ask(c.from, c.token); !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

package onhost_test

import (
	"context"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
	"github.com/virga-cloud/virga/engine/store/storetest"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/network/onhost"
	"github.com/virga-cloud/virga/network/onhost/fake"
)

const here resource.ID = "host-here"

type bench struct {
	t        *testing.T
	db       *store.DB
	sw       *fake.Switch
	loop     *reconcile.Loop
	bindings *store.SpecWriter[network.PortBindingSpec, network.PortBindingStatus]
}

func newBench(t *testing.T) *bench {
	registry := store.NewRegistry()
	db := store.NewDB(memory.New(), resource.NewCatalog(network.Networks, network.Subnets, network.Ports, network.PortBindings, network.DNSZones, network.SecurityGroups, host.Hosts))
	b := &bench{t: t, db: db, sw: fake.New(), bindings: store.Specs(registry, network.PortBindings, "compute")}
	b.loop = onhost.NewPortBindingLoop(db, here, store.Statuses(registry, network.PortBindings, "agent"), b.sw)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = db.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	if err := b.sw.Setup(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) binding(portID, hostID resource.ID, epoch int64) resource.ID {
	b.t.Helper()
	x := &network.PortBinding{Spec: network.PortBindingSpec{PortID: portID, NetworkID: "net", HostID: hostID, Epoch: epoch}}
	batch := b.db.Begin()
	b.bindings.Create(batch, x, network.AgentHolder)
	storetest.Plant(b.t, b.db, batch)
	return x.ID
}

func (b *bench) find(id resource.ID) *network.PortBinding {
	return store.Find(b.db.Snapshot(), network.PortBindings, id)
}

func (b *bench) step(id resource.ID) (reconcile.Result, error) { return b.loop.Step(b.t.Context(), id) }

// settled steps all again: nothing may change.
func (b *bench) settled() {
	b.t.Helper()
	before := b.db.Revision()
	for _, p := range store.Every(b.db.Snapshot(), network.PortBindings) {
		if _, err := b.step(p.ID); err != nil {
			b.t.Error(err)
		}
	}
	if b.db.Revision() != before {
		b.t.Error("a full resync changed something")
	}
}

func TestAPortBindingBecomesReadyWhenItsPortForwards(t *testing.T) {
	b := newBench(t)
	id, elsewhere := b.binding("port", here, 1), b.binding("port", "host-there", 2)
	b.sw.Hold(true)
	if r, err := b.step(id); err != nil || r.After == 0 || r.After > time.Second {
		t.Errorf("a port that is not ready is looked at after %v, %v", r.After, err)
	}
	if p := b.find(id); p.Status.Phase != "" {
		t.Errorf("that a new one waits was written at once: %+v", p.Status)
	}
	b.db.Now = func() time.Time { return time.Now().Add(time.Minute) }
	b.step(id)
	if p := b.find(id); p.Status.Phase != network.PortBindingWaiting || p.Status.Device == "" {
		t.Errorf("it is %+v", p.Status)
	}
	b.sw.Hold(false)
	b.step(id)
	if p := b.find(id); p.Status.Phase != network.PortBindingReady {
		t.Errorf("it is %+v", p.Status)
	}
	b.step(elsewhere)
	if p := b.find(elsewhere); p.Status.Phase != "" {
		t.Errorf("a port binding of another host was touched: %+v", p.Status)
	}
	b.sw.Hold(true) // the switch restarts: a running VM keeps its port binding
	b.step(id)
	if p := b.find(id); p.Status.Phase != network.PortBindingReady {
		t.Errorf("it is %+v", p.Status)
	}
	b.settled()
}

func TestADeletedPortBindingIsClosedBeforeItGoes(t *testing.T) {
	b := newBench(t)
	id := b.binding("port", here, 1)
	b.step(id)
	batch := b.db.Begin()
	b.bindings.Delete(batch, b.find(id))
	if err := b.db.Commit(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	b.sw.Fail(fault.New(fault.Unavailable, "broken"))
	if _, err := b.step(id); err == nil || b.find(id) == nil {
		t.Error("the port binding went although its tap may be there")
	}
	b.sw.Fail(nil)
	b.step(id)
	if b.find(id) != nil {
		t.Error("the port binding is still there")
	}
	if at, _ := b.sw.ListPorts(t.Context()); len(at) != 0 {
		t.Error("the tap is still there")
	}
	b.settled()
}

func TestAPortHasOneTapOnAHost(t *testing.T) {
	b := newBench(t)
	old, fresh := b.binding("port", here, 1), resource.ID("")
	b.step(old)
	fresh = b.binding("port", here, 2)
	b.step(fresh)
	if p := b.find(fresh); p.Status.Phase != network.PortBindingWaiting || len(p.Status.Problems) != 1 {
		t.Errorf("the new port binding is %+v", p.Status)
	}
	b.step(old) // a lower epoch gives way
	batch := b.db.Begin()
	b.bindings.Delete(batch, b.find(old))
	if err := b.db.Commit(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	b.step(old)
	b.step(fresh)
	if p := b.find(fresh); p.Status.Phase != network.PortBindingReady || len(p.Status.Problems) != 0 {
		t.Errorf("the new port binding is %+v", p.Status)
	}
	b.settled()
}

func TestTheSweepAsksTheStoreBeforeItRemoves(t *testing.T) {
	b := newBench(t)
	kept := b.binding("port", here, 1)
	b.step(kept)
	_, _ = b.sw.EnsurePort(t.Context(), onhost.Port{PortBindingID: resource.NewID()})
	_, _ = b.sw.EnsureService(t.Context(), onhost.Service{DNSZoneID: resource.NewID()})
	blind := store.NewDB(b.db.Store(), b.db.Catalog()) // has seen nothing yet
	if err := onhost.Sweep(t.Context(), reconcile.Knowledge{DB: blind}, b.sw); err != nil {
		t.Fatal(err)
	}
	if at, _ := b.sw.ListPorts(t.Context()); len(at) != 2 {
		t.Errorf("a sweep that had seen nothing left %d of 2 ports", len(at))
	}
	if err := onhost.Sweep(t.Context(), reconcile.Knowledge{DB: b.db}, b.sw); err != nil {
		t.Fatal(err)
	}
	at, _ := b.sw.ListPorts(t.Context())
	services, _ := b.sw.ListServices(t.Context())
	if len(at) != 1 || at[0].PortBindingID != kept || len(services) != 0 {
		t.Errorf("left are %v and %v", at, services)
	}
}

func TestPortBindingSaysWhyItWaitsForLong(t *testing.T) {
	b := newBench(t)
	id, now := b.binding("port", here, 1), b.db.Now()
	b.db.Now = func() time.Time { return now }
	b.sw.Hold(true)
	b.step(id)
	if p := b.find(id); len(p.Status.Problems) != 0 {
		t.Errorf("at once it says %+v", p.Status.Problems)
	}
	now = now.Add(time.Minute)
	b.step(id)
	if p := b.find(id); len(p.Status.Problems) != 1 || p.Status.Problems[0].Message != "it is held" {
		t.Errorf("after a minute it says %+v", p.Status.Problems)
	}
	b.settled()
	b.sw.Hold(false)
	b.step(id)
	if p := b.find(id); p.Status.Phase != network.PortBindingReady || len(p.Status.Problems) != 0 {
		t.Errorf("it is %+v", p.Status)
	}
}

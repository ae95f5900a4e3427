package compute_test

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/virga-cloud/virga/cluster"
	"github.com/virga-cloud/virga/cluster/placement"
	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/operation"
	"github.com/virga-cloud/virga/engine/operation/operationtest"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/host/numa"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/storage"
)

// world is two hosts whose agents obey at once, and one VM that runs on the first.
type world struct {
	t           testing.TB
	db          *store.DB
	controller  *compute.Controller
	catalog     *resource.Catalog
	registry    *store.Registry
	reconciler  *reconcile.Loop
	loop        func(context.Context, resource.ID) error
	vm          resource.ID
	instances   *store.StatusWriter[compute.InstanceSpec, compute.InstanceStatus]
	volumes     *store.StatusWriter[storage.AttachmentSpec, storage.AttachmentStatus]
	bindings    *store.StatusWriter[network.PortBindingSpec, network.PortBindingStatus]
	hosts       *store.StatusWriter[host.Spec, host.Status]
	guests      map[resource.ID]string // what really happens on the hosts
	volumeSpecs *store.SpecWriter[storage.VolumeSpec, storage.VolumeStatus]
	hostSpecs   *store.SpecWriter[host.Spec, host.Status]
	lives       *store.SpecWriter[host.LivenessSpec, host.LivenessStatus]
	datastores  *store.SpecWriter[storage.DatastoreSpec, storage.DatastoreStatus]
	vmStatuses  *store.StatusWriter[compute.VMSpec, compute.VMStatus]
	vms         *store.SpecWriter[compute.VMSpec, compute.VMStatus]
	claims      *store.SpecWriter[placement.ClaimSpec, placement.ClaimStatus]
	devices     func(*compute.Instance) []compute.InstanceDevice // what guests have; nil: the agents do not look
}

type silent struct{}

func (silent) Record(*store.Batch, resource.Ref, string, string, string, string, string, ...string) {}

func newWorld(t testing.TB) (*world, *operationtest.World) {
	catalog := resource.NewCatalog(compute.VMs, compute.Instances, compute.Images, storage.Attachments, storage.Volumes, storage.Datastores,
		network.PortBindings, network.Ports, network.Networks, network.Subnets, host.Hosts, host.Livenesses, placement.Claims, placement.AffinityRules, operation.Operations,
		storage.Allocations, cluster.Clusters)
	db := store.NewDB(memory.New(), catalog)
	db.Inline = true
	l := store.NewRegistry()
	w := &world{
		t: t, db: db, catalog: catalog, registry: l, guests: map[resource.ID]string{}, instances: store.Statuses(l, compute.Instances, "agent"),
		volumes: store.Statuses(l, storage.Attachments, "agent"), bindings: store.Statuses(l, network.PortBindings, "agent"),
	}
	w.hosts = store.Statuses(l, host.Hosts, "agent")
	w.claims = store.Specs(l, placement.Claims, "placement")
	gate := placement.NewGate(db, w.claims)
	w.vmStatuses = store.Statuses(l, compute.VMs, "compute")
	w.controller = compute.NewController(db, compute.Writers{
		VMStatuses: w.vmStatuses, Instances: store.Specs(l, compute.Instances, "compute"),
		Attachments: store.Specs(l, storage.Attachments, "compute"), PortBindings: store.Specs(l, network.PortBindings, "compute"),
	}, gate, silent{})
	w.reconciler = w.controller.Loop()
	step := w.reconciler.Step
	w.loop = func(ctx context.Context, id resource.ID) error {
		_, err := step(ctx, id)
		return err
	}
	w.seed(l)
	for range 20 {
		w.settle()
	}
	if vm := w.record(); vm.Status.Phase != compute.PhaseRunning {
		t.Fatalf("the VM is %s (%v)", vm.Status.Phase, vm.Status.Problems)
	}
	return w, &operationtest.World{
		DB: db, Specs: store.Specs(l, operation.Operations, "api"), Statuses: store.Statuses(l, operation.Operations, "operation"),
		Definition: w.controller.Migration(), Target: w.record().Ref(), Input: compute.MigrateInput{},
		Facts: w.facts, Reached: w.reached, Invariant: w.invariant, Settle: w.settle,
	}
}

// seed makes two hosts with a shared datastore, and a VM with a disk and a port.
func (w *world) seed(l *store.Registry) {
	hosts, lives := store.Specs(l, host.Hosts, "api"), store.Specs(l, host.Livenesses, "server")
	w.hostSpecs, w.lives = hosts, lives
	b := w.db.Begin()
	var ids []resource.ID
	for _, name := range []string{"h1", "h2"} {
		h := host.New(resource.ID(name), name)
		h.Status.Inventory = host.Inventory{Threads: 8, MHz: 2500, MemoryMiB: 8192, NUMA: []host.NUMANode{
			{Node: 0, MemoryMiB: 4096, CPUs: []int{0, 1, 2, 3}}, {Node: 1, MemoryMiB: 4096, CPUs: []int{4, 5, 6, 7}},
		}}
		h.Status.Profile = host.Profile{MachineType: "pc-q35-7.2", Accelerator: host.TCG}
		h.Status.Address = name + ":7444"
		hosts.Create(b, h)
		life := &host.Liveness{Spec: host.LivenessSpec{HostID: h.ID}, Status: host.LivenessStatus{State: host.Alive}}
		lives.Create(b, life)
		ids = append(ids, h.ID)
	}
	d := &storage.Datastore{Meta: resource.Meta{ID: "d"}, Status: storage.DatastoreStatus{Phase: "ready", HostIDs: ids, CapacityMiB: 1000, FreeMiB: 900}}
	w.datastores = store.Specs(l, storage.Datastores, "api")
	w.datastores.Create(b, d)
	v := &storage.Volume{Meta: resource.Meta{ID: "v", Project: "default"}, Status: storage.VolumeStatus{Phase: storage.VolumeReady, DatastoreID: "d"}}
	w.volumeSpecs = store.Specs(l, storage.Volumes, "api")
	w.volumeSpecs.Create(b, v)
	n := &network.Network{Meta: resource.Meta{ID: "n", Project: "default"}}
	store.Specs(l, network.Networks, "api").Create(b, n)
	s := &network.Subnet{Meta: resource.Meta{ID: "s", Project: "default"}, Spec: network.SubnetSpec{NetworkID: "n", CIDR: "10.0.0.0/24"}}
	store.Specs(l, network.Subnets, "api").Create(b, s)
	p := &network.Port{Meta: resource.Meta{ID: "p", Project: "default"}, Spec: network.PortSpec{NetworkID: "n"}, Status: network.PortStatus{SubnetID: "s", Address: "10.0.0.3"}}
	store.Specs(l, network.Ports, "api").Create(b, p)
	vm := &compute.VM{Meta: resource.Meta{ID: "vm", Name: "web", Project: "default"}, Spec: compute.VMSpec{
		CPUs: 2, MemoryMiB: 5000, NUMA: numa.Preferred, Power: compute.Running, RestartPolicy: compute.OnFailure,
		Disks: []compute.Disk{{Name: "disk0", VolumeID: "v"}}, NICs: []compute.NIC{{Name: "nic0", PortID: "p"}},
	}, Status: compute.VMStatus{Disks: []compute.DiskStatus{{Name: "disk0", VolumeID: "v", Model: compute.VirtioBlk}}, NICs: []compute.NICStatus{{Name: "nic0", PortID: "p", Model: compute.VirtioNet}}}}
	w.vms = store.Specs(l, compute.VMs, "api")
	w.vms.Create(b, vm, compute.Holder)
	w.vm = vm.ID
	if err := w.db.Commit(w.t.Context(), b); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) record() *compute.VM { return store.Find(w.db.Snapshot(), compute.VMs, w.vm) }

// settle lets the VM loop and both agents act once.
func (w *world) settle() {
	if err := w.loop(context.Background(), w.vm); err != nil {
		w.t.Fatalf("vm loop: %v", err)
	}
	snap, b := w.db.Snapshot(), w.db.Begin()
	for _, a := range store.Every(snap, storage.Attachments) {
		if a.Deleting != nil {
			store.Release(b, a, compute.AgentHolder)
		} else {
			w.volumes.Set(b, a, func(s *storage.AttachmentStatus) { s.Phase = storage.AttachmentReady })
		}
	}
	for _, p := range store.Every(snap, network.PortBindings) {
		if p.Deleting != nil {
			store.Release(b, p, compute.AgentHolder)
		} else {
			w.bindings.Set(b, p, func(s *network.PortBindingStatus) { s.Phase = network.PortBindingReady })
		}
	}
	for _, i := range store.Every(snap, compute.Instances) {
		w.obey(b, i)
	}
	if err := w.db.Commit(context.Background(), b); err != nil {
		w.t.Fatalf("agents: %v", err)
	}
}

// obey is an agent: it makes the guest as the record says, one step.
func (w *world) obey(b *store.Batch, i *compute.Instance) {
	if i.Deleting != nil {
		delete(w.guests, i.ID)
		store.Release(b, i, compute.AgentHolder)
		return
	}
	guest := w.guests[i.ID]
	switch run := i.Spec.Run; {
	case run == compute.RunKilled || run == compute.RunStopped:
		guest = compute.InstanceStopped
	case run == compute.RunIncoming && guest == "":
		guest = compute.InstanceIncoming
	case run == compute.RunRunning && i.Spec.Outgoing != nil && guest == compute.InstanceRunning:
		guest = compute.InstanceSending
	case run == compute.RunRunning && i.Spec.Outgoing != nil && guest == compute.InstanceSending:
		if target := i.Spec.Outgoing.InstanceID; w.guests[target] == compute.InstanceIncoming {
			guest, w.guests[target] = compute.InstanceSent, compute.InstanceReceived
		}
	case run == compute.RunRunning && i.Spec.Outgoing == nil:
		guest = compute.InstanceRunning
	}
	w.guests[i.ID] = guest
	w.instances.Set(b, i, func(s *compute.InstanceStatus) {
		s.Phase, s.OutgoingID = guest, ""
		if i.Spec.Outgoing != nil {
			s.OutgoingID = i.Spec.Outgoing.OperationID
		}
		if guest == compute.InstanceStopped {
			s.Exit = compute.ExitForced
		}
		if w.devices != nil {
			s.Devices, s.DevicesGeneration = w.devices(i), i.Generation
		}
		if guest == compute.InstanceRunning && s.StartedAt.IsZero() {
			s.StartedAt = time.Unix(1, 0)
		}
	})
}

// facts is everything that an attempt may touch; epochs rise in any case.
func (w *world) facts() string {
	w.settle() // the phase is the VM loop's to tell
	snap := w.db.Snapshot()
	var out []string
	for _, i := range store.Every(snap, compute.Instances) {
		out = append(out, fmt.Sprintf("instance on %s run=%s outgoing=%v guest=%s deleting=%v", i.Spec.HostID, i.Spec.Run, i.Spec.Outgoing != nil, w.guests[i.ID], i.Deleting != nil))
	}
	for _, a := range store.Every(snap, storage.Attachments) {
		out = append(out, fmt.Sprintf("attachment on %s", a.Spec.HostID))
	}
	for _, p := range store.Every(snap, network.PortBindings) {
		out = append(out, fmt.Sprintf("port binding on %s", p.Spec.HostID))
	}
	for _, c := range store.Every(snap, placement.Claims) {
		out = append(out, fmt.Sprintf("claim on %s", c.Spec.HostID))
	}
	vm := w.record()
	out = append(out, fmt.Sprintf("vm %s on %s, in hands of %q", vm.Status.Phase, vm.Status.HostID, vm.Status.OperationID))
	sort.Strings(out)
	return strings.Join(out, "\n")
}

func (w *world) reached() error {
	for range 3 {
		w.settle()
	}
	want := "attachment on h2\nclaim on h2\ninstance on h2 run=running outgoing=false guest=running deleting=false\nport binding on h2\nvm running on h2, in hands of \"\""
	if got := w.facts(); got != want {
		return fmt.Errorf("the world is\n%s\nwant\n%s", got, want)
	}
	return nil
}

func (w *world) invariant() error {
	running := 0
	for _, state := range w.guests {
		if state == compute.InstanceRunning || state == compute.InstanceSending {
			running++
		}
	}
	if running > 1 {
		return fmt.Errorf("%d copies of the VM run at once: %v", running, w.guests)
	}
	epochs := map[int64]bool{}
	for _, i := range store.Every(w.db.Snapshot(), compute.Instances) {
		if epochs[i.Spec.Epoch] {
			return fmt.Errorf("two instances have epoch %d", i.Spec.Epoch)
		}
		epochs[i.Spec.Epoch] = true
		// On both hosts its guest sees two nodes, and the claim there says which they are.
		claim := store.Named(w.db.Snapshot(), placement.Claims, "default", fmt.Sprintf("vm-%d", i.Spec.Epoch))
		if want := []host.NUMAPart{{Node: 0, CPUs: 1, MemoryMiB: 2500}, {Node: 1, CPUs: 1, MemoryMiB: 2500}}; !slices.Equal(i.Spec.NUMA, want) {
			return fmt.Errorf("the guest of %s sees %v", i.Name, i.Spec.NUMA)
		}
		if claim != nil && !slices.Equal(claim.Spec.NUMA, i.Spec.NUMA) {
			return fmt.Errorf("%s is bound to %v, and claims %v", i.Name, i.Spec.NUMA, claim.Spec.NUMA)
		}
	}
	return nil
}

func TestMigrationSurvivesEveryBreak(t *testing.T) {
	operationtest.Run(t, func(t testing.TB) *operationtest.World {
		_, world := newWorld(t)
		return world
	})
}

func TestMigrationIsRefusedWhereTheTargetsProcessorLacksFeatures(t *testing.T) {
	for name, target := range map[string]resource.ID{"asked for": "h2", "chosen": ""} {
		w, world := newWorld(t)
		b := w.db.Begin()
		for id, features := range map[resource.ID]string{"h1": "aes avx2", "h2": "aes"} {
			w.hosts.Set(b, store.Find(w.db.Snapshot(), host.Hosts, id), func(s *host.Status) { s.Profile.CPUFeatures = features })
		}
		if err := w.db.Commit(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		r := &operation.Run{Operation: &operation.Operation{Meta: resource.Meta{ID: "op"}}}
		r.Operation.Spec.Target, r.Operation.Spec.Input = w.record().Ref(), []byte(`{"hostID":"`+string(target)+`"}`)
		err := world.Definition.Steps[0].Do(t.Context(), r)
		if err == nil || !strings.Contains(err.Error(), "host h2 has a processor without avx2") {
			t.Errorf("%s: %v", name, err)
		}
		if all := store.Every(w.db.Snapshot(), compute.Instances); len(all) != 1 {
			t.Errorf("%s: %d instances", name, len(all))
		}
	}
}

package bench

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/virga-cloud/virga/cluster/placement"
	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/etcd"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/storage"
	"github.com/virga-cloud/virga/wiring"
)

// many measures what a server takes that has many VMs: first its records alone, of VMs that run on a thousand
// hosts, read from a state folder; then the whole daemon, with so many VMs that do not run.
func many(p *Part) {
	n := manyCount()
	p.within("records", func(p *Part) { readMany(p, n) })
	p.within("daemon", func(p *Part) { serveMany(p, n) })
}

// readMany opens a state folder as a server does at its start, and looks at what its view takes.
func readMany(p *Part, n int) {
	dir := p.TempDir()
	s := openStore(p, dir)
	begun := time.Now()
	writeMany(p, s, n)
	s.Close()
	p.Logf("the records of %d VMs are written after %v", n, time.Since(begun))
	begun = time.Now()
	s = openStore(p, dir)
	defer s.Close()
	opened := time.Since(begun)
	before := heap()
	db := store.NewDB(s, wiring.Catalog())
	begun = time.Now()
	p.must(db.Sync(p.Context()))
	read := time.Since(begun)
	after := heap()
	if strange := len(db.NotUnderstood()); strange > 0 {
		p.Fatalf("%d records are not understood", strange)
	}
	if got := len(store.Every(db.Snapshot(), compute.VMs)); got != n {
		p.Fatalf("%d VMs were written, and %d are read", n, got)
	}
	words := fmt.Sprintf("the records of %d running VMs", n)
	share := float64(n) / 100_000
	p.Add(Figure{What: words + ": state store opened and all read", Unit: "s", Ours: Summarize((opened + read).Seconds()), Target: &Target{Most: 15 * share},
		Note: fmt.Sprintf("%.1f s to open, %.1f s to read", opened.Seconds(), read.Seconds())})
	p.Add(Figure{What: words + ": the view", Unit: "MiB", Ours: Summarize(float64(after-before) / (1 << 20)), Target: &Target{Most: 2048 * share},
		Note: fmt.Sprintf("%.1f KiB a VM with its 7 other records", float64(after-before)/float64(n)/1024)})
	runtime.KeepAlive(db)
}

func openStore(p *Part, dir string) *etcd.Store {
	p.Helper()
	s, err := etcd.Open(p.Context(), etcd.Config{Dir: dir, NoSync: true})
	p.must(err)
	return s
}

// heap is what lives in this process.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// serveMany lets a daemon have so many VMs, asks it for pages of them, and starts it anew.
func serveMany(p *Part, n int) {
	c := newCloud(p, 1)
	c.creates("many", n, 32, stopped(false))
	c.quiesce()
	var took []float64
	for range 1000 {
		begun := time.Now()
		if _, err := ask(c.api, "GET", vmsPath+"?limit=200", nil, nil); err != nil {
			c.Fatalf("list VMs: %v", err)
		}
		took = append(took, ms(time.Since(begun)))
	}
	p.Add(Figure{What: fmt.Sprintf("a page of 200 of a project's %d VMs, p99", n), Unit: "ms", Ours: Summarize(Summarize(took...).P99), Target: &Target{Most: 5}, Note: fmt.Sprintf("of %d", len(took))})
	c.first.Must("down", "--state", c.first.State)
	p.Add(Figure{What: fmt.Sprintf("virga up, %d stopped VMs in the store", n), Unit: "s", Ours: Summarize(startUp(p, c.first)), Target: &Target{Most: 15 * max(0.2, float64(n)/100_000)}})
	c.api = connect(p, c.first)
	c.quiesce()
	time.Sleep(settle)
	p.Add(Figure{What: fmt.Sprintf("daemon, %d stopped VMs: anonymous memory", n), Unit: "MiB", Ours: Summarize(float64(kibibytes(fmt.Sprintf("/proc/%d/smaps_rollup", c.first.PID()), "Anonymous")) / 1024)})
}

// together is how many VMs are written in one commit: few, as commits are that people make.
const together = 10

// writeMany writes VMs on a thousand hosts, in ten projects, with all their records.
func writeMany(t testing.TB, truth store.Store, count int) {
	t.Helper()
	l := store.NewRegistry()
	vms, instances := store.Specs(l, compute.VMs, "bench"), store.Specs(l, compute.Instances, "bench")
	volumes, allocations, attachments := store.Specs(l, storage.Volumes, "bench"), store.Specs(l, storage.Allocations, "bench"), store.Specs(l, storage.Attachments, "bench")
	ports, bindings := store.Specs(l, network.Ports, "bench"), store.Specs(l, network.PortBindings, "bench")
	claims := store.Specs(l, placement.Claims, "bench")
	for first := 0; first < count; first += together {
		batch := store.NewBatch(time.Now())
		for i := first; i < min(first+together, count); i++ {
			name, project, hostID := fmt.Sprintf("vm-%d", i), resource.ID(fmt.Sprintf("p%d", i%10)), resource.ID(fmt.Sprintf("0199aaaa-0000-7000-8000-%012d", i%1000))
			meta := func(suffix string) resource.Meta {
				return resource.Meta{ID: resource.NewID(), Name: name + suffix, Project: project}
			}
			vm := &compute.VM{Meta: meta(""), Spec: compute.VMSpec{CPUs: 2, MemoryMiB: 2048, Power: compute.Running, Hostname: name}}
			vms.Create(batch, vm, "compute")
			user := vm.Ref()
			inst := &compute.Instance{Meta: meta("-1"), Spec: compute.InstanceSpec{VMID: vm.ID, VMName: name, Hostname: name, HostID: hostID, Run: compute.RunRunning, MachineType: "pc-q35-9.0", CPUModel: "host"}}
			instances.Create(batch, inst, "agent", "compute")
			volume := &storage.Volume{Meta: meta("-root"), Spec: storage.VolumeSpec{SizeMiB: 10240, DatastoreID: "0199bbbb-0000-7000-8000-000000000001"}}
			volumes.Create(batch, volume, "storage")
			allocations.Create(batch, &storage.Allocation{Meta: meta("-root"), Spec: storage.AllocationSpec{VolumeID: volume.ID, DatastoreID: "0199bbbb-0000-7000-8000-000000000001", OwnerHostID: hostID, HostIDs: []resource.ID{hostID}, SizeMiB: 10240}}, "agent", "storage")
			attachments.Create(batch, &storage.Attachment{Meta: meta("-root"), Spec: storage.AttachmentSpec{VolumeID: volume.ID, Workload: user, InstanceID: inst.ID, HostID: hostID}}, "agent")
			port := &network.Port{Meta: meta("-nic"), Spec: network.PortSpec{NetworkID: "0199cccc-0000-7000-8000-000000000001", Hostname: name},
				Status: network.PortStatus{SubnetID: "0199dddd-0000-7000-8000-000000000001", MAC: "52:54:00:12:34:56", Address: fmt.Sprintf("10.%d.%d.5", i/256%256, i%256)}}
			ports.Create(batch, port, "network")
			bindings.Create(batch, &network.PortBinding{Meta: meta("-nic"), Spec: network.PortBindingSpec{PortID: port.ID, NetworkID: port.Spec.NetworkID, Workload: user, InstanceID: inst.ID, HostID: hostID}}, "agent")
			claims.Create(batch, &placement.Claim{Meta: meta(""), Spec: placement.ClaimSpec{Workload: user, HostID: hostID, Demand: placement.Demand{CPUs: 2, MemoryMiB: 2048}, Why: "first start: most free memory of 1000 hosts"}})
		}
		changes, err := batch.Changes()
		if err == nil {
			_, err = truth.Commit(context.Background(), changes...)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

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
	"github.com/virga-cloud/virga/engine/store/memory"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/storage"
	"github.com/virga-cloud/virga/wiring"
)

// BenchmarkViewOfManyVMs reads a cloud of VMs with all their records, and says what the view of one VM takes,
// and what a page of a project's VMs does.
func BenchmarkViewOfManyVMs(b *testing.B) {
	const count = 20_000
	for range b.N {
		truth := manyVMs(b, count)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		db := store.NewDB(truth, wiring.Catalog())
		began := time.Now()
		if err := db.Sync(context.Background()); err != nil {
			b.Fatal(err)
		}
		read := time.Since(began)
		runtime.GC()
		runtime.ReadMemStats(&after)
		if n := len(db.NotUnderstood()); n > 0 {
			b.Fatalf("%d records are not understood", n)
		}
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/count/1024, "KiB/VM")
		b.ReportMetric(float64(read.Microseconds())/count, "µs-read/VM")
		began = time.Now()
		taken := 0
		for range store.InProject(db.Snapshot(), compute.VMs, "p3", "") {
			if taken++; taken == 200 {
				break
			}
		}
		b.ReportMetric(float64(time.Since(began).Microseconds()), "µs/page")
		runtime.KeepAlive(db)
	}
}

func manyVMs(b *testing.B, count int) store.Store {
	truth := memory.New()
	l := store.NewRegistry()
	vms, instances := store.Specs(l, compute.VMs, "bench"), store.Specs(l, compute.Instances, "bench")
	volumes, allocations, attachments := store.Specs(l, storage.Volumes, "bench"), store.Specs(l, storage.Allocations, "bench"), store.Specs(l, storage.Attachments, "bench")
	ports, bindings := store.Specs(l, network.Ports, "bench"), store.Specs(l, network.PortBindings, "bench")
	claims := store.Specs(l, placement.Claims, "bench")
	for i := range count {
		batch := store.NewBatch(time.Now())
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
		port := &network.Port{Meta: meta("-nic"), Spec: network.PortSpec{NetworkID: "0199cccc-0000-7000-8000-000000000001", Hostname: name}, Status: network.PortStatus{SubnetID: "0199dddd-0000-7000-8000-000000000001", MAC: "52:54:00:12:34:56", Address: "10.0.0.5"}}
		ports.Create(batch, port, "network")
		bindings.Create(batch, &network.PortBinding{Meta: meta("-nic"), Spec: network.PortBindingSpec{PortID: port.ID, NetworkID: port.Spec.NetworkID, Workload: user, InstanceID: inst.ID, HostID: hostID}}, "agent")
		claims.Create(batch, &placement.Claim{Meta: meta(""), Spec: placement.ClaimSpec{Workload: user, HostID: hostID, Demand: placement.Demand{CPUs: 2, MemoryMiB: 2048}, Why: "first start: most free memory of 1000 hosts"}})
		changes, err := batch.Changes()
		if err == nil {
			_, err = truth.Commit(context.Background(), changes...)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	return truth
}

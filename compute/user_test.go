package compute_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/virga-cloud/virga/cluster/placement"
	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/operation"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/storage"
)

func TestAHostInUseNamesTheVMsAndVolumes(t *testing.T) {
	catalog := resource.NewCatalog(compute.VMs, compute.Instances, storage.Attachments, storage.Volumes, storage.Allocations,
		network.PortBindings, network.DNSZones, network.SecurityGroups, host.Hosts, host.Livenesses, host.Removals, placement.Claims, operation.Operations)
	db := store.NewDB(memory.New(), catalog)
	db.Inline = true
	l := store.NewRegistry()
	hosts, removals := store.Specs(l, host.Hosts, "api"), store.Specs(l, host.Removals, "api")
	vms, volumes, allocations := store.Specs(l, compute.VMs, "api"), store.Specs(l, storage.Volumes, "api"), store.Specs(l, storage.Allocations, "s")
	instances, claims, attachments := store.Specs(l, compute.Instances, "c"), store.Specs(l, placement.Claims, "p"), store.Specs(l, storage.Attachments, "c")
	zones := store.Specs(l, network.DNSZones, "n")
	b := db.Begin()
	h := host.New("h1", "h1")
	hosts.Create(b, h)
	in := func(name string) resource.Meta {
		return resource.Meta{ID: resource.ID(name), Name: name, Project: "blue"}
	}
	allocate := func(volume string) {
		volumes.Create(b, &storage.Volume{Meta: in(volume)})
		a := in("a-" + volume)
		allocations.Create(b, &storage.Allocation{Meta: a, Spec: storage.AllocationSpec{VolumeID: resource.ID(volume), OwnerHostID: h.ID}})
	}
	zone := &network.DNSZone{Meta: in("z"), Spec: network.DNSZoneSpec{HostIDs: []resource.ID{h.ID}}}
	zones.Create(b, zone)
	for n := range 5 {
		vm := fmt.Sprintf("vm%d", n)
		allocate("disk-" + vm)
		vms.Create(b, &compute.VM{Meta: in(vm), Status: compute.VMStatus{Disks: []compute.DiskStatus{{VolumeID: resource.ID("disk-" + vm)}}}})
		if n == 0 {
			continue // one that is stopped, and whose disk lies there
		}
		instances.Create(b, &compute.Instance{Meta: in("i-" + vm), Spec: compute.InstanceSpec{VMID: resource.ID(vm), HostID: h.ID}})
		claims.Create(b, &placement.Claim{Meta: in("c-" + vm), Spec: placement.ClaimSpec{Workload: resource.Ref{Kind: "vm", Project: "blue", ID: resource.ID(vm)}, HostID: h.ID}})
		attachments.Create(b, &storage.Attachment{Meta: in("at-" + vm), Spec: storage.AttachmentSpec{Workload: resource.Ref{Kind: "vm", Project: "blue", ID: resource.ID(vm)}, VolumeID: resource.ID("disk-" + vm), HostID: h.ID}})
	}
	allocate("data")
	if err := db.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	m := host.Remover{Hosts: hosts, Removals: removals, User: compute.UserOfHost(catalog)}
	refused := func(kind fault.Kind) string {
		err := m.Unused(db.Begin(), db.Snapshot(), h, "root")
		if !fault.Is(err, kind) {
			t.Fatalf("refused with %v", err)
		}
		return err.Error()
	}
	want := "VM vm0 of project blue, VM vm1 of project blue, VM vm2 of project blue and 3 more; migrate"
	if got := refused(fault.Precondition); !strings.Contains(got, want) {
		t.Errorf("%s, want %s", got, want)
	}
	b = db.Begin()
	for x := range db.Snapshot().Mentioning(h.ID) {
		switch r := x.(type) {
		case *compute.Instance:
			instances.Delete(b, r)
		case *placement.Claim:
			claims.Delete(b, r)
		case *storage.Attachment:
			attachments.Delete(b, r)
		case *storage.Allocation:
			if r.Spec.VolumeID != "data" {
				allocations.Delete(b, r)
			}
		}
	}
	if err := db.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if got := refused(fault.Precondition); !strings.Contains(got, "used by volume data of project blue; ") || strings.Contains(got, "zone") {
		t.Error(got)
	}
	b = db.Begin()
	allocations.Delete(b, store.Find(db.Snapshot(), storage.Allocations, "a-data"))
	if err := db.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if got := refused(fault.Unavailable); !strings.Contains(got, "dnszone z of project blue, which goes by itself; wait and retry") {
		t.Error(got)
	}
}

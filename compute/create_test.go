package compute

import (
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/operation"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/storage"
)

func TestVMHasItsNameInEachOfItsNetworks(t *testing.T) {
	db := store.NewDB(memory.New(), resource.NewCatalog(VMs, Images, network.Networks, network.Subnets, network.Ports, storage.Volumes, operation.Operations))
	db.Now, db.Inline = func() time.Time { return time.Unix(1_700_000_000, 0) }, true
	l := store.NewRegistry()
	ports := store.Specs(l, network.Ports, "test")
	networks, subnets := store.Specs(l, network.Networks, "test"), store.Specs(l, network.Subnets, "test")
	f := &Front{VMs: store.Specs(l, VMs, "test"), Volumes: store.Specs(l, storage.Volumes, "test"), Ports: ports, Operations: store.Specs(l, operation.Operations, "test")}
	commit := func(change func(s *store.Snapshot, b *store.Batch)) {
		t.Helper()
		if err := db.CatchUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		b := db.Begin()
		change(db.Snapshot(), b)
		if err := db.Commit(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	port := func(name, address, hostname string, in *network.Network) *network.Port {
		return &network.Port{Meta: resource.Meta{Name: name, Project: "p"}, Spec: network.PortSpec{NetworkID: in.ID, Hostname: hostname},
			Status: network.PortStatus{MAC: "52:54:00:00:00:" + address[len(address)-2:], Address: address}}
	}
	commit(func(_ *store.Snapshot, b *store.Batch) {
		for i, name := range []string{"a", "b"} {
			n := &network.Network{Meta: resource.Meta{ID: resource.NewID(), Name: name, Project: "p"}}
			n.Spec.Default()
			s := &network.Subnet{Meta: resource.Meta{Name: name, Project: "p"}, Spec: network.SubnetSpec{NetworkID: n.ID, CIDR: []string{"10.1.0.0/24", "10.2.0.0/24"}[i]}}
			s.Spec.Default()
			networks.Create(b, n)
			subnets.Create(b, s)
			if name == "a" {
				ports.Create(b, port("plain", "10.1.0.50", "", n))
				ports.Create(b, port("named", "10.1.0.60", "door", n))
			}
		}
	})
	commit(func(s *store.Snapshot, b *store.Batch) {
		vm := &VM{Meta: resource.Meta{Kind: VMs.Kind, ID: resource.NewID(), Name: "web", Project: "p"},
			Spec: VMSpec{Power: Stopped, Disks: []Disk{{SizeMiB: 64}}, NICs: []NIC{{PortID: "plain"}, {PortID: "named"}, {NetworkID: "a"}, {NetworkID: "b"}}}}
		if err := f.Create(s, b, vm); err != nil {
			t.Fatal(err)
		}
		f.VMs.Create(b, vm)
	})
	names := func() map[string]string {
		out := map[string]string{}
		for _, p := range store.Every(db.Snapshot(), network.Ports) {
			out[p.Name] = p.Spec.Hostname
		}
		return out
	}
	for name, want := range map[string]string{"plain": "web", "named": "door", "web-nic2": "web", "web-nic3": "web"} {
		if got := names()[name]; got != want {
			t.Errorf("port %s has the name %q, want %q", name, got, want)
		}
	}
	commit(func(s *store.Snapshot, b *store.Batch) {
		if err := f.Delete(s, b, store.Named(s, VMs, "p", "web")); err != nil {
			t.Fatal(err)
		}
	})
	for name, want := range map[string]string{"plain": "", "named": "door"} {
		if got := names()[name]; got != want {
			t.Errorf("after the VM port %s has the name %q, want %q", name, got, want)
		}
	}
}

// In a range of four addresses one that is drawn would soon be the one that another NIC asks for.
func TestNoNICDrawsTheAddressThatAnotherOneOfTheVMAsksFor(t *testing.T) {
	for range 20 {
		db := store.NewDB(memory.New(), resource.NewCatalog(VMs, Images, network.Networks, network.Subnets, network.Ports, storage.Volumes, operation.Operations))
		db.Inline = true
		l := store.NewRegistry()
		networks, subnets := store.Specs(l, network.Networks, "test"), store.Specs(l, network.Subnets, "test")
		f := &Front{VMs: store.Specs(l, VMs, "test"), Volumes: store.Specs(l, storage.Volumes, "test"), Ports: store.Specs(l, network.Ports, "test")}
		b := db.Begin()
		n := &network.Network{Meta: resource.Meta{ID: resource.NewID(), Name: network.DefaultNetwork, Project: "p"}}
		n.Spec.Default()
		s := &network.Subnet{Meta: resource.Meta{Name: "few", Project: "p"}, Spec: network.SubnetSpec{NetworkID: n.ID, CIDR: "10.1.0.0/29"}}
		s.Spec.Default()
		networks.Create(b, n)
		subnets.Create(b, s)
		if err := db.Commit(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		vm := &VM{Meta: resource.Meta{ID: resource.NewID(), Name: "web", Project: "p"},
			Spec: VMSpec{Power: Stopped, Disks: []Disk{{SizeMiB: 64}}, NICs: []NIC{{}, {}, {NetworkID: network.DefaultNetwork}, {Address: "10.1.0.5"}}}}
		b = db.Begin()
		if err := f.Create(db.Snapshot(), b, vm); err != nil {
			t.Fatal(err)
		}
		f.VMs.Create(b, vm)
		if err := db.Commit(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
}

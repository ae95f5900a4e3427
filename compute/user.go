package compute

import (
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/storage"
)

// UserOfHost says which VM or volume a record belongs to that speaks of a host: people have made
// those, and can move or delete them. Empty: it follows the VMs of the host.
func UserOfHost(c *resource.Catalog) func(*store.Snapshot, resource.Object) string {
	return func(s *store.Snapshot, x resource.Object) string {
		if x.Head().Kind == network.DNSZones.Kind {
			return ""
		}
		if user := named(s, x.Head().Ref()); user != "" {
			return user
		}
		kind, _ := c.Lookup(x.Head().Kind)
		for _, ref := range kind.Refs(x) {
			if user := named(s, ref); user != "" {
				return user
			}
		}
		return string(x.Head().Kind) + " " + x.Head().Name
	}
}

// named names a VM, or a volume by the VM that has it among its disks.
func named(s *store.Snapshot, ref resource.Ref) string {
	if vm := store.Find(s, VMs, ref.ID); vm != nil {
		return "VM " + vm.Name
	}
	v := store.Find(s, storage.Volumes, ref.ID)
	if v == nil {
		return ""
	}
	for _, vm := range store.Referring(s, VMs, v.ID) {
		return "VM " + vm.Name
	}
	return "volume " + v.Name
}

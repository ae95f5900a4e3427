package network

import (
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// Seeder is what may make the network of a new project, and remove it: the API's rights.
type Seeder struct {
	Networks *store.SpecWriter[Spec, Status]
	Subnets  *store.SpecWriter[SubnetSpec, SubnetStatus]
	Groups   *store.SpecWriter[SecurityGroupSpec, SecurityGroupStatus]
}

// SeedDefaults creates the network that every project has from the first moment, and the security group of
// ports that name none, which lets everything through until its rules are others. Networks are
// apart by tenant, so that all projects can have the same range.
func (w Seeder) SeedDefaults(b *store.Batch, project resource.ID) {
	n := &Network{Meta: resource.Meta{ID: resource.NewID(), Name: DefaultNetwork, Project: project},
		Spec: Spec{Description: "made with the project"}}
	n.Spec.Default()
	subnet := &Subnet{Meta: resource.Meta{Name: DefaultNetwork, Project: project},
		Spec: SubnetSpec{NetworkID: n.ID, CIDR: "10.20.0.0/20"}}
	subnet.Spec.Default()
	w.Networks.Create(b, n, Holder)
	w.Subnets.Create(b, subnet, Holder)
	group := &SecurityGroup{Meta: resource.Meta{Name: DefaultGroup, Project: project},
		Spec: SecurityGroupSpec{Description: "made with the project; ports that name no group are in it",
			Rules: []SecurityRule{{Name: "in", Direction: Ingress}, {Name: "out", Direction: Egress}}}}
	group.Spec.Default()
	w.Groups.Create(b, group)
}

// Has reports whether a record is a part of a project's default network, as it was made.
func (Seeder) Has(s *store.Snapshot, x resource.Object) bool {
	if g, is := x.(*SecurityGroup); is {
		return g.Name == DefaultGroup
	}
	n := store.Named(s, Networks, x.Head().Project, DefaultNetwork)
	if n == nil {
		return false
	}
	switch r := x.(type) {
	case *Network:
		return r.ID == n.ID
	case *Subnet:
		return r.Spec.NetworkID == n.ID && r.Name == DefaultNetwork
	case *DNSZone:
		return r.Spec.NetworkID == n.ID
	}
	return false
}

// Remove removes a project's default network and security group; the loops do the rest.
func (w Seeder) Remove(b *store.Batch, s *store.Snapshot, project resource.ID) {
	if g := store.Named(s, SecurityGroups, project, DefaultGroup); g != nil && g.Deleting == nil {
		w.Groups.Delete(b, g)
	}
	n := store.Named(s, Networks, project, DefaultNetwork)
	if n == nil || n.Deleting != nil {
		return
	}
	for _, subnet := range store.Referring(s, Subnets, n.ID) {
		w.Subnets.Delete(b, subnet)
	}
	w.Networks.Delete(b, n)
}

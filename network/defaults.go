package network

import (
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// Seeder is what may create networks and subnets: the API's rights.
type Seeder struct {
	Networks *store.SpecWriter[Spec, Status]
	Subnets  *store.SpecWriter[SubnetSpec, SubnetStatus]
}

// SeedDefaults creates the network that every project has from the first moment. Networks are
// apart by tenant, so that all projects can have the same range.
func (w Seeder) SeedDefaults(b *store.Batch, project string) {
	n := &Network{Meta: resource.Meta{ID: resource.NewID(), Name: DefaultNetwork, Project: project},
		Spec: Spec{Description: "made with the project"}}
	n.Spec.Default()
	subnet := &Subnet{Meta: resource.Meta{Name: DefaultNetwork, Project: project},
		Spec: SubnetSpec{NetworkID: n.ID, CIDR: "10.20.0.0/20"}}
	subnet.Spec.Default()
	w.Networks.Create(b, n, Holder)
	w.Subnets.Create(b, subnet, Holder)
}

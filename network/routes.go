package network

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// APIRights are the rights of the API.
type APIRights struct {
	Networks *store.SpecWriter[Spec, Status]
	Subnets  *store.SpecWriter[SubnetSpec, SubnetStatus]
	Ports    *store.SpecWriter[PortSpec, PortStatus]
}

// Register offers networks, subnets and ports, and shows port bindings and DNS zones.
func Register(a *httpapi.API, w APIRights) {
	httpapi.Register(a, Networks, httpapi.Routes[Spec, Status]{
		Specs: w.Networks, Holders: []string{Holder}, Default: (*Spec).Default, Check: (*Spec).Check, Deleting: w.deleteNetwork,
		Ready: func(n *Network) (bool, error) {
			return n.Status.Phase == Ready && n.Status.SeenGeneration >= n.Generation && len(n.Status.Problems) == 0, nil
		},
	})
	httpapi.Register(a, Subnets, httpapi.Routes[SubnetSpec, SubnetStatus]{
		Specs: w.Subnets, Holders: []string{Holder}, Default: (*SubnetSpec).Default, Check: (*SubnetSpec).Check,
		Input: httpapi.Creating(w.createSubnet), Changing: changeSubnet, Deleting: deleteSubnet,
	})
	httpapi.Register(a, Ports, httpapi.Routes[PortSpec, PortStatus]{
		Specs: w.Ports, Holders: []string{Holder}, Default: (*PortSpec).Default, Check: (*PortSpec).Check,
		Input: httpapi.Creating(w.createPort), Changing: changePort, Deleting: deletePort,
	})
	httpapi.Register(a, PortBindings, httpapi.Routes[PortBindingSpec, PortBindingStatus]{})
	httpapi.Register(a, DNSZones, httpapi.Routes[DNSZoneSpec, DNSZoneStatus]{})
}

// deleteNetwork takes the empty subnets along: they are a part of it. Ports are not.
func (w APIRights) deleteNetwork(_ context.Context, c *httpapi.Call, n *Network) error {
	if why := portsIn(c.Snapshot, n.ID); why != "" {
		return fault.New(fault.Precondition, "delete network %s: %s", n.Name, why)
	}
	for _, s := range store.Referring(c.Snapshot, Subnets, n.ID) {
		w.Subnets.Delete(c.Batch, s)
	}
	return nil
}

func (w APIRights) createSubnet(_ context.Context, c *httpapi.Call, in *httpapi.Draft[SubnetSpec]) (*Subnet, error) {
	s := &Subnet{Meta: resource.Meta{Name: in.Name, Labels: in.Labels, Project: c.Project, ID: resource.NewID()}, Spec: in.Spec}
	s.Spec.Default()
	if err := fault.Fields("create subnet "+in.Name, s.Spec.Check()); err != nil {
		return nil, err
	}
	if err := checkResolvers("create subnet "+in.Name, &s.Spec, c.May(httpapi.Admin, "")); err != nil {
		return nil, err
	}
	if err := CheckSubnet(c.Snapshot, s); err != nil {
		return nil, err
	}
	// One that is made at this moment and overlaps is seen next time.
	c.Batch.InTurn(resource.Ref{Kind: Networks.Kind, Project: s.Project, ID: s.Spec.NetworkID}, c.Snapshot)
	w.Subnets.Create(c.Batch, s, Holder)
	return s, nil
}

func changeSubnet(_ context.Context, c *httpapi.Call, old *Subnet, spec *SubnetSpec) error {
	fixed := old.Spec
	fixed.DNS = spec.DNS
	if fmt.Sprint(fixed) != fmt.Sprint(*spec) {
		return fault.New(fault.Invalid, "change subnet %s: only its resolvers can be changed; make another subnet, and delete this one", old.Name)
	}
	return checkResolvers("change subnet "+old.Name, spec, c.May(httpapi.Admin, ""))
}

func deleteSubnet(_ context.Context, c *httpapi.Call, s *Subnet) error {
	if why := portsIn(c.Snapshot, s.ID); why != "" {
		return fault.New(fault.Precondition, "delete subnet %s: %s", s.Name, why)
	}
	return nil
}

func (w APIRights) createPort(_ context.Context, c *httpapi.Call, in *httpapi.Draft[PortSpec]) (*Port, error) {
	p := &Port{Meta: resource.Meta{Name: in.Name, Labels: in.Labels, Project: c.Project, ID: resource.NewID()}, Spec: in.Spec}
	p.Spec.Default()
	if err := fault.Fields("create port "+in.Name, p.Spec.Check()); err != nil {
		return nil, err
	}
	n := store.Find(c.Snapshot, Networks, p.Spec.NetworkID)
	if n == nil || n.Project != c.Project {
		return nil, fault.New(fault.NotFound, "create port %s: there is no network %q in project %s", in.Name, p.Spec.NetworkID, c.Project)
	}
	if err := allocateIn(c.Snapshot, n, p); err != nil {
		return nil, fault.Wrap(err, "create port %s", in.Name)
	}
	w.Ports.Create(c.Batch, p, Holder)
	return p, nil
}

// allocateIn gives a port addresses of the subnet that it names, or else of the first with free addresses.
func allocateIn(s *store.Snapshot, n *Network, p *Port) error {
	request := AddressRequest{PortID: p.ID, MAC: p.Spec.MAC, Address: p.Spec.Address}
	err := error(fault.New(fault.Precondition, "network %s has no subnet; make one first", n.Name))
	if p.Spec.SubnetID != "" {
		err = fault.New(fault.NotFound, "network %s has no subnet %q", n.Name, p.Spec.SubnetID)
	}
	for _, subnet := range store.Referring(s, Subnets, n.ID) {
		if p.Spec.SubnetID != "" && p.Spec.SubnetID != subnet.ID {
			continue
		}
		var mac, address string
		if mac, address, err = AllocatePort(s, n, subnet, request); err == nil {
			p.Spec.SubnetID, p.Spec.MAC, p.Spec.Address = subnet.ID, mac, address
			return nil
		}
	}
	return err
}

func changePort(_ context.Context, _ *httpapi.Call, old *Port, spec *PortSpec) error {
	fixed := old.Spec
	fixed.Hostname = spec.Hostname
	if fixed != *spec {
		return fault.New(fault.Invalid, "change port %s: only its host name can be changed; make another port", old.Name)
	}
	return nil
}

func deletePort(_ context.Context, c *httpapi.Call, p *Port) error {
	for x := range c.Snapshot.Mentioning(p.ID) {
		if head := x.Head(); slices.Contains([]resource.Kind{"vm", "instance", "portbinding"}, head.Kind) {
			return fault.New(fault.Precondition, "delete port %s: %s %s uses it; delete that first", p.Name, head.Kind, head.Name)
		}
	}
	if p.Owner == nil {
		return nil
	}
	if x := c.Snapshot.Lookup(p.Owner.ID); x != nil {
		return fault.New(fault.Precondition, "delete port %s: it belongs to %s %s and goes with it", p.Name, p.Owner.Kind, x.Head().Name)
	}
	return nil
}

// portsIn says in words which ports keep a network or a subnet from being deleted.
func portsIn(s *store.Snapshot, id resource.ID) string {
	var names []string
	for _, p := range store.Referring(s, Ports, id) {
		names = append(names, p.Name)
	}
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	shown := strings.Join(names[:min(3, len(names))], ", ")
	if more := len(names) - 3; more > 0 {
		shown += fmt.Sprintf(" and %d more", more)
	}
	return fmt.Sprintf("its addresses are in use by %s; delete those, or the VMs that they belong to, first", shown)
}

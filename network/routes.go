package network

import (
	"context"
	"fmt"
	"reflect"
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
	Groups   *store.SpecWriter[SecurityGroupSpec, SecurityGroupStatus]
}

// Register offers networks, subnets, ports and security groups, and shows port bindings and DNS zones.
func Register(a *httpapi.API, w APIRights) {
	httpapi.Register(a, Networks, httpapi.Routes[Spec, Status]{
		Specs: w.Networks, Holders: []string{Holder}, Default: (*Spec).Default, Check: (*Spec).Check, Deleting: w.deleteNetwork,
		Renaming: httpapi.Named[Spec, Status]("new VMs are put into it by its name; make another network instead", DefaultNetwork),
		Ready: func(n *Network) (bool, error) {
			return n.Status.Phase == Ready && n.Status.SeenGeneration >= n.Generation && len(n.Status.Problems) == 0, nil
		},
	})
	httpapi.Register(a, Subnets, httpapi.Routes[SubnetSpec, SubnetStatus]{
		Specs: w.Subnets, Holders: []string{Holder}, Default: (*SubnetSpec).Default, Check: (*SubnetSpec).Check,
		Creating: createSubnet, Changing: changeSubnet, Deleting: deleteSubnet,
	})
	httpapi.Register(a, Ports, httpapi.Routes[PortSpec, PortStatus]{
		Specs: w.Ports, Holders: []string{Holder}, Default: (*PortSpec).Default, Check: (*PortSpec).Check,
		Creating: createPort, Changing: changePort, Deleting: deletePort,
	})
	httpapi.Register(a, SecurityGroups, httpapi.Routes[SecurityGroupSpec, SecurityGroupStatus]{
		Specs: w.Groups, Default: (*SecurityGroupSpec).Default, Check: (*SecurityGroupSpec).Check, Creating: createGroup, Changing: changeGroup, Deleting: deleteGroup,
		Renaming: httpapi.Named[SecurityGroupSpec, SecurityGroupStatus]("ports that name none are put into it by its name; change its rules instead", DefaultGroup),
	})
	httpapi.Register(a, PortBindings, httpapi.Routes[PortBindingSpec, PortBindingStatus]{})
	httpapi.Register(a, DNSZones, httpapi.Routes[DNSZoneSpec, DNSZoneStatus]{})
	registerTrace(a)
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

func createSubnet(_ context.Context, c *httpapi.Call, s *Subnet) error {
	if err := checkResolvers("create subnet "+s.Name, &s.Spec, c.May(httpapi.Admin, "")); err != nil {
		return err
	}
	if err := CheckSubnet(c.Snapshot, s); err != nil {
		return err
	}
	// One that is made at this moment and overlaps is seen next time.
	c.Batch.InTurn(resource.Ref{Kind: Networks.Kind, Project: s.Project, ID: s.Spec.NetworkID}, c.Snapshot)
	return nil
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

func createPort(_ context.Context, c *httpapi.Call, p *Port) error {
	return fault.Wrap(Allocate(c.Snapshot, p), "create port %s", p.Name)
}

func changePort(_ context.Context, c *httpapi.Call, old *Port, spec *PortSpec) error {
	fixed := old.Spec
	fixed.Hostname, fixed.SendKbps, fixed.ReceiveKbps, fixed.SecurityGroupIDs = spec.Hostname, spec.SendKbps, spec.ReceiveKbps, spec.SecurityGroupIDs
	// What it was given may be written down as what it must have.
	for _, x := range []struct {
		is            string
		wanted, fixed *string
	}{
		{string(old.Status.SubnetID), (*string)(&spec.SubnetID), (*string)(&fixed.SubnetID)},
		{old.Status.MAC, &spec.MAC, &fixed.MAC}, {old.Status.Address, &spec.Address, &fixed.Address},
	} {
		if *x.wanted == x.is || *x.wanted == "" {
			*x.fixed = *x.wanted
		}
	}
	if !reflect.DeepEqual(fixed, *spec) {
		return fault.New(fault.Invalid, "change port %s: only its host name, its limits and its security groups can be changed; make another port", old.Name)
	}
	return CheckGroups(c.Snapshot, "change port "+old.Name, old.Project, spec.SecurityGroupIDs)
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

func createGroup(_ context.Context, c *httpapi.Call, g *SecurityGroup) error {
	return checkRules(c.Snapshot, "create security group "+g.Name, g, &g.Spec)
}

func changeGroup(_ context.Context, c *httpapi.Call, old *SecurityGroup, spec *SecurityGroupSpec) error {
	return checkRules(c.Snapshot, "change security group "+old.Name, old, spec)
}

// deleteGroup says who is in a group, or speaks of it.
func deleteGroup(_ context.Context, c *httpapi.Call, g *SecurityGroup) error {
	refuse := func(who string) error {
		return fault.New(fault.Precondition, "delete security group %s: %s", g.Name, who)
	}
	if names := namesOf(store.Referring(c.Snapshot, Ports, g.ID)); names != "" {
		return refuse("its members are " + names + "; put those into another one first: virga port set NAME --security-group GROUP")
	}
	others := slices.DeleteFunc(slices.Clone(store.Referring(c.Snapshot, SecurityGroups, g.ID)), func(x *SecurityGroup) bool { return x.ID == g.ID })
	if names := namesOf(others); names != "" {
		return refuse("rules of " + names + " speak of it; remove those rules first")
	}
	return nil
}

// portsIn says in words which ports keep a network or a subnet from being deleted.
func portsIn(s *store.Snapshot, id resource.ID) string {
	if names := namesOf(store.Referring(s, Ports, id)); names != "" {
		return fmt.Sprintf("its addresses are in use by %s; delete those, or the VMs that they belong to, first", names)
	}
	return ""
}

// namesOf names some of the records, and says how many more there are.
func namesOf[S, T any](all []*resource.Record[S, T]) string {
	var names []string
	for _, r := range all {
		names = append(names, r.Name)
	}
	slices.Sort(names)
	shown := strings.Join(names[:min(3, len(names))], ", ")
	if more := len(names) - 3; more > 0 {
		shown += fmt.Sprintf(" and %d more", more)
	}
	return shown
}

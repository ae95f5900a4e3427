package network

import (
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/host"
)

// Outside says how a network reaches the world.
type Outside string

// The ways.
const (
	NAT     Outside = "nat"  // through the cloud's gateway, with the gateway's address
	Nowhere Outside = "none" // not at all
)

// The phases of networks, subnets and ports.
const (
	Pending = "pending"
	Ready   = "ready"
)

// DefaultNetwork is there from the first start, in every project.
const DefaultNetwork = "default"

// DefaultGroup is the security group of ports that name none, in every project from the first moment.
const DefaultGroup = "default"

// Spec is what is wanted of a network.
type Spec struct {
	// Description is for people.
	Description string `json:"description,omitempty"`
	// MTU is the largest packet inside, in bytes; the overlay takes 58 of the hosts' MTU.
	MTU int64 `json:"mtu"`
	// Outside says how it reaches the world.
	Outside Outside `json:"outside" enum:"nat,none"`
	// Domain is the DNS domain of its VMs: web.DOMAIN.
	Domain string `json:"domain,omitempty"`
}

// Status is what is known of it.
type Status struct {
	resource.Observed
	// Phase is pending or ready.
	Phase string `json:"phase,omitempty" enum:"pending,ready"`
	// OutsideAddress is the address of its router on the way out, which its VMs' packets leave
	// with: an IPv4 address of the range that the hosts translate. Empty without a way out.
	OutsideAddress string `json:"outsideAddress,omitempty"`
}

// Network is a broadcast domain of one tenant.
type Network = resource.Record[Spec, Status]

// Networks is the kind.
var Networks = resource.Define("network", "networks", resource.Options[Spec, Status]{
	Doc: "A virtual network of one tenant.", Scope: resource.InProject,
	Counts: map[string]func(*Network) int64{"networks": resource.One[Spec, Status]},
	Takes: func(n *Network) []string {
		if n.Status.OutsideAddress == "" {
			return nil
		}
		return []string{outside(n.Status.OutsideAddress)}
	},
})

// SubnetSpec is a range of addresses.
type SubnetSpec struct {
	// NetworkID is the network it belongs to; a request may name it instead.
	NetworkID resource.ID `json:"networkID" ref:"network"`
	// CIDR is the range: 10.0.0.0/24.
	CIDR string `json:"cidr"`
	// Gateway is the router's address in it: the first address unless said otherwise.
	Gateway string `json:"gateway"`
	// Service is the address of DNS and metadata in it: the second address unless said otherwise.
	Service string `json:"service"`
	// DNS are the resolvers that its VMs' questions about the world are passed on to, the preferred one
	// first; empty: the hosts' own.
	DNS []string `json:"dns,omitempty"`
}

// SubnetStatus is what is known of it.
type SubnetStatus struct {
	resource.Observed
	// Phase is pending or ready.
	Phase string `json:"phase,omitempty" enum:"pending,ready"`
	// FreeAddresses is how many more ports fit.
	FreeAddresses int64 `json:"freeAddresses"`
}

// Subnet is a range of addresses in a network.
type Subnet = resource.Record[SubnetSpec, SubnetStatus]

// Subnets is the kind.
var Subnets = resource.Define("subnet", "subnets", resource.Options[SubnetSpec, SubnetStatus]{
	Doc: "A range of addresses in a network.", Scope: resource.InProject,
	Counts: map[string]func(*Subnet) int64{"subnets": resource.One[SubnetSpec, SubnetStatus]},
	Needs: func(s *Subnet) []resource.Need {
		return []resource.Need{{Ref: resource.Ref{Kind: "network", Project: s.Project, ID: s.Spec.NetworkID}, Tie: resource.Following}}
	},
})

// PortSpec is a place in a network.
type PortSpec struct {
	// NetworkID is where; a request may name it instead.
	NetworkID resource.ID `json:"networkID" ref:"network"`
	// SubnetID is the subnet that its address is of; a request may name it. Empty: the first with free addresses.
	SubnetID resource.ID `json:"subnetID,omitempty" ref:"subnet"`
	// MAC is the hardware address that it must have, for example "52:54:00:12:34:56"; empty: one is chosen.
	MAC string `json:"mac,omitempty"`
	// Address is the IPv4 address that it must have; empty: one is chosen.
	Address string `json:"address,omitempty"`
	// Hostname is the name that DNS gives it.
	Hostname string `json:"hostname,omitempty"`
	// SendKbps is the most that its VM sends, ReceiveKbps the most that reaches it, in kbit/s; 0: no limit.
	// They may change at any time.
	SendKbps    int64 `json:"sendKbps,omitempty"`
	ReceiveKbps int64 `json:"receiveKbps,omitempty"`
	// SecurityGroupIDs are the security groups that it is in; a request may name them. Empty in a request for a new
	// port: the project's "default". They may change at any time.
	SecurityGroupIDs []resource.ID `json:"securityGroupIDs,omitempty" ref:"securitygroup"`
}

// PortStatus is what is known of it.
type PortStatus struct {
	resource.Observed
	// Phase is pending or ready: the virtual network carries it as soon as a host has it.
	Phase string `json:"phase,omitempty" enum:"pending,ready"`
	// SubnetID, MAC and Address are what it has.
	SubnetID resource.ID `json:"subnetID,omitempty"`
	MAC      string      `json:"mac,omitempty"`
	Address  string      `json:"address,omitempty"`
	// HostIDs are the hosts that it is bound to: two while its VM moves.
	HostIDs []resource.ID `json:"hostIDs,omitempty"`
}

// Port is a place in a network with its own addresses.
type Port = resource.Record[PortSpec, PortStatus]

// Ports is the kind.
var Ports = resource.Define("port", "ports", resource.Options[PortSpec, PortStatus]{
	Doc: "A place in a network with its own MAC and IP address.", Scope: resource.InProject,
	Counts: map[string]func(*Port) int64{"ports": resource.One[PortSpec, PortStatus]},
	Guards: map[string]resource.Sight{"status.hostIDs": resource.Operator},
	Needs: func(p *Port) []resource.Need {
		return append([]resource.Need{
			{Ref: resource.Ref{Kind: "network", Project: p.Project, ID: p.Spec.NetworkID}}, {Ref: resource.Ref{Kind: "subnet", Project: p.Project, ID: p.Status.SubnetID}},
		}, GroupNeeds(p.Project, p.Spec.SecurityGroupIDs)...)
	},
	Takes: func(p *Port) []string {
		return []string{addressIn(p.Spec.NetworkID, p.Status.Address), macIn(p.Spec.NetworkID, p.Status.MAC)}
	},
})

// PortBindingSpec puts a port onto a host.
type PortBindingSpec struct {
	// PortID is the port.
	PortID resource.ID `json:"portID"`
	// NetworkID is the port's network.
	NetworkID resource.ID `json:"networkID"`
	// Workload is who uses it: a VM. InstanceID is which run of it.
	Workload   resource.Ref `json:"workload"`
	InstanceID resource.ID  `json:"instanceID"`
	// HostID is where.
	HostID resource.ID `json:"hostID"`
	// Epoch is the owner's: the port binding with the highest decides where the port lives.
	Epoch int64 `json:"epoch"`
	// Left: the VM has moved on to another host. The port lives there; frames that still come
	// here are carried on, until this port binding goes.
	Left bool `json:"left,omitempty"`
	// UID is the user that must be able to open the tap.
	UID int64 `json:"uid,omitempty"`
	// MAC, Address, PrefixLength, Gateway, Service, MTU are the port's, so that the host needs no other record.
	MAC          string `json:"mac"`
	Address      string `json:"address"`
	PrefixLength int64  `json:"prefixLength"`
	Gateway      string `json:"gateway"`
	Service      string `json:"service"`
	MTU          int64  `json:"mtu"`
	// Queues is how many the tap must have; 0: one.
	Queues int64 `json:"queues,omitempty"`
}

// The phases of a port binding.
const (
	PortBindingWaiting = "waiting"
	PortBindingReady   = "ready"
	PortBindingClosed  = "closed"
)

// PortBindingStatus is what the agent did.
type PortBindingStatus struct {
	resource.Observed
	// Phase is waiting, ready or closed.
	Phase string `json:"phase,omitempty" enum:"waiting,ready,closed"`
	// Device is the tap's name on the host.
	Device string `json:"device,omitempty"`
}

// PortBinding is a port on a host.
type PortBinding = resource.Record[PortBindingSpec, PortBindingStatus]

// PortBindings is the kind.
var PortBindings = resource.Define("portbinding", "portbindings", resource.Options[PortBindingSpec, PortBindingStatus]{
	Doc: "A port on a host: a tap on the virtual switch.", Scope: resource.InProject, Reach: resource.NamedHost,
	Guards: map[string]resource.Sight{"spec.hostID": resource.Operator, "spec.uid": resource.Operator, "status.device": resource.Operator},
	Refs: func(p *PortBinding) []resource.Ref {
		return []resource.Ref{
			{Kind: "network", Project: p.Project, ID: p.Spec.NetworkID}, p.Spec.Workload,
			{Kind: "instance", Project: p.Project, ID: p.Spec.InstanceID}, host.Ref(p.Spec.HostID),
		}
	},
	Needs: func(p *PortBinding) []resource.Need {
		return []resource.Need{{Ref: resource.Ref{Kind: "port", Project: p.Project, ID: p.Spec.PortID}, Tie: resource.Following}}
	},
})

// DNSZoneSpec is the names of one network.
type DNSZoneSpec struct {
	// NetworkID is the network.
	NetworkID resource.ID `json:"networkID"`
	// HostIDs are the hosts that have port bindings in it.
	HostIDs []resource.ID `json:"hostIDs,omitempty"`
	// Domain is the DNS domain.
	Domain string `json:"domain"`
	// Hosts are the names of the ports, the oldest port first. Of equal names the first has the
	// address record; each address has its own reverse record.
	Hosts []DNSZoneHost `json:"hosts,omitempty"`
	// ServiceMAC is the hardware address of the service port on every host.
	ServiceMAC string `json:"serviceMAC"`
	// ServicePortID names the service port in the virtual network.
	ServicePortID resource.ID `json:"servicePortID"`
	// Subnets are the ranges of the network, by service address.
	Subnets []DNSZoneSubnet `json:"subnets,omitempty"`
}

// DNSZoneHost is a name with its address.
type DNSZoneHost struct {
	// Name is a host name without the domain.
	Name string `json:"name"`
	// Address is an IPv4 address.
	Address string `json:"address"`
}

// DNSZoneSubnet is what DNS and metadata know of one subnet.
type DNSZoneSubnet struct {
	// Service is the address of DNS and metadata with the length of the range: 10.0.0.2/24.
	Service string `json:"service"`
	// DNS are the resolvers for its VMs' questions about the world, the preferred one first; empty:
	// the hosts' own.
	DNS []string `json:"dns,omitempty"`
}

// DNSZoneStatus has nothing to observe.
type DNSZoneStatus struct{ resource.Observed }

// DNSZone is the names and services of one network, for the hosts that need them.
type DNSZone = resource.Record[DNSZoneSpec, DNSZoneStatus]

// DNSZones is the kind.
var DNSZones = resource.Define("dnszone", "dnszones", resource.Options[DNSZoneSpec, DNSZoneStatus]{
	Doc: "The names and services of one network, for the hosts that need them.", Scope: resource.InProject, Reach: resource.NamedHost,
	Guards: map[string]resource.Sight{"spec.hostIDs": resource.Operator},
	Needs: func(z *DNSZone) []resource.Need {
		return []resource.Need{{Ref: resource.Ref{Kind: "network", Project: z.Project, ID: z.Spec.NetworkID}, Tie: resource.Following}}
	},
	Refs: func(z *DNSZone) []resource.Ref {
		out := []resource.Ref{{Kind: "network", Project: z.Project, ID: z.Spec.NetworkID}}
		for _, id := range z.Spec.HostIDs {
			out = append(out, host.Ref(id))
		}
		return out
	},
})

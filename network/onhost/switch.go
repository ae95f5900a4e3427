package onhost

import (
	"context"
	"net"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/network"
)

// Port is what the switch is told of a port binding.
type Port struct {
	// PortBindingID names the port on this host, PortID and NetworkID its place in the virtual network.
	PortBindingID, PortID, NetworkID resource.ID
	// UID may open the tap.
	UID int64
	// MTU in bytes.
	MTU int64
	// Queues is how many a guest opens; the tap of one that opens several can be opened by several programs.
	Queues int64
}

// Attached is a port that is there.
type Attached struct {
	PortBindingID, PortID resource.ID
	// Device is the tap's name.
	Device string
	// Ready: the virtual network forwards for it, so that a guest's first packet gets an answer.
	Ready bool
	// Why it is not ready.
	Why string
}

// Service is the place of DNS and metadata of one network on this host.
type Service struct {
	// DNSZoneID names it on this host, PortID is its place in the virtual network.
	DNSZoneID, PortID resource.ID
	// MAC and Addresses (CIDR) are the same on every host.
	MAC       string
	Addresses []string
}

// Place opens sockets inside a network.
type Place interface {
	Listen(ctx context.Context, address string) (net.Listener, error)
	ListenPacket(ctx context.Context, address string) (net.PacketConn, error)
}

// Switch is the virtual switch of this host.
type Switch interface {
	// Setup starts or adopts the switch. Ports and services come after it.
	Setup(ctx context.Context) error
	// EnsurePort makes a tap that is a port; adopting what is there, it does not disturb a guest.
	EnsurePort(ctx context.Context, p Port) (Attached, error)
	// RemovePort removes both; absent is success.
	RemovePort(ctx context.Context, bindingID resource.ID) error
	// ListPorts lists every port and tap of ours, or fails.
	ListPorts(ctx context.Context) ([]Attached, error)
	// EnsureService makes a place inside a network.
	EnsureService(ctx context.Context, s Service) (Place, error)
	// RemoveService removes it; absent is success.
	RemoveService(ctx context.Context, zoneID resource.ID) error
	// ListServices lists the DNS zones that have a place, or fails.
	ListServices(ctx context.Context) ([]resource.ID, error)
	// Teardown removes everything that Setup and its followers made.
	Teardown(ctx context.Context) error
}

// Resident is a VM's port on this host.
type Resident struct {
	InstanceID resource.ID
	MAC        string
}

// DesiredState is what a responder answers from: the names of a network, and who has which address here.
type DesiredState struct {
	DNSZone   *network.DNSZone
	Residents map[string]Resident
}

// Responder answers questions from inside networks.
type Responder interface {
	// Ensure answers in place from the desired state; called again it takes the new one.
	Ensure(ctx context.Context, place Place, desired DesiredState) error
	// Remove stops answering for a DNS zone; absent is success.
	Remove(zoneID resource.ID)
}

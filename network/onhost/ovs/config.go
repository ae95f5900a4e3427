package ovs

import (
	"crypto/sha256"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/host"
)

// TLS are files of the cloud's own CA, in PEM.
type TLS struct{ Key, Certificate, CA string }

// Config is how this host's switch is to be.
type Config struct {
	// State and Run are the daemon's folders; ours is ovs in each.
	State, Run string
	// HostID is the chassis' name in the virtual network, Hostname is for people.
	HostID   resource.ID
	Hostname string
	// Datapath is where packets are forwarded; empty: probed.
	Datapath host.Datapath
	// Remote is OVN's southbound database: unix:PATH or ssl:ADDRESS:PORT. TLS goes with the latter.
	Remote string
	TLS    *TLS
	// TunnelAddress is this host's end of the overlay's tunnels.
	TunnelAddress string
	// Uplink is the NIC that carries the tunnels in the user-space datapath: it and its addresses
	// move to the bridge br-ul. Empty on a single host, and with the kernel's datapath.
	Uplink string
	// Outside is the address of this host on br-ex, as CIDR, and OutsideMAC its hardware address:
	// the same on every host. ExternalNetwork is what OVN calls it.
	Outside, OutsideMAC, ExternalNetwork string
	// HostPorts are TCP ports of this host that VMs may reach by way of br-ex; they may ping it
	// anyhow, and reach nothing else of it.
	HostPorts []int
	// System is the socket of an Open vSwitch that the host may run; empty: the distribution's.
	System string
}

// Underlay is the bridge of the tunnels' NIC in a switch in user space; it has the NIC's addresses.
const Underlay = "br-ul"

const (
	integration = "br-int"
	external    = "br-ex"
	userspace   = "ovs-netdev" // of a switch in user space; it outlives a vswitchd that was killed
	systemDB    = "/var/run/openvswitch/db.sock"
)

func (c Config) state(name string) string { return filepath.Join(c.State, "ovs", name) }
func (c Config) folder() string           { return filepath.Join(c.Run, "ovs") }
func (c Config) run(name string) string   { return filepath.Join(c.folder(), name) }

// table is the name of our nft tables: unique to the state folder.
func (c Config) table() string {
	sum := sha256.Sum256([]byte(c.State))
	return fmt.Sprintf("virga-%x", sum[:4])
}

func (c Config) check() error {
	switch {
	case c.State == "" || c.Run == "" || c.HostID == "":
		return fault.New(fault.Invalid, "set up the switch: state folder, run folder and host id are needed")
	case len(c.run("ovn-controller.1234567.ctl")) > 107:
		return fault.New(fault.Invalid, "set up the switch: the run folder %s is too long a path for sockets; use a shorter one", c.Run)
	case strings.HasPrefix(c.Remote, "ssl:") && c.TLS == nil:
		return fault.New(fault.Invalid, "set up the switch: %s needs certificates", c.Remote)
	case net.ParseIP(c.TunnelAddress) == nil:
		return fault.New(fault.Invalid, "set up the switch: %q is no address for tunnels", c.TunnelAddress)
	}
	return nil
}

// ProbeDatapath says what this kernel offers.
func ProbeDatapath() host.Datapath {
	if _, err := netlink.GenlFamilyGet("ovs_datapath"); err == nil {
		return host.SystemDatapath
	}
	return host.NetdevDatapath
}

// source is whose Open vSwitch is used.
type source string

const (
	own   source = "own"
	their source = "theirs"
)

// choose takes the host's own Open vSwitch where it runs and the kernel forwards: two of them
// would fight over one datapath. In user space ours is apart from any other.
func choose(datapath host.Datapath, running bool) source {
	if datapath == host.SystemDatapath && running {
		return their
	}
	return own
}

func answers(socket string) bool {
	if _, err := os.Stat(socket); err != nil {
		return false
	}
	conn, err := net.DialTimeout("unix", socket, time.Second)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

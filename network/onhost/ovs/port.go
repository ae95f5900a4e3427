package ovs

import (
	"context"
	"strings"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/network/onhost"
	"github.com/virga-cloud/virga/network/onhost/vswitchdb"
)

const (
	tapPrefix     = "vt"
	servicePrefix = "vs"
	bindingWord   = "virga-port-binding"
	zoneWord      = "virga-dns-zone"
	// A port is mostly ready within 60 ms; to wait for it saves a round of the loop.
	readyWithin = 300 * time.Millisecond
)

// device names a tap or a service's device: the last twelve digits of an id are random.
func device(prefix string, id resource.ID) string {
	digits := strings.ReplaceAll(string(id), "-", "")
	return prefix + digits[max(0, len(digits)-12):]
}

// EnsurePort implements onhost.Switch.
func (s *Switch) EnsurePort(ctx context.Context, p onhost.Port) (onhost.Attached, error) {
	name := device(tapPrefix, p.PortBindingID)
	at := onhost.Attached{PortBindingID: p.PortBindingID, PortID: p.PortID, Device: name}
	if _, err := s.db.connected(ctx); err != nil {
		return at, err
	}
	link, err := findLink(name)
	if err != nil {
		return at, err
	}
	if link == nil {
		// A port that outlived its tap is bound to a device that is no more: it goes first (trap 4).
		if err := s.db.removePort(ctx, integration, name); err != nil {
			return at, err
		}
		if err := createTap(name, p.UID, p.Queues > 1); err != nil {
			return at, err
		}
		if link, err = findLink(name); err != nil || link == nil {
			return at, fault.New(fault.Unavailable, "create the tap %s: it is gone at once", name)
		}
	}
	if err := s.prepare(ctx, link, string(p.PortBindingID), s.tapMTU(int(p.MTU))); err != nil {
		return at, err
	}
	if err := s.db.ensurePort(ctx, integration, name, map[string]string{"iface-id": string(p.PortID), bindingWord: string(p.PortBindingID)}); err != nil {
		return at, err
	}
	if !within(ctx, readyWithin, func() bool { at.Ready, at.Why = s.ready(name); return at.Ready }) {
		at.Why = s.cause(at.Why)
	}
	return at, nil
}

// cause says why a port waits: what does not run, before what does not happen for that reason.
func (s *Switch) cause(why string) string {
	for _, p := range s.programs() {
		if p.PID() == 0 {
			return "the virtual switch of this host does not work, because its " + p.Name + " does not run; the host's log says why it does not start"
		}
	}
	return "the virtual switch of this host does not forward for it: " + why
}

// prepare makes a device fit for the switch. The guard comes before the device is up: not one
// frame of a guest reaches the host's own stack.
func (s *Switch) prepare(ctx context.Context, link netlink.Link, alias string, mtu int) error {
	name := link.Attrs().Name
	if link.Attrs().Alias != alias {
		if err := netlink.LinkSetAlias(link, alias); err != nil {
			return fault.New(fault.Unavailable, "name the device %s: %w", name, err)
		}
	}
	if s.datapath == host.NetdevDatapath {
		if err := nft(ctx, guardScript(s.config.table(), name)); err != nil {
			return err
		}
	}
	if err := silence(name); err != nil {
		return err
	}
	if err := txOff(name); err != nil {
		return err
	}
	if mtu > 0 && link.Attrs().MTU != mtu {
		if err := netlink.LinkSetMTU(link, mtu); err != nil {
			return fault.New(fault.Unavailable, "set the MTU of %s to %d: %w", name, mtu, err)
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fault.New(fault.Unavailable, "set %s up: %w", name, err)
	}
	return nil
}

func (s *Switch) ready(name string) (bool, string) {
	i := s.db.iface(name)
	switch {
	case i == nil:
		return false, "it is no port of the switch"
	case i.Error != nil && *i.Error != "":
		return false, *i.Error
	case i.Ofport == nil || *i.Ofport <= 0:
		return false, "the switch has not opened it yet"
	case i.ExternalIDs["ovn-installed"] != "true":
		return false, "the virtual network does not forward for it yet"
	}
	return true, ""
}

// RemovePort implements onhost.Switch.
func (s *Switch) RemovePort(ctx context.Context, bindingID resource.ID) error {
	return s.removeDevice(ctx, device(tapPrefix, bindingID))
}

func (s *Switch) removeDevice(ctx context.Context, name string) error {
	link, err := findLink(name)
	if err != nil {
		return err
	}
	if _, err := s.db.connected(ctx); err != nil {
		return err
	}
	if link == nil && s.db.port(name) == nil {
		return nil
	}
	if err := s.db.removePort(ctx, integration, name); err != nil {
		return err
	}
	if err := deleteLink(name); err != nil {
		return err
	}
	if s.datapath == host.NetdevDatapath {
		return nft(ctx, unguardScript(s.config.table(), name)) // last: there is no moment without it
	}
	return nil
}

// ListPorts implements onhost.Switch: what the switch knows, and taps that never became ports.
func (s *Switch) ListPorts(ctx context.Context) ([]onhost.Attached, error) {
	if _, err := s.db.connected(ctx); err != nil {
		return nil, err
	}
	var out []onhost.Attached
	known := map[string]bool{}
	for _, m := range s.db.client.Cache().Table(vswitchdb.InterfaceTable).Rows() {
		i := m.(*vswitchdb.Interface)
		if id := i.ExternalIDs[bindingWord]; id != "" {
			at := onhost.Attached{PortBindingID: resource.ID(id), PortID: resource.ID(i.ExternalIDs["iface-id"]), Device: i.Name}
			at.Ready, at.Why = s.ready(i.Name)
			out, known[i.Name] = append(out, at), true
		}
	}
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fault.New(fault.Unavailable, "list the devices of the host: %w", err)
	}
	for _, link := range links {
		a := link.Attrs()
		if id := resource.ID(a.Alias); !known[a.Name] && id != "" && a.Name == device(tapPrefix, id) {
			out = append(out, onhost.Attached{PortBindingID: id, Device: a.Name, Why: "it is no port of the switch"})
		}
	}
	return out, nil
}

// removeDevices removes what is left of ours when the switch is gone already.
func (s *Switch) removeDevices() error {
	links, err := netlink.LinkList()
	if err != nil {
		return fault.New(fault.Unavailable, "list the devices of the host: %w", err)
	}
	for _, link := range links {
		a := link.Attrs()
		for _, prefix := range []string{tapPrefix, servicePrefix} {
			if a.Alias != "" && a.Name == device(prefix, resource.ID(a.Alias)) {
				if err := deleteLink(a.Name); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

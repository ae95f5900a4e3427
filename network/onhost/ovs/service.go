package ovs

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/network/onhost"
	"github.com/virga-cloud/virga/network/onhost/vswitchdb"
)

const (
	insideName = "svc"
	serviceMTU = 1442
)

func (s *Switch) netnsFolder() string { return filepath.Join(s.config.Run, "netns") }
func (s *Switch) netnsPath(zoneID resource.ID) string {
	return filepath.Join(s.netnsFolder(), string(zoneID))
}

// EnsureService implements onhost.Switch.
func (s *Switch) EnsureService(ctx context.Context, want onhost.Service) (onhost.Place, error) {
	path, name := s.netnsPath(want.DNSZoneID), device(servicePrefix, want.DNSZoneID)
	if _, err := s.db.connected(ctx); err != nil {
		return nil, err
	}
	if err := createNamespace(path); err != nil {
		return nil, err
	}
	link, err := findLink(name)
	if err != nil {
		return nil, err
	}
	if link != nil && !hasDevice(path, insideName) { // the other end is in a namespace of another run folder
		if err := deleteLink(name); err != nil {
			return nil, err
		}
		link = nil
	}
	if link == nil {
		if err := s.db.removePort(ctx, integration, name); err != nil {
			return nil, err
		}
		if link, err = createVethPair(path, name, want.MAC); err != nil {
			return nil, err
		}
	}
	if err := s.prepare(ctx, link, string(want.DNSZoneID), 0); err != nil {
		return nil, err
	}
	if err := furnish(path, want); err != nil {
		return nil, err
	}
	words := map[string]string{"iface-id": string(want.PortID), zoneWord: string(want.DNSZoneID)}
	if err := s.db.ensurePort(ctx, integration, name, words); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.places[want.DNSZoneID] == nil {
		s.places[want.DNSZoneID] = &place{path}
	}
	return s.places[want.DNSZoneID], nil
}

// createVethPair makes a pair of devices, one end in the namespace.
func createVethPair(path, name, mac string) (netlink.Link, error) {
	hw, err := net.ParseMAC(mac)
	if err != nil {
		return nil, fault.New(fault.Internal, "make the service's device: %w", err)
	}
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "open the namespace %s: %w", path, err)
	}
	defer ns.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = name, serviceMTU
	pair := &netlink.Veth{LinkAttrs: attrs, PeerName: insideName, PeerHardwareAddr: hw, PeerNamespace: netlink.NsFd(int(ns))}
	if err := netlink.LinkAdd(pair); err != nil {
		return nil, fault.New(fault.Unavailable, "make the service's device %s: %w", name, err)
	}
	return findLink(name)
}

// hasDevice reports whether a device is in a namespace.
func hasDevice(path, name string) (there bool) {
	err := inside(path, func() error {
		link, err := findLink(name)
		there = link != nil
		return err
	})
	return there || err != nil // in doubt nothing is taken away
}

// furnish sets addresses inside. The devices' threads are not ours: a handle goes in by itself.
func furnish(path string, want onhost.Service) error {
	return inside(path, func() error {
		link, err := findLink(insideName)
		if err != nil || link == nil {
			return fault.New(fault.Unavailable, "set up the service in %s: its device is not there", path)
		}
		if err := txOff(insideName); err != nil {
			return err
		}
		have, err := netlink.AddrList(link, netlink.FAMILY_V4)
		if err != nil {
			return fault.New(fault.Unavailable, "read the service's addresses: %w", err)
		}
		for _, a := range have {
			if !slices.Contains(want.Addresses, a.IPNet.String()) {
				_ = netlink.AddrDel(link, &a)
			}
		}
		for _, text := range want.Addresses {
			a, err := netlink.ParseAddr(text)
			if err != nil {
				return fault.New(fault.Internal, "give the service the address %s: %w", text, err)
			}
			if err := netlink.AddrReplace(link, a); err != nil {
				return fault.New(fault.Unavailable, "give the service the address %s: %w", text, err)
			}
		}
		if lo, _ := findLink("lo"); lo != nil {
			_ = netlink.LinkSetUp(lo)
		}
		if link.Attrs().Flags&unix.IFF_UP != 0 {
			return nil
		}
		return netlink.LinkSetUp(link)
	})
}

// RemoveService implements onhost.Switch.
func (s *Switch) RemoveService(ctx context.Context, zoneID resource.ID) error {
	name := device(servicePrefix, zoneID)
	if s.source == their || s.database().PID() != 0 {
		if err := s.removeDevice(ctx, name); err != nil {
			return err
		}
	} else if err := deleteLink(name); err != nil {
		return err
	}
	s.mu.Lock()
	delete(s.places, zoneID)
	s.mu.Unlock()
	return removeNamespace(s.netnsPath(zoneID))
}

// ListServices implements onhost.Switch: by their namespaces and by their ports.
func (s *Switch) ListServices(ctx context.Context) ([]resource.ID, error) {
	entries, err := os.ReadDir(s.netnsFolder())
	if err != nil && !os.IsNotExist(err) {
		return nil, fault.New(fault.Unavailable, "list the services of this host: %w", err)
	}
	var out []resource.ID
	for _, e := range entries {
		out = append(out, resource.ID(e.Name()))
	}
	if s.source == own && s.database().PID() == 0 {
		return out, nil
	}
	if _, err := s.db.connected(ctx); err != nil {
		return nil, err
	}
	for _, m := range s.db.client.Cache().Table(vswitchdb.InterfaceTable).Rows() {
		id := resource.ID(m.(*vswitchdb.Interface).ExternalIDs[zoneWord])
		if id != "" && !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out, nil
}

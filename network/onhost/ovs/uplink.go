package ovs

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"syscall"

	"github.com/vishvananda/netlink"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/network/onhost/vswitchdb"
)

// taken is what the bridge takes from the NIC, to be given back.
type taken struct {
	NIC       string   `json:"nic"`
	Addresses []string `json:"addresses"`
}

func (s *Switch) hasUplink() bool {
	return s.config.Uplink != "" && s.datapath == host.NetdevDatapath
}

// setupUplink puts the NIC of the tunnels into a bridge of the user-space switch and its
// addresses onto the bridge: only then does the switch find the way to the other hosts.
func (s *Switch) setupUplink(ctx context.Context) error {
	if !s.hasUplink() {
		return nil
	}
	nic, err := findLink(s.config.Uplink)
	if err != nil || nic == nil {
		return fault.New(fault.NotFound, "set up the tunnels: there is no device %s on this host", s.config.Uplink)
	}
	if err := s.remember(nic); err != nil {
		return err
	}
	a := nic.Attrs()
	if err := s.db.ensureBridge(ctx, &vswitchdb.Bridge{Name: underlay, DatapathType: string(s.datapath),
		ExternalIDs: map[string]string{"virga": "yes"}, OtherConfig: map[string]string{"hwaddr": a.HardwareAddr.String(), "disable-in-band": "true"}}); err != nil {
		return err
	}
	if err := s.db.ensurePort(ctx, underlay, a.Name, nil); err != nil {
		return err
	}
	bridge, err := s.awaitLink(ctx, underlay)
	if err != nil {
		return err
	}
	for _, name := range []string{a.Name, underlay} {
		if err := txOff(name); err != nil {
			return err
		}
	}
	if err := netlink.LinkSetMTU(bridge, a.MTU); err != nil {
		return fault.New(fault.Unavailable, "set the MTU of %s: %w", underlay, err)
	}
	if err := netlink.LinkSetUp(bridge); err != nil {
		return fault.New(fault.Unavailable, "set %s up: %w", underlay, err)
	}
	if err := moveAddresses(nic, bridge); err != nil {
		return err
	}
	if err := silence(a.Name); err != nil {
		return err
	}
	return nft(ctx, guardScript(s.config.table(), a.Name))
}

func (s *Switch) remember(nic netlink.Link) error {
	addresses, err := netlink.AddrList(nic, netlink.FAMILY_V4)
	if err != nil {
		return fault.New(fault.Unavailable, "read the addresses of %s: %w", nic.Attrs().Name, err)
	}
	if len(addresses) == 0 {
		return nil // moved already
	}
	t := taken{NIC: nic.Attrs().Name}
	for _, a := range addresses {
		t.Addresses = append(t.Addresses, a.IPNet.String())
	}
	data, _ := json.Marshal(t)
	if err := keep(s.config.state("uplink.json"), data); err != nil {
		return fault.New(fault.Unavailable, "remember the addresses of %s: %w", t.NIC, err)
	}
	return nil
}

// keep writes a small file so that a power cut leaves the old or the new one whole.
func keep(file string, data []byte) error {
	fresh, err := os.OpenFile(file+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = fresh.Write(data)
	if err := errors.Join(err, fresh.Sync(), fresh.Close()); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// moveAddresses moves IPv4 addresses with the routes that lie on them. Each address is on the new
// device before it leaves the old one; the routes follow, because they go with the address.
func moveAddresses(from, to netlink.Link) error {
	routes, err := netlink.RouteList(from, netlink.FAMILY_V4)
	if err != nil {
		return fault.New(fault.Unavailable, "read the routes of %s: %w", from.Attrs().Name, err)
	}
	addresses, err := netlink.AddrList(from, netlink.FAMILY_V4)
	if err != nil {
		return fault.New(fault.Unavailable, "read the addresses of %s: %w", from.Attrs().Name, err)
	}
	for _, a := range addresses {
		old := a
		if err := netlink.AddrReplace(to, &netlink.Addr{IPNet: a.IPNet}); err != nil {
			return fault.New(fault.Unavailable, "move %s to %s: %w", a.IPNet, to.Attrs().Name, err)
		}
		if err := netlink.AddrDel(from, &old); err != nil {
			return fault.New(fault.Unavailable, "take %s from %s: %w", a.IPNet, from.Attrs().Name, err)
		}
	}
	for _, r := range routes {
		if r.Protocol == 2 { // the kernel's own, made with the address
			continue
		}
		r.LinkIndex = to.Attrs().Index
		if err := netlink.RouteReplace(&r); err != nil && !errors.Is(err, syscall.EEXIST) {
			return fault.New(fault.Unavailable, "move the route to %s: %w", r.Dst, err)
		}
	}
	return nil
}

// restoreUplink gives the NIC back what it had. The bridge may be gone already, and its routes
// with it; the connected networks come back with the addresses.
func (s *Switch) restoreUplink() error {
	file := s.config.state("uplink.json")
	data, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	var t taken
	if err := json.Unmarshal(data, &t); err != nil {
		return fault.New(fault.Internal, "read %s: %w", file, err)
	}
	nic, err := findLink(t.NIC)
	if err != nil {
		return err
	}
	if nic != nil {
		for _, text := range t.Addresses {
			if a, err := netlink.ParseAddr(text); err == nil {
				if err := netlink.AddrReplace(nic, a); err != nil {
					return fault.New(fault.Unavailable, "give %s back to %s: %w", text, t.NIC, err)
				}
			}
		}
	}
	return os.Remove(file)
}

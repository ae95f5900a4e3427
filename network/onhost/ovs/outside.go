package ovs

import (
	"context"
	"os"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/virga-cloud/virga/engine/durable"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/network/onhost/vswitchdb"
)

const forwarding = "net/ipv4/ip_forward"

// setupOutside makes this host a way out: a bridge of its own, not joined with any other, where
// it is the next hop of every router that lives here, and translates their addresses to its own.
func (s *Switch) setupOutside(ctx context.Context) error {
	if s.config.Outside == "" {
		return nil
	}
	bridge := &vswitchdb.Bridge{Name: external, DatapathType: string(s.datapath), ExternalIDs: map[string]string{"virga": "yes"},
		OtherConfig: map[string]string{"hwaddr": s.config.OutsideMAC, "disable-in-band": "true"}}
	if err := s.db.ensureBridge(ctx, bridge); err != nil {
		return err
	}
	link, err := s.awaitLink(ctx, external, s.config.OutsideMAC)
	if err != nil {
		return err
	}
	underlay, err := s.underlayMTU()
	if err != nil {
		return err
	}
	mtu := outsideMTU(underlay)
	s.fromOutside.Store(int64(mtu))
	// The rules stand before the device is up.
	if err := nft(ctx, outsideScript(s.config.table(), external, s.config.Outside, mtu, s.config.HostPorts)); err != nil {
		return err
	}
	if err := netlink.LinkSetMTU(link, mtu); err != nil {
		return fault.New(fault.Unavailable, "set the MTU of %s to %d: %w", external, mtu, err)
	}
	if err := silence(external); err != nil {
		return err
	}
	if err := txOff(external); err != nil {
		return err
	}
	address, err := netlink.ParseAddr(s.config.Outside)
	if err != nil {
		return fault.New(fault.Invalid, "set up the way out: %w", err)
	}
	if err := netlink.AddrReplace(link, address); err != nil {
		return fault.New(fault.Unavailable, "give %s the address %s: %w", external, s.config.Outside, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fault.New(fault.Unavailable, "set %s up: %w", external, err)
	}
	return s.setForwarding()
}

// setForwarding remembers what was there before it changes it: if we die between, the file is
// right either way.
func (s *Switch) setForwarding() error {
	data, err := os.ReadFile("/proc/sys/" + forwarding)
	if err != nil {
		return fault.New(fault.Unavailable, "read %s: %w", forwarding, err)
	}
	old := strings.TrimSpace(string(data))
	if old == "1" {
		return nil
	}
	if err := durable.Write(s.config.state("ip_forward"), []byte(old), 0o600); err != nil {
		return fault.New(fault.Unavailable, "remember %s: %w", forwarding, err)
	}
	_, err = sysctl(forwarding, "1")
	return err
}

func (s *Switch) restoreForwarding() error {
	file := s.config.state("ip_forward")
	old, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	if _, err := sysctl(forwarding, string(old)); err != nil {
		return err
	}
	return os.Remove(file)
}

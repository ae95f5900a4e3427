package ovs

import (
	"context"
	"log/slog"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/network/onhost/vswitchdb"
)

func (s *Switch) hasUplink() bool {
	return s.config.Uplink != "" && s.datapath == host.NetdevDatapath
}

// setupUplink puts the NIC of the tunnels into a bridge of the user-space switch, and its addresses
// and routes onto the bridge: only then does the switch find the way to the other hosts. What it
// takes is on the bridge before it is written down, and written down before it leaves the NIC:
// whenever we die, it is somewhere, and the next setup or teardown goes on from there. Called again,
// it takes what has come to the NIC meanwhile, as when a DHCP client has renewed its lease.
func (s *Switch) setupUplink(ctx context.Context) error {
	if !s.hasUplink() {
		return nil
	}
	nic, err := findLink(s.config.Uplink)
	if err != nil || nic == nil {
		return fault.New(fault.NotFound, "set up the tunnels: there is no device %s on this host; name the NIC by virga up --uplink", s.config.Uplink)
	}
	a := nic.Attrs()
	if err := s.db.ensureBridge(ctx, &vswitchdb.Bridge{Name: Underlay, DatapathType: string(s.datapath),
		ExternalIDs: map[string]string{"virga": "yes"}, OtherConfig: map[string]string{"hwaddr": a.HardwareAddr.String(), "disable-in-band": "true"}}); err != nil {
		return err
	}
	if err := s.db.ensurePort(ctx, Underlay, a.Name, nil); err != nil {
		return err
	}
	bridge, err := s.awaitLink(ctx, Underlay, a.HardwareAddr.String())
	if err != nil {
		return err
	}
	t, err := s.recall(nic, bridge)
	if err != nil {
		return err
	}
	if err := t.prepare(bridge); err != nil {
		return err
	}
	for _, name := range []string{a.Name, Underlay} {
		if err := setChecksums(name, false); err != nil {
			return err
		}
	}
	if err := netlink.LinkSetMTU(bridge, a.MTU); err != nil {
		return fault.New(fault.Unavailable, "set the MTU of %s: %w", Underlay, err)
	}
	if err := netlink.LinkSetUp(bridge); err != nil {
		return fault.New(fault.Unavailable, "set %s up: %w", Underlay, err)
	}
	here, err := look(a.Index, t.learns())
	if err != nil {
		return err
	}
	t.merge(here).leave(bridge.Attrs().Index) // first: with an address go those that came after it in its network
	if err := t.give(bridge.Attrs().Index, true); err != nil {
		return err
	}
	if err := s.write(t); err != nil {
		return err
	}
	here.leave(a.Index)
	if err := silence(a.Name); err != nil {
		return err
	}
	return nft(ctx, uplinkGuardScript(s.config.table(), a.Name))
}

// restoreUplink gives the NIC back what it had. The bridge is gone already, and the rules that kept
// the host from hearing the NIC.
func (s *Switch) restoreUplink() error {
	t, err := s.read()
	if err != nil || t == nil {
		return err
	}
	nic, err := findLink(t.NIC)
	if err != nil {
		return err
	}
	if t.deciphered && len(t.Addresses) == 0 {
		return fault.New(fault.Precondition, "give %s back what it had: file %s cannot be read, and the bridge has no address any more; give the NIC its addresses and routes, then remove that file", t.NIC, s.takenFile())
	}
	if nic != nil && t.isOf(nic) {
		if err := t.restore(nic); err != nil {
			return err
		}
	}
	return s.forgetTaken()
}

// follow takes what comes to the NIC later, until ctx ends: a DHCP client goes on there.
func (s *Switch) follow(ctx context.Context) {
	if !s.hasUplink() {
		return
	}
	ended := make(chan struct{})
	defer close(ended)
	heard := make(chan netlink.AddrUpdate, 64)
	if err := netlink.AddrSubscribe(heard, ended); err != nil {
		slog.Error("what comes to the uplink is not watched; a renewed lease is taken at the next start", "error", err)
		return
	}
	settle := time.NewTimer(0) // something may have come before
	for {
		select {
		case <-ctx.Done():
			return
		case u, more := <-heard:
			if !more {
				return
			}
			nic, err := findLink(s.config.Uplink)
			if err != nil || nic == nil || !u.NewAddr || u.LinkIndex != nic.Attrs().Index {
				continue
			}
			settle.Reset(time.Second) // a client sets the address first, and its routes a moment later
		case <-settle.C:
			if err := s.setupUplink(ctx); err != nil && ctx.Err() == nil {
				slog.Error("the uplink cannot be taken over; trying again", "error", err)
				settle.Reset(2 * time.Second)
			}
		}
	}
}

package ovs

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/network/daemon"
	"github.com/virga-cloud/virga/network/onhost"
	"github.com/virga-cloud/virga/network/onhost/vswitchdb"
)

// Switch is the virtual switch of this host. Its methods act in the network namespace of the
// thread that calls them.
type Switch struct {
	config   Config
	datapath host.Datapath
	source   source
	socket   string
	db       *database
	// fromOutside is the largest packet that comes from the outside, in bytes; Setup finds it out.
	fromOutside atomic.Int64

	mu     sync.Mutex
	places map[resource.ID]*place
}

var _ onhost.Switch = (*Switch)(nil)

// New prepares the switch; Setup starts it.
func New(c Config) (*Switch, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if c.Datapath == "" {
		c.Datapath = ProbeDatapath()
	}
	if c.System == "" {
		c.System = systemDB
	}
	s := &Switch{config: c, datapath: c.Datapath, socket: c.run("db.sock"), places: map[resource.ID]*place{}}
	s.source = choose(c.Datapath, answers(c.System))
	if s.source == their {
		s.socket = c.System
	}
	s.db = &database{endpoint: "unix:" + s.socket}
	return s, nil
}

// Datapath is where packets are forwarded, for the host's profile.
func (s *Switch) Datapath() host.Datapath { return s.datapath }

// Close ends the connection to the switch, which goes on without us.
func (s *Switch) Close() { s.db.close() }

// Run starts again what dies of the switch's daemons, and follows what comes to the uplink, until
// ctx ends. The daemons live on.
func (s *Switch) Run(ctx context.Context) {
	var following sync.WaitGroup
	following.Go(func() { s.follow(ctx) })
	daemon.NewSupervisor(s.programs()...).Run(ctx)
	following.Wait()
}

// Setup implements onhost.Switch.
func (s *Switch) Setup(ctx context.Context) error {
	for _, dir := range []string{s.config.folder(), s.config.state(""), s.netnsFolder()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fault.New(fault.Unavailable, "set up the switch: %w", err)
		}
	}
	if s.source == own {
		if _, err := s.database().Ensure(ctx); err != nil {
			return err
		}
	}
	if _, err := s.db.connected(ctx); err != nil {
		return err
	}
	if s.source == their {
		if err := s.respect(); err != nil {
			return err
		}
	}
	if err := s.db.ensureRoot(ctx, s.words()); err != nil {
		return err
	}
	if s.source == own {
		if _, err := s.forwarder().Ensure(ctx); err != nil {
			return err
		}
	}
	secure := vswitchdb.BridgeFailModeSecure
	if err := s.db.ensureBridge(ctx, &vswitchdb.Bridge{Name: integration, DatapathType: string(s.datapath), FailMode: &secure,
		ExternalIDs: map[string]string{"virga": "yes"}, OtherConfig: map[string]string{"disable-in-band": "true"}}); err != nil {
		return err
	}
	if err := s.setupOutside(ctx); err != nil {
		return err
	}
	if err := s.setupUplink(ctx); err != nil {
		return err
	}
	_, err := s.controller().Ensure(ctx)
	return err
}

// respect refuses a switch of the host's own that already belongs to another OVN.
func (s *Switch) respect() error {
	root := s.db.root()
	if root == nil {
		return nil
	}
	if id := root.ExternalIDs["system-id"]; root.ExternalIDs["ovn-remote"] != "" && id != string(s.config.HostID) {
		return fault.New(fault.Precondition, "set up the switch: the host's Open vSwitch belongs to another OVN (system-id %s, ovn-remote %s); remove those from it, or stop it",
			id, root.ExternalIDs["ovn-remote"])
	}
	return nil
}

func (s *Switch) words() map[string]string {
	return map[string]string{
		"system-id": string(s.config.HostID), "hostname": s.config.Hostname,
		"ovn-remote": s.config.Remote, "ovn-encap-type": "geneve", "ovn-encap-ip": s.config.TunnelAddress,
		"ovn-bridge": integration, "ovn-bridge-datapath-type": string(s.datapath),
		"ovn-bridge-mappings": s.mapping(), "ovn-monitor-all": "false", "ovn-enable-lflow-cache": "true",
	}
}

func (s *Switch) mapping() string {
	if s.config.Outside == "" {
		return ""
	}
	return s.config.ExternalNetwork + ":" + external
}

// awaitLink waits for a device that the switch makes itself, until it has its hardware address: to
// give it one the switch takes it down for a moment, and routes and IPv6 addresses go with that.
func (s *Switch) awaitLink(ctx context.Context, name, mac string) (netlink.Link, error) {
	var link netlink.Link
	var err error
	if !within(ctx, 10*time.Second, func() bool {
		link, err = findLink(name)
		return err != nil || link != nil && link.Attrs().HardwareAddr.String() == mac
	}) {
		return nil, fault.New(fault.Unavailable, "set up the switch: its device %s does not appear with the hardware address %s", name, mac)
	}
	return link, err
}

// Teardown implements onhost.Switch.
func (s *Switch) Teardown(ctx context.Context) error {
	var errs []error
	keep := func(err error) { errs = append(errs, err) }
	if t, err := s.read(); err == nil && t != nil { // restoreUplink tells the error
		keep(s.complete(t)) // while the bridge is there
	}
	keep(s.controller().Stop(ctx)) // first, so that it takes its chassis out of the southbound database
	keep(s.regain(ctx))
	if s.source == their || s.database().PID() != 0 {
		keep(s.teardownRows(ctx))
	}
	services, err := s.ListServices(ctx)
	keep(err)
	for _, id := range services {
		keep(s.RemoveService(ctx, id))
	}
	if s.source == own {
		keep(s.forwarder().Stop(ctx))
		keep(s.database().Stop(ctx))
		s.db.close()
		for _, name := range []string{integration, external, Underlay, userspace} {
			keep(deleteLink(name))
		}
	}
	keep(s.removeDevices())
	keep(nft(ctx, dropTablesScript(s.config.table())))
	keep(s.restoreUplink())
	keep(s.restoreForwarding())
	_ = os.Remove(s.netnsFolder())
	return errors.Join(errs...)
}

// regain starts anew what runs and cannot be spoken to: only the switch itself lets go of its devices
// in the kernel.
func (s *Switch) regain(ctx context.Context) error {
	if s.source == their {
		return nil
	}
	for _, p := range []daemon.Program{s.database(), s.forwarder()} {
		if p.PID() == 0 {
			continue
		}
		if _, err := p.Ensure(ctx); err != nil {
			return err
		}
	}
	return nil
}

// teardownRows removes ports and bridges from the switch, and waits until it has let go of them.
func (s *Switch) teardownRows(ctx context.Context) error {
	if _, err := s.db.connected(ctx); err != nil {
		return err
	}
	ports, err := s.ListPorts(ctx)
	if err != nil {
		return err
	}
	for _, p := range ports {
		if err := s.RemovePort(ctx, p.PortBindingID); err != nil {
			return err
		}
	}
	for _, name := range []string{external, Underlay, integration} {
		if err := s.db.removeBridge(ctx, name); err != nil {
			return err
		}
	}
	if s.source == their {
		gone := s.words()
		for k := range gone {
			gone[k] = ""
		}
		return s.db.ensureRoot(ctx, gone)
	}
	if s.forwarder().PID() != 0 {
		within(ctx, 3*time.Second, func() bool { l, _ := findLink(integration); return l == nil })
	}
	return nil
}

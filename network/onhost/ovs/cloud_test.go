package ovs_test

import (
	"context"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/part"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/network/onhost"
	"github.com/virga-cloud/virga/network/onhost/dns"
	"github.com/virga-cloud/virga/network/onhost/metadata"
	"github.com/virga-cloud/virga/network/onhost/ovs"
	"github.com/virga-cloud/virga/network/ovn"
)

// cloud is records, OVN's central, and hosts in namespaces, wired as the program is.
type cloud struct {
	t       *testing.T
	ctx     context.Context
	dir     string
	db      *store.DB
	central *ovn.Central

	networks *store.SpecWriter[network.Spec, network.Status]
	subnets  *store.SpecWriter[network.SubnetSpec, network.SubnetStatus]
	ports    *store.SpecWriter[network.PortSpec, network.PortStatus]
	bindings *store.SpecWriter[network.PortBindingSpec, network.PortBindingStatus]
	hosts    *store.SpecWriter[host.Spec, host.Status]
	groups   *store.SpecWriter[network.SecurityGroupSpec, network.SecurityGroupStatus]
}

type node struct {
	id    resource.ID
	space *space
	sw    *ovs.Switch
	on    onThread
}

// newCloud starts everything; prepare makes the hosts' namespaces before.
func newCloud(t *testing.T, configs map[*space]ovs.Config, order []*space, central ...ovn.CentralConfig) (*cloud, []*node) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	registry := store.NewRegistry()
	mem := memory.New()
	catalog := resource.NewCatalog(network.Networks, network.Subnets, network.Ports, network.PortBindings, network.DNSZones, network.SecurityGroups, host.Hosts, host.Livenesses)
	c := &cloud{t: t, ctx: ctx, dir: folder(t), db: store.NewDB(mem, catalog),
		networks: store.Specs(registry, network.Networks, "test"), subnets: store.Specs(registry, network.Subnets, "test"),
		ports: store.Specs(registry, network.Ports, "test"), bindings: store.Specs(registry, network.PortBindings, "test"),
		hosts: store.Specs(registry, host.Hosts, "test"), groups: store.Specs(registry, network.SecurityGroups, "test")}
	cc := ovn.CentralConfig{}
	if len(central) > 0 {
		cc = central[0]
	}
	cc.State, cc.Run = c.dir+"/c", c.dir+"/c"
	c.central = ovn.NewCentral(cc)
	order[0].do(func() { check(t, c.central.Start(ctx)) })
	t.Cleanup(func() { check(t, c.central.Stop(context.WithoutCancel(ctx))) })

	w := network.NewWriters(registry)
	north := ovn.NewDatabase(c.central.North())
	statuses := store.Statuses(registry, network.PortBindings, "agent")
	loops := []*reconcile.Loop{network.NewNetworkLoop(c.db, w), network.NewSubnetLoop(c.db, w), network.NewPortLoop(c.db, w)}
	var nodes []*node
	for i, s := range order {
		config := configs[s]
		config.HostID = resource.NewID()
		config.State, config.Run = c.dir+"/h"+string(rune('1'+i)), c.dir+"/h"+string(rune('1'+i))
		config.Hostname = "h" + string(rune('1'+i))
		if config.Remote == "" {
			config.Remote = c.central.South()
		}
		config.Outside, config.OutsideMAC, config.ExternalNetwork = network.OutsideGateway+"/16", network.OutsideGatewayMAC, ovn.ExternalNetwork
		m := &node{id: config.HostID, space: s}
		var err error
		m.sw, err = ovs.New(config)
		check(t, err)
		m.on = onThread{m.sw, s}
		check(t, m.on.Setup(ctx))
		t.Cleanup(func() { check(t, m.on.Teardown(context.WithoutCancel(ctx))); m.sw.Close() })
		names, meta := dns.New(func() []string { return nil }), metadata.New(func(id resource.ID) (metadata.Guest, bool) {
			return metadata.Guest{InstanceID: id, Hostname: "web", Zone: "here", SSHKeys: []string{"ssh-ed25519 AAAA me"}, UserData: []byte("#cloud-config\n")}, true
		})
		t.Cleanup(func() { names.Close(); meta.Close() })
		loops = append(loops, onhost.NewPortBindingLoop(c.db, m.id, statuses, m.on), onhost.NewDNSZoneLoop(c.db, m.id, m.on, names, meta))
		nodes = append(nodes, m)
	}
	check(t, registry.Err())
	runner := part.NewRunner(c.db, part.Part{Loops: loops, Chores: ovn.Server(c.db, north, nil, w).Chores})
	done := make(chan struct{}, 2)
	go func() { _ = c.db.Run(ctx); done <- struct{}{} }()
	go func() { runner.Run(ctx); done <- struct{}{} }()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			<-done
		}
		north.Close()
	})
	for i, m := range nodes {
		b := c.db.Begin()
		c.hosts.Create(b, &host.Host{Meta: resource.Meta{ID: m.id, Name: "h-" + string(m.id)},
			Status: host.Status{TunnelAddress: configs[order[i]].TunnelAddress}})
		check(t, c.db.Commit(ctx, b))
	}
	return c, nodes
}

func (c *cloud) network(project resource.ID, cidr string) (*network.Network, *network.Subnet) {
	c.t.Helper()
	n := &network.Network{Meta: resource.Meta{ID: resource.NewID(), Name: "default", Project: project}}
	n.Spec.Default()
	s := &network.Subnet{Meta: resource.Meta{ID: resource.NewID(), Name: "default", Project: project}, Spec: network.SubnetSpec{NetworkID: n.ID, CIDR: cidr}}
	s.Spec.Default()
	b := c.db.Begin()
	c.networks.Create(b, n, network.Holder)
	c.subnets.Create(b, s, network.Holder)
	check(c.t, c.db.Commit(c.ctx, b))
	return n, s
}

func (c *cloud) port(n *network.Network, s *network.Subnet, hostname string) *network.Port {
	c.t.Helper()
	address := map[string]string{"one": "10.20.0.3", "two": "10.20.0.4"}[hostname]
	p := &network.Port{Meta: resource.Meta{ID: resource.NewID(), Name: hostname, Project: n.Project}}
	p.Spec = network.PortSpec{NetworkID: n.ID, SubnetID: s.ID, Address: address, Hostname: hostname}
	check(c.t, network.Allocate(c.db.Snapshot(), p))
	b := c.db.Begin()
	c.ports.Create(b, p, network.Holder)
	check(c.t, c.db.Commit(c.ctx, b))
	return p
}

func (c *cloud) binding(p *network.Port, m *node, epoch int64) *network.PortBinding {
	c.t.Helper()
	x := &network.PortBinding{Meta: resource.Meta{ID: resource.NewID(), Project: p.Project}, Spec: network.PortBindingSpec{
		PortID: p.ID, NetworkID: p.Spec.NetworkID, InstanceID: resource.NewID(), HostID: m.id, Epoch: epoch, UID: 65534,
		MAC: p.Status.MAC, Address: p.Status.Address, MTU: 1442}}
	b := c.db.Begin()
	c.bindings.Create(b, x, network.AgentHolder)
	check(c.t, c.db.Commit(c.ctx, b))
	return x
}

// ready waits until a port binding is.
func (c *cloud) ready(id resource.ID) *network.PortBinding {
	c.t.Helper()
	var p *network.PortBinding
	c.until("the port binding is ready", func() bool {
		p = store.Find(c.db.Snapshot(), network.PortBindings, id)
		return p != nil && p.Status.Phase == network.PortBindingReady
	})
	return p
}

func (c *cloud) unplug(id resource.ID) {
	c.t.Helper()
	for range 20 {
		b := c.db.Begin()
		c.bindings.Delete(b, store.Find(c.db.Snapshot(), network.PortBindings, id))
		if c.db.Commit(c.ctx, b) == nil {
			return
		}
	}
	c.t.Fatal("the port binding cannot be deleted")
}

func (c *cloud) until(what string, ok func() bool) {
	c.t.Helper()
	for end := time.Now().Add(15 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			c.t.Fatalf("it did not happen in time that %s", what)
		}
	}
}

// boots makes a port, binds it, and puts a guest with a fixed address behind it.
func (c *cloud) boots(n *network.Network, s *network.Subnet, m *node, name string) (*network.Port, *network.PortBinding, *space) {
	c.t.Helper()
	p := c.port(n, s, name)
	x := c.ready(c.binding(p, m, 1).ID)
	g := newSpace(c.t)
	plugIn(c.t, m.space, x.Status.Device, p.Status.MAC, g)
	address(c.t, g, "eth0", p.Status.Address+"/20")
	route(c.t, g, "0.0.0.0/0", s.Spec.Gateway)
	return p, x, g
}

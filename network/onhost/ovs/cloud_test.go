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
	plugs    *store.SpecWriter[network.PlugSpec, network.PlugStatus]
	hosts    *store.SpecWriter[host.Spec, host.Status]
}

type machine struct {
	id    resource.ID
	space *space
	sw    *ovs.Switch
	on    onThread
}

// newCloud starts everything; prepare makes the hosts' namespaces before.
func newCloud(t *testing.T, configs map[*space]ovs.Config, order []*space, central ...ovn.CentralConfig) (*cloud, []*machine) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ledger := store.NewLedger()
	mem := memory.New()
	catalog := resource.NewCatalog(network.Networks, network.Subnets, network.Ports, network.Plugs, network.Zones, host.Hosts, host.Livenesses)
	c := &cloud{t: t, ctx: ctx, dir: folder(t), db: store.NewDB(mem, catalog),
		networks: store.Specs(ledger, network.Networks, "test"), subnets: store.Specs(ledger, network.Subnets, "test"),
		ports: store.Specs(ledger, network.Ports, "test"), plugs: store.Specs(ledger, network.Plugs, "test"),
		hosts: store.Specs(ledger, host.Hosts, "test")}
	cc := ovn.CentralConfig{}
	if len(central) > 0 {
		cc = central[0]
	}
	cc.State, cc.Run = c.dir+"/c", c.dir+"/c"
	c.central = ovn.NewCentral(cc)
	order[0].do(func() { check(t, c.central.Start(ctx)) })
	t.Cleanup(func() { check(t, c.central.Stop(context.WithoutCancel(ctx))) })

	w := network.NewWriters(ledger)
	north := ovn.NewDatabase(c.central.North())
	statuses := store.Statuses(ledger, network.Plugs, "agent")
	loops := []*reconcile.Loop{network.NewNetworkLoop(c.db, w), network.NewSubnetLoop(c.db, w), network.NewPortLoop(c.db, w)}
	var machines []*machine
	for i, s := range order {
		config := configs[s]
		config.HostID = resource.NewID()
		config.State, config.Run = c.dir+"/h"+string(rune('1'+i)), c.dir+"/h"+string(rune('1'+i))
		config.Hostname = "h" + string(rune('1'+i))
		if config.Remote == "" {
			config.Remote = c.central.South()
		}
		config.Outside, config.OutsideMAC, config.ExternalNetwork = network.OutsideGateway+"/16", network.OutsideGatewayMAC, ovn.ExternalNetwork
		m := &machine{id: config.HostID, space: s}
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
		loops = append(loops, onhost.NewPlugLoop(c.db, m.id, statuses, m.on), onhost.NewZoneLoop(c.db, m.id, m.on, names, meta))
		machines = append(machines, m)
	}
	check(t, ledger.Err())
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
	for _, m := range machines {
		b := c.db.Begin()
		c.hosts.Create(b, &host.Host{Meta: resource.Meta{ID: m.id, Name: "h-" + string(m.id)}})
		check(t, c.db.Commit(ctx, b))
	}
	return c, machines
}

func (c *cloud) network(project, cidr string) (*network.Network, *network.Subnet) {
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
	mac, addr, err := network.AllocatePort(c.db.Snapshot(), n, s, network.Wish{PortID: p.ID, Address: address})
	check(c.t, err)
	p.Spec = network.PortSpec{NetworkID: n.ID, SubnetID: s.ID, MAC: mac, Address: addr, Hostname: hostname}
	b := c.db.Begin()
	c.ports.Create(b, p, network.Holder)
	network.ClaimPort(b, p)
	check(c.t, c.db.Commit(c.ctx, b))
	return p
}

func (c *cloud) plug(p *network.Port, m *machine, epoch int64) *network.Plug {
	c.t.Helper()
	x := &network.Plug{Meta: resource.Meta{ID: resource.NewID(), Project: p.Project}, Spec: network.PlugSpec{
		PortID: p.ID, NetworkID: p.Spec.NetworkID, InstanceID: resource.NewID(), HostID: m.id, Epoch: epoch, UID: 65534,
		MAC: p.Spec.MAC, Address: p.Spec.Address, MTU: 1442}}
	b := c.db.Begin()
	c.plugs.Create(b, x, network.AgentHolder)
	check(c.t, c.db.Commit(c.ctx, b))
	return x
}

// ready waits until a plug is.
func (c *cloud) ready(id resource.ID) *network.Plug {
	c.t.Helper()
	var p *network.Plug
	c.until("the plug is ready", func() bool {
		p = store.Find(c.db.Snapshot(), network.Plugs, id)
		return p != nil && p.Status.Phase == network.PlugReady
	})
	return p
}

func (c *cloud) unplug(id resource.ID) {
	c.t.Helper()
	for range 20 {
		b := c.db.Begin()
		c.plugs.Delete(b, store.Find(c.db.Snapshot(), network.Plugs, id))
		if c.db.Commit(c.ctx, b) == nil {
			return
		}
	}
	c.t.Fatal("the plug cannot be deleted")
}

func (c *cloud) until(what string, ok func() bool) {
	c.t.Helper()
	for end := time.Now().Add(15 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			c.t.Fatalf("it did not happen in time that %s", what)
		}
	}
}

// boots makes a port, plugs it in, and puts a guest with a fixed address behind it.
func (c *cloud) boots(n *network.Network, s *network.Subnet, m *machine, name string) (*network.Port, *network.Plug, *space) {
	c.t.Helper()
	p := c.port(n, s, name)
	x := c.ready(c.plug(p, m, 1).ID)
	g := newSpace(c.t)
	plugIn(c.t, m.space, x.Status.Device, p.Spec.MAC, g)
	address(c.t, g, "eth0", p.Spec.Address+"/20")
	route(c.t, g, "0.0.0.0/0", s.Spec.Gateway)
	return p, x, g
}

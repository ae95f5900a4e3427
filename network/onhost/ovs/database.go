package ovs

import (
	"context"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/go-logr/logr"
	"github.com/ovn-kubernetes/libovsdb/client"
	"github.com/ovn-kubernetes/libovsdb/model"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/network/onhost/vswitchdb"
)

// database is Open vSwitch's own database.
type database struct {
	endpoint string
	mu       sync.Mutex
	client   client.Client
}

// connected gives a connection with an up-to-date copy of the tables that we use.
func (d *database) connected(ctx context.Context) (client.Client, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if d.client == nil {
		c, err := d.dial(ctx)
		if err != nil {
			return nil, fault.New(fault.Unavailable, "connect to the virtual switch of this host: %w", err)
		}
		d.client = c
	}
	// After the server was away the client connects again by itself, and soon. The question has a
	// time of its own: one that is given up is still written to by the client when the answer comes.
	ask, done := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer done()
	if !within(ctx, 2*time.Second, func() bool { return d.client.Echo(ask) == nil }) {
		return nil, fault.New(fault.Unavailable, "connect to the virtual switch of this host: its database does not answer")
	}
	return d.client, nil
}

func (d *database) dial(ctx context.Context) (client.Client, error) {
	schema, err := vswitchdb.FullDatabaseModel()
	if err != nil {
		return nil, err
	}
	quiet := logr.Discard()
	c, err := client.NewOVSDBClient(schema, client.WithEndpoint(d.endpoint), client.WithLogger(&quiet),
		client.WithReconnect(2*time.Second, backoff.NewConstantBackOff(100*time.Millisecond)))
	if err != nil {
		return nil, err
	}
	if err := c.Connect(ctx); err != nil {
		c.Close()
		return nil, err
	}
	// Not the statistics: they change every few seconds on every port.
	o, b, p, i := &vswitchdb.OpenvSwitch{}, &vswitchdb.Bridge{}, &vswitchdb.Port{}, &vswitchdb.Interface{}
	_, err = c.Monitor(ctx, c.NewMonitor(
		client.WithTable(o, &o.Bridges, &o.ExternalIDs, &o.OtherConfig),
		client.WithTable(b, &b.Name, &b.Ports, &b.ExternalIDs, &b.DatapathType, &b.OtherConfig, &b.FailMode),
		client.WithTable(p, &p.Name, &p.Interfaces, &p.ExternalIDs),
		client.WithTable(i, &i.Name, &i.ExternalIDs, &i.Ofport, &i.Error, &i.Type),
	))
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (d *database) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.client != nil {
		d.client.Close()
		d.client = nil
	}
}

// commit sends one transaction and returns when the local copy shows it.
func (d *database) commit(ctx context.Context, shown func() bool, ops ...ovsdb.Operation) error {
	// Without a limit it would wait for a server that is away.
	limited, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	results, err := d.client.Transact(limited, ops...)
	if err != nil {
		return fault.New(fault.Unavailable, "write to Open vSwitch's database: %w", err)
	}
	if _, err := ovsdb.CheckOperationResults(results, ops); err != nil {
		return fault.New(fault.Internal, "Open vSwitch's database refuses: %w", err)
	}
	if !within(ctx, 5*time.Second, shown) {
		return fault.New(fault.Unavailable, "what was written to Open vSwitch's database does not come back from it")
	}
	return nil
}

// within asks every millisecond, later every ten, until ok or the time is over.
func within(ctx context.Context, d time.Duration, ok func() bool) bool {
	for start, pause := time.Now(), time.Millisecond; ; pause = min(2*pause, 10*time.Millisecond) {
		if ok() {
			return true
		}
		if ctx.Err() != nil || time.Since(start) > d {
			return false
		}
		time.Sleep(pause)
	}
}

// row finds a row by an index, as a copy; nil if there is none.
func row[M any](d *database, table string, by *M) *M {
	t := d.client.Cache().Table(table)
	if t == nil {
		return nil
	}
	_, m, err := t.RowByModel(by)
	if err != nil || m == nil {
		return nil
	}
	found, _ := m.(*M)
	return found
}

func (d *database) bridge(name string) *vswitchdb.Bridge {
	return row(d, vswitchdb.BridgeTable, &vswitchdb.Bridge{Name: name})
}

func (d *database) port(name string) *vswitchdb.Port {
	return row(d, vswitchdb.PortTable, &vswitchdb.Port{Name: name})
}

func (d *database) iface(name string) *vswitchdb.Interface {
	return row(d, vswitchdb.InterfaceTable, &vswitchdb.Interface{Name: name})
}

func (d *database) root() *vswitchdb.OpenvSwitch {
	for _, m := range d.client.Cache().Table(vswitchdb.OpenvSwitchTable).Rows() {
		return m.(*vswitchdb.OpenvSwitch)
	}
	return nil
}

// ensureRoot makes the one row of a new database, and sets our words in it.
func (d *database) ensureRoot(ctx context.Context, words map[string]string) error {
	root := d.root()
	if root == nil {
		ops, err := d.client.Create(&vswitchdb.OpenvSwitch{UUID: "root", ExternalIDs: words})
		if err != nil {
			return err
		}
		return d.commit(ctx, func() bool { return d.root() != nil }, ops...)
	}
	if !overlay(&root.ExternalIDs, words) {
		return nil
	}
	ops, err := d.client.Where(root).Update(root, &root.ExternalIDs)
	if err != nil {
		return err
	}
	return d.commit(ctx, func() bool { r := d.root(); return r != nil && !overlay(&r.ExternalIDs, words) }, ops...)
}

// overlay sets words in a map and says whether that changed anything. A word of nothing is removed.
func overlay(have *map[string]string, words map[string]string) bool {
	changed := false
	if *have == nil {
		*have = map[string]string{}
	}
	for k, v := range words {
		old, there := (*have)[k]
		switch {
		case v == "" && there:
			delete(*have, k)
			changed = true
		case v != "" && old != v:
			(*have)[k] = v
			changed = true
		}
	}
	return changed
}

// ensureBridge makes a bridge with its internal port, unless it is there.
func (d *database) ensureBridge(ctx context.Context, want *vswitchdb.Bridge) error {
	if d.bridge(want.Name) != nil {
		return nil
	}
	root := d.root()
	want.UUID, want.Ports = "bridge", []string{"port"}
	var ops []ovsdb.Operation
	for _, m := range []model.Model{
		&vswitchdb.Interface{UUID: "iface", Name: want.Name, Type: "internal"},
		&vswitchdb.Port{UUID: "port", Name: want.Name, Interfaces: []string{"iface"}}, want,
	} {
		more, err := d.client.Create(m)
		if err != nil {
			return err
		}
		ops = append(ops, more...)
	}
	more, err := d.client.Where(root).Mutate(root, model.Mutation{Field: &root.Bridges, Mutator: ovsdb.MutateOperationInsert, Value: []string{"bridge"}})
	if err != nil {
		return err
	}
	return d.commit(ctx, func() bool { return d.bridge(want.Name) != nil }, append(ops, more...)...)
}

func (d *database) removeBridge(ctx context.Context, name string) error {
	bridge, root := d.bridge(name), d.root()
	if bridge == nil || root == nil {
		return nil
	}
	ops, err := d.client.Where(root).Mutate(root, model.Mutation{Field: &root.Bridges, Mutator: ovsdb.MutateOperationDelete, Value: []string{bridge.UUID}})
	if err != nil {
		return err
	}
	return d.commit(ctx, func() bool { return d.bridge(name) == nil }, ops...)
}

// ensurePort makes a device a port of a bridge, unless it is; words go to the interface.
func (d *database) ensurePort(ctx context.Context, bridgeName, device string, words map[string]string) error {
	if i := d.iface(device); i != nil {
		if !overlay(&i.ExternalIDs, words) {
			return nil
		}
		ops, err := d.client.Where(i).Update(i, &i.ExternalIDs)
		if err != nil {
			return err
		}
		return d.commit(ctx, func() bool { i := d.iface(device); return i != nil && !overlay(&i.ExternalIDs, words) }, ops...)
	}
	bridge := d.bridge(bridgeName)
	if bridge == nil {
		return fault.New(fault.Unavailable, "add %s to the switch: there is no bridge %s yet", device, bridgeName)
	}
	ops, err := d.client.Create(&vswitchdb.Interface{UUID: "iface", Name: device, ExternalIDs: words})
	if err != nil {
		return err
	}
	more, err := d.client.Create(&vswitchdb.Port{UUID: "port", Name: device, Interfaces: []string{"iface"}, ExternalIDs: map[string]string{"virga": "yes"}})
	if err != nil {
		return err
	}
	ops = append(ops, more...)
	more, err = d.client.Where(bridge).Mutate(bridge, model.Mutation{Field: &bridge.Ports, Mutator: ovsdb.MutateOperationInsert, Value: []string{"port"}})
	if err != nil {
		return err
	}
	return d.commit(ctx, func() bool { return d.iface(device) != nil && d.port(device) != nil }, append(ops, more...)...)
}

func (d *database) removePort(ctx context.Context, bridgeName, device string) error {
	bridge, port := d.bridge(bridgeName), d.port(device)
	if bridge == nil || port == nil {
		return nil
	}
	ops, err := d.client.Where(bridge).Mutate(bridge, model.Mutation{Field: &bridge.Ports, Mutator: ovsdb.MutateOperationDelete, Value: []string{port.UUID}})
	if err != nil {
		return err
	}
	return d.commit(ctx, func() bool { return d.port(device) == nil }, ops...)
}

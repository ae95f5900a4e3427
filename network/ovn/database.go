package ovn

import (
	"context"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/go-logr/logr"
	"github.com/ovn-kubernetes/libovsdb/client"
	"github.com/ovn-kubernetes/libovsdb/model"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/network/ovn/nbdb"
)

// Database is OVN's northbound database.
type Database struct {
	endpoint string
	client   client.Client

	inForce []*Owned  // what the database is known to have; nil when a write failed
	looked  time.Time // when all that it has was last compared
}

// NewDatabase speaks to the northbound server at an endpoint: unix:PATH. It connects when first
// used, and again when the server comes back.
func NewDatabase(endpoint string) *Database { return &Database{endpoint: endpoint} }

// Close ends the connection.
func (d *Database) Close() {
	if d.client != nil {
		d.client.Close()
	}
}

// globals are the options of the whole database: a gateway that dies is noticed in 0.3 s.
var globals = map[string]string{"bfd-min-rx": "100", "bfd-min-tx": "100", "bfd-mult": "3"}

// trust is how long the database is believed to have what was written: after it all is compared again.
const trust = relook / 2

// Apply makes the database have exactly the rows, among those that are ours, in one transaction.
// It compares the owners that have changed; all of them now and then, should somebody else have written.
// It returns when the local copy shows them, so that the next pass does not send them twice.
func (d *Database) Apply(ctx context.Context, want []*Owned) error {
	inForce := d.inForce
	d.inForce = nil
	if err := d.connect(ctx); err != nil {
		return fault.New(fault.Unavailable, "connect to OVN's northbound database: %w", err)
	}
	if d.global() == nil {
		return fault.New(fault.Unavailable, "OVN's northbound database is empty; wait for ovn-northd")
	}
	rows, have := rowsOf(want), d.existing
	if whole := inForce == nil || time.Since(d.looked) > trust; whole {
		d.looked = time.Now()
	} else {
		now, before := changed(inForce, want)
		rows, have = now, func() existing { return d.existingOf(before, now) }
	}
	if err := d.send(ctx, have, rows); err != nil {
		return err
	}
	d.inForce = want
	return nil
}

func (d *Database) send(ctx context.Context, have func() existing, want []Row) error {
	ops, err := d.operations(makePlan(have(), want))
	if err != nil {
		return fault.New(fault.Internal, "encode rows for OVN: %w", err)
	}
	if len(ops) == 0 {
		return nil
	}
	// Without a limit it would wait for a server that is away.
	limited, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	results, err := d.client.Transact(limited, ops...)
	if err != nil {
		return fault.New(fault.Unavailable, "write to OVN's northbound database: %w", err)
	}
	if _, err := ovsdb.CheckOperationResults(results, ops); err != nil {
		return fault.New(fault.Internal, "OVN's northbound database refuses rows: %w", err)
	}
	return d.settle(ctx, have, want)
}

func (d *Database) settle(ctx context.Context, have func() existing, want []Row) error {
	for end := time.Now().Add(5 * time.Second); ; {
		if makePlan(have(), want).empty() && d.globalOps() == nil {
			return nil
		}
		if time.Now().After(end) || ctx.Err() != nil {
			return fault.New(fault.Unavailable, "what was written to OVN's northbound database does not come back from it")
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func (d *Database) connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if d.client == nil {
		schema, err := nbdb.FullDatabaseModel()
		if err != nil {
			return err
		}
		schema.SetIndexes(byMark())
		c, err := dial(ctx, d.endpoint, schema)
		if err != nil {
			return err
		}
		if _, err := c.MonitorAll(ctx); err != nil {
			c.Close()
			return err
		}
		d.client = c
	}
	return answers(ctx, d.client)
}

// dial connects to a server of OVN; the client connects again by itself.
func dial(ctx context.Context, endpoint string, schema model.ClientDBModel) (client.Client, error) {
	quiet := logr.Discard()
	c, err := client.NewOVSDBClient(schema, client.WithEndpoint(endpoint), client.WithLogger(&quiet),
		client.WithReconnect(2*time.Second, backoff.NewConstantBackOff(200*time.Millisecond)))
	if err != nil {
		return nil, err
	}
	if err := c.Connect(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// answers asks whether the server is there. The question has a time of its own: one that is given
// up is still written to by the client when the answer comes.
func answers(ctx context.Context, c client.Client) error {
	ask, done := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer done()
	return c.Echo(ask)
}

func (d *Database) existing() existing {
	out := existing{}
	for _, t := range tables {
		if rows := d.client.Cache().Table(t.name); rows != nil {
			out[t.name] = rows.Rows()
		}
	}
	return out
}

// byMark finds rows by their keys.
func byMark() map[string][]model.ClientIndex {
	out := map[string][]model.ClientIndex{}
	for _, t := range tables {
		if slices.Contains(t.columns, "external_ids") {
			out[t.name] = []model.ClientIndex{{Columns: []model.ColumnKey{{Column: "external_ids", Key: mark}}}}
		}
	}
	return out
}

// existingOf is what the database has of some rows.
func (d *Database) existingOf(lists ...[]Row) existing {
	asked := map[string][]model.Model{}
	for _, rows := range lists {
		for _, r := range rows {
			name := tableOf(r.Model).name
			asked[name] = append(asked[name], r.Model)
		}
	}
	out := existing{}
	for name, models := range asked {
		if rows := d.client.Cache().Table(name); rows != nil {
			out[name], _ = rows.RowsByModels(models) // it fails for models of another table only
		}
	}
	return out
}

func (d *Database) global() *nbdb.NBGlobal {
	for _, row := range d.client.Cache().Table(nbdb.NBGlobalTable).Rows() {
		return row.(*nbdb.NBGlobal)
	}
	return nil
}

func (d *Database) globalOps() *nbdb.NBGlobal {
	g := d.global()
	if g == nil {
		return nil
	}
	changed := false
	for k, v := range globals {
		if g.Options[k] != v {
			if g.Options == nil {
				g.Options = map[string]string{}
			}
			g.Options[k], changed = v, true
		}
	}
	if !changed {
		return nil
	}
	return g
}

func (d *Database) operations(p plan) ([]ovsdb.Operation, error) {
	var ops []ovsdb.Operation
	keep := func(more []ovsdb.Operation, err error) error {
		ops = append(ops, more...)
		return err
	}
	if g := d.globalOps(); g != nil {
		if err := keep(d.client.Where(g).Update(g, &g.Options)); err != nil {
			return nil, err
		}
	}
	for _, row := range p.create {
		if err := keep(d.client.Create(row)); err != nil {
			return nil, err
		}
	}
	for _, u := range p.update {
		var fields []any
		for _, name := range u.columns {
			fields = append(fields, column(u.row, name).Addr().Interface())
		}
		if err := keep(d.client.Where(u.row).Update(u.row, fields...)); err != nil {
			return nil, err
		}
	}
	for _, row := range p.remove {
		if err := keep(d.client.Where(row).Delete()); err != nil {
			return nil, err
		}
	}
	return ops, nil
}

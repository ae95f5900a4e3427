package onhost

import (
	"context"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
)

// Hardware is what is probed; probe.Hardware is the real one.
type Hardware interface {
	// Inventory reads what the host has. It is quick.
	Inventory() (host.Inventory, error)
	// Profile finds out what works. It may take seconds, and gives what it knows beside an error.
	Profile(ctx context.Context) (host.Profile, error)
}

// Self is what the agent knows of itself.
type Self struct {
	// HostID is the record of this host.
	HostID resource.ID
	// Address is where the agent listens for servers and other hosts, host:port.
	Address string
	// TunnelAddress is the address of the overlay's tunnels.
	TunnelAddress string
	// Addresses gives all addresses of this host; nil: it has only the two above.
	Addresses func() []string
	// APIAddress is where the server on this host answers, host:port; empty: it runs none.
	APIAddress string
	// Version is that of the program.
	Version string
	// Inventoried reports whether the agent has looked at everything that runs here; nil: it has.
	Inventoried func() bool
	// Here says what is wrong with the address of this host; nil: nothing can be.
	Here func() error
	// Unknown tells of what runs here and has no record; nil: nothing can.
	Unknown func() error
}

const (
	lookAgain   = time.Minute            // how long what was probed is believed
	tryAgain    = 10 * time.Second       // after a probe that failed
	notYetAfter = 200 * time.Millisecond // while the first inventory goes on
)

// NewLoop makes the loop that reports the status of this host. A step may take as long as a
// probe; nothing else waits for it.
func NewLoop(db *store.DB, self Self, m Hardware, statuses *store.StatusWriter[host.Spec, host.Status]) *reconcile.Loop {
	r := &reporter{db: db, self: self, hardware: m, statuses: statuses}
	return &reconcile.Loop{Name: "host/report", Kind: host.Hosts.Kind, Resync: lookAgain, Step: r.step}
}

type reporter struct {
	db       *store.DB
	self     Self
	hardware Hardware
	statuses *store.StatusWriter[host.Spec, host.Status]
	// what was found out last; only the one worker of the loop touches it
	seen picture
}

// picture is what a probe found.
type picture struct {
	until     time.Time
	inventory host.Inventory
	profile   host.Profile
	err       error
}

func (r *reporter) step(ctx context.Context, id resource.ID) (reconcile.Result, error) {
	if id != r.self.HostID {
		return reconcile.Result{}, nil
	}
	h := host.Find(r.db.Snapshot(), id)
	if h == nil {
		return reconcile.Result{}, nil // this host has not joined yet; its record will call
	}
	r.look(ctx)
	if ctx.Err() != nil {
		return reconcile.Result{}, ctx.Err() // a probe that was called off says nothing about the host
	}
	inventoried := r.self.Inventoried == nil || r.self.Inventoried()
	b := r.db.Begin()
	r.statuses.Set(b, h, func(t *host.Status) { r.fill(t, h, inventoried) })
	if err := r.db.Commit(ctx, b); err != nil {
		return reconcile.Result{}, fault.Wrap(err, "report host %s", h.Name)
	}
	switch {
	case !inventoried:
		return reconcile.Result{After: notYetAfter}, nil
	case r.seen.err != nil:
		return reconcile.Result{After: tryAgain}, nil
	}
	return reconcile.Result{}, nil
}

// look probes if what is known is old. The loop is called for every record that names this host.
func (r *reporter) look(ctx context.Context) {
	now := r.db.Now()
	if !r.seen.until.IsZero() && now.Before(r.seen.until) {
		return
	}
	p := picture{until: now.Add(lookAgain)}
	if p.inventory, p.err = r.hardware.Inventory(); p.err == nil {
		p.profile, p.err = r.hardware.Profile(ctx)
	}
	if p.err == nil && r.self.Here != nil {
		p.err = r.self.Here()
	}
	if p.err != nil {
		p.until = now.Add(tryAgain)
	}
	if ctx.Err() == nil {
		r.seen = p
	}
}

func (r *reporter) fill(t *host.Status, h *host.Host, inventoried bool) {
	t.SeenGeneration = h.Generation
	t.Addresses = nil
	if r.self.Addresses != nil {
		t.Addresses = r.self.Addresses()
	}
	t.Address, t.TunnelAddress, t.APIAddress, t.Version = r.self.Address, r.self.TunnelAddress, r.self.APIAddress, r.self.Version
	t.Inventory, t.Profile = r.seen.inventory, r.seen.profile
	t.Inventoried = ""
	if inventoried {
		t.Inventoried = "yes"
	}
	wrong, message := r.seen.err, ""
	if wrong == nil && r.self.Unknown != nil {
		wrong = r.self.Unknown()
	}
	if wrong != nil {
		message = wrong.Error()
	}
	t.Problems = resource.SetProblem(t.Problems, string(fault.KindOf(wrong)), message, r.db.Now().UTC())
}

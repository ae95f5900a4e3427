package qemu

import (
	"context"
	"io"
	"net"
	"sync"
	"time"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/compute/stream"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// What is set before memory moves. The bandwidth is not bounded here: the network is.
const (
	maxBandwidth = 10_000_000_000 // bytes a second
	dialLimit    = 10 * time.Second
	pourSize     = 256 << 10 // bytes that are copied at once
)

// A guest may stand still for a blink at first, and for longer only when it has written so much
// that it would never end: the limit doubles with each pass over its memory after the third.
const (
	shortDowntime = int64(30) // ms
	longDowntime  = int64(480)
	freePasses    = 3
)

func downtimeAfter(passes int64) int64 {
	return min(shortDowntime<<min(max(passes-freePasses, 0), 8), longDowntime)
}

type capability struct {
	Capability string `json:"capability"`
	State      bool   `json:"state"`
}

func (g *guest) capabilities(ctx context.Context, names ...string) error {
	var all []capability
	for _, n := range names {
		all = append(all, capability{n, true})
	}
	return g.do(ctx, "migrate-set-capabilities", map[string]any{"capabilities": all}, nil)
}

// awaitMemory readies the target. Late activation leaves the disks closed until the guest is let run
// here: until then they are the source's. There is no door: the one stream is handed over when it comes.
func (g *guest) awaitMemory(ctx context.Context) error {
	return g.capabilities(ctx, "events", "late-block-activate")
}

// Send implements onhost.Migrator. The attempt is written down first: one that a crash has cut
// short is found to have failed.
func (d *Driver) Send(ctx context.Context, id resource.ID, to compute.Outgoing) error {
	g, err := d.known(id)
	if err != nil {
		return err
	}
	defer g.mu.Unlock()
	if g.saved.Transfer.OperationID == to.OperationID {
		return nil
	}
	if g.saved.Transfer.State == onhost.TransferActive {
		return fault.New(fault.Precondition, "send instance %s: another migration is under way, cancel it first", id)
	}
	if d.cfg.Dial == nil {
		return fault.New(fault.Precondition, "send instance %s: this host cannot reach other hosts", id)
	}
	g.saved.Transfer = onhost.Transfer{OperationID: to.OperationID, State: onhost.TransferActive}
	if err := g.keep(); err != nil {
		return err
	}
	if err := g.send(ctx, to); err != nil {
		g.saved.Transfer.State, g.saved.Transfer.Error = onhost.TransferFailed, err.Error()
		return g.keep()
	}
	return nil
}

func (g *guest) send(ctx context.Context, to compute.Outgoing) error {
	if err := g.capabilities(ctx, "events", "auto-converge"); err != nil {
		return err
	}
	if err := g.do(ctx, "migrate-set-parameters", map[string]any{"max-bandwidth": int64(maxBandwidth)}, nil); err != nil {
		return err
	}
	if err := g.allowDowntime(ctx, 0); err != nil {
		return err
	}
	dialing, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	far, err := g.d.cfg.Dial(dialing, to)
	if err != nil {
		return fault.Wrap(err, "reach the target at %s", to.Address)
	}
	near, err := g.give(ctx, "out")
	if err != nil {
		_ = far.Close()
		return err
	}
	g.d.wg.Go(func() { join(g.d.ctx, near, far) })
	if err := g.do(ctx, "migrate", map[string]any{"uri": "fd:out"}, nil); err != nil {
		_ = near.Close()
		return err
	}
	return nil
}

// allowDowntime sets how long the guest may stand still after so many passes.
func (g *guest) allowDowntime(ctx context.Context, passes int64) error {
	limit := downtimeAfter(passes)
	if limit == g.downtime {
		return nil
	}
	if err := g.do(ctx, "migrate-set-parameters", map[string]any{"downtime-limit": limit}, nil); err != nil {
		return err
	}
	g.downtime = limit
	return nil
}

// AcceptStream implements onhost.Migrator.
func (d *Driver) AcceptStream(ctx context.Context, id resource.ID, conn net.Conn) error {
	defer func() { _ = conn.Close() }()
	near, err := d.takeMemory(ctx, id)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(d.ctx, cancel)()
	join(ctx, near, conn)
	return nil
}

// takeMemory lets QEMU receive, once: a second stream is refused here, and by QEMU itself.
func (d *Driver) takeMemory(ctx context.Context, id resource.ID) (net.Conn, error) {
	g, err := d.known(id)
	if err != nil {
		return nil, err
	}
	defer g.mu.Unlock()
	if !g.saved.Incoming || !g.saved.Ready || g.saved.Resumed || !g.alive() {
		return nil, fault.New(fault.Precondition, "instance %s does not wait for memory", id)
	}
	if g.receives {
		return nil, fault.New(fault.Precondition, "instance %s receives its memory already", id)
	}
	near, err := g.give(ctx, "in")
	if err != nil {
		return nil, fault.Wrap(err, "hand over memory")
	}
	if err := g.do(ctx, "migrate-incoming", map[string]any{"uri": "fd:in"}, nil); err != nil {
		_ = near.Close()
		return nil, fault.Wrap(err, "hand over memory")
	}
	g.receives = true
	return near, nil
}

// join copies both ways until both have ended, one of them breaks, or ctx ends.
func join(ctx context.Context, a, b net.Conn) {
	done := func() { _ = a.Close(); _ = b.Close() }
	defer done()
	defer context.AfterFunc(ctx, done)()
	var wg sync.WaitGroup
	wg.Go(func() { pour(a, b, done) })
	wg.Go(func() { pour(b, a, done) })
	wg.Wait()
}

// pour copies until the reader's end and tells the writer that there is no more. A copy that breaks
// ends both: half a stream must not look like a whole one.
func pour(to, from net.Conn, broken func()) {
	// Plain reader and writer, so that the large buffer is used: memory comes by the hundred MiB.
	_, err := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, pourSize))
	if err != nil {
		broken()
		return
	}
	_ = stream.CloseWrite(to)
}

// Cancel implements onhost.Migrator.
func (d *Driver) Cancel(ctx context.Context, id resource.ID) error {
	g, err := d.known(id)
	if err != nil {
		return err
	}
	defer g.mu.Unlock()
	if g.saved.Transfer.State != onhost.TransferActive {
		return nil
	}
	return fault.Wrap(g.do(ctx, "migrate_cancel", nil, nil), "cancel the migration")
}

type migration struct {
	Status   string `json:"status"`
	Error    string `json:"error-desc"`
	Total    int64  `json:"total-time"`
	Downtime int64  `json:"downtime"`
	RAM      struct {
		Passes int64 `json:"dirty-sync-count"`
	} `json:"ram"`
}

// followTransfer gives a transfer what it needs to end, and writes down how it went. The figures come
// a moment after the word that it is completed, and are not waited for.
func (g *guest) followTransfer(ctx context.Context) error {
	var m migration
	if err := g.do(ctx, "query-migrate", nil, &m); err != nil {
		return err
	}
	t := &g.saved.Transfer
	switch m.Status {
	case "completed":
		t.State, t.DowntimeMillis, t.TotalMillis = onhost.TransferDone, m.Downtime, m.Total
	case "failed":
		t.State, t.Error = onhost.TransferFailed, "the memory could not be sent: "+m.Error
	case "cancelled":
		t.State, t.Error = onhost.TransferCanceled, "the migration was cancelled"
	case "", "none":
		t.State, t.Error = onhost.TransferFailed, "the agent was restarted before the transfer began"
	default:
		return g.allowDowntime(ctx, m.RAM.Passes)
	}
	return g.keep()
}

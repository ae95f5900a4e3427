// Package qemu runs guests in QEMU processes that are children of nobody.
//
// Each guest has a folder, and in it a small file that says what the driver must know after it has
// died: which process it is, which epoch owns it, how it ended. That file is written before what it
// says is done, so after a crash the truth is one of two things, and both are looked for: a
// process that was to be started is searched by its name on the command line, one that was to be
// ended is ended again.
//
// A QEMU process is held by a pidfd that was checked against pid, start time and command line. It runs
// as its guest's own user, in its own session and control group, inside QEMU's seccomp sandbox.
// It is handed its sockets, which lie in a folder of root's; only the daemon can reach them, and
// it asks the kernel whether the process at the other end is the one that is meant.
//
// When the guest powers itself off or panics QEMU stays, stopped: whoever looks first
// writes down how the guest ended. What the guest asked of its QEMU is never lost by the
// daemon's being away.
package qemu

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/compute/onhost/cgroup"
	"github.com/virga-cloud/virga/compute/onhost/qmp"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// Config is what the driver is given.
type Config struct {
	// RunDir holds one folder a guest. Its path is at most 55 bytes: sockets have short names.
	RunDir string
	// LogDir keeps what guests say on their serial lines. It outlives the guests and the host's restart.
	LogDir string
	// Binary is QEMU; empty: qemu-system-x86_64.
	Binary string
	// Groups is the slice in which QEMU processes are put; nil: nowhere.
	Groups *cgroup.Groups
	// Dial opens the way to a migration's target.
	Dial onhost.Dial
	// Changed, if set, is told that something has happened to a guest. It must not block.
	Changed func(resource.ID)
	// Now is the clock; nil: the real one.
	Now func() time.Time
}

// Driver is the hypervisor.
type Driver struct {
	cfg Config
	aio string

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	guests map[resource.ID]*guest
	lines  map[resource.ID]*serialLog // the latest run of each VM of a guest here, by VM

	probing sync.Mutex
	info    Info
}

var (
	_ onhost.Hypervisor    = (*Driver)(nil)
	_ onhost.Migrator      = (*Driver)(nil)
	_ onhost.Console       = (*Driver)(nil)
	_ onhost.Logger        = (*Driver)(nil)
	_ onhost.Screenshotter = (*Driver)(nil)
	_ onhost.Insider       = (*Driver)(nil)
	_ onhost.Grouper       = (*Driver)(nil)
)

// guest is one guest; its lock is held while something is done to it.
type guest struct {
	d   *Driver
	id  resource.ID
	dir string

	mu     sync.Mutex
	saved  saved
	proc   *process // nil: ended, or never started
	qmp    *qmp.Client
	mux    *mux
	log    *serialLog
	placed atomic.Value // string: the control group of its process; empty: it has none
	broken error        // its state cannot be read: nothing is done to it

	leaving  map[string]asked // the devices that it was asked to give up, by QEMU's names
	receives bool             // its memory comes, or has come, by this daemon
	downtime int64            // ms that QEMU was last told it may let the guest stand still
}

// New reads what runs and adopts it. QEMU itself may be missing: that is said when a guest
// is to be started.
func New(cfg Config) (*Driver, error) {
	if cfg.Binary == "" {
		cfg.Binary = "qemu-system-x86_64"
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Changed == nil {
		cfg.Changed = func(resource.ID) {}
	}
	if cfg.Groups == nil {
		cfg.Groups = new(cgroup.Groups)
	}
	if over := tooLong(cfg.RunDir); over > 0 {
		return nil, fault.New(fault.Invalid, "use %s for guests' sockets: the path is %d bytes too long", cfg.RunDir, over)
	}
	keepInherited()
	if err := os.MkdirAll(cfg.RunDir, 0o711); err != nil {
		return nil, fault.New(fault.Precondition, "make the folder of guests: %w", err)
	}
	if err := os.MkdirAll(cfg.LogDir, 0o700); err != nil {
		return nil, fault.New(fault.Precondition, "make the folder of serial logs: %w", err)
	}
	d := &Driver{cfg: cfg, aio: aioHere(), guests: map[resource.ID]*guest{}, lines: map[resource.ID]*serialLog{}}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	entries, err := os.ReadDir(cfg.RunDir)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "list the guests' folders: %w", err)
	}
	for _, e := range entries {
		if e.IsDir() {
			g := d.guest(resource.ID(e.Name()))
			g.adopt()
		}
	}
	d.rescue()
	return d, nil
}

// tooLong says by how many bytes a folder's path is too long for the sockets of guests below it.
func tooLong(runDir string) int {
	return len(runDir) + 1 + 36 + 1 + longestName - 107
}

// Fits reports whether guests can have their folders below one.
func Fits(runDir string) bool { return tooLong(runDir) <= 0 }

// Close lets go of all guests. They run on.
func (d *Driver) Close() {
	d.cancel()
	d.mu.Lock()
	all := d.all()
	d.mu.Unlock()
	for _, g := range all {
		g.mu.Lock()
		g.letGo()
		g.mu.Unlock()
	}
	d.wg.Wait()
}

// all is called with the lock held.
func (d *Driver) all() []*guest {
	out := make([]*guest, 0, len(d.guests))
	for _, g := range d.guests {
		out = append(out, g)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].id < out[j].id })
	return out
}

// guest finds or makes the place of a guest in memory; nothing is made on disk.
func (d *Driver) guest(id resource.ID) *guest {
	d.mu.Lock()
	defer d.mu.Unlock()
	g := d.guests[id]
	if g == nil {
		g = &guest{d: d, id: id, dir: filepath.Join(d.cfg.RunDir, string(id))}
		d.guests[id] = g
	}
	return g
}

// known gives a guest that has a state, locked.
func (d *Driver) known(id resource.ID) (*guest, error) {
	if d.ctx.Err() != nil {
		return nil, fault.New(fault.Unavailable, "look at instance %s: the driver is closed", id)
	}
	d.mu.Lock()
	g := d.guests[id]
	d.mu.Unlock()
	if g == nil {
		return nil, fault.New(fault.NotFound, "no guest of instance %s is here", id)
	}
	g.mu.Lock()
	if g.broken == nil && g.saved.ID == "" {
		g.mu.Unlock()
		return nil, fault.New(fault.NotFound, "no guest of instance %s is here", id)
	}
	if g.broken != nil {
		g.mu.Unlock()
		return nil, g.broken
	}
	return g, nil
}

func (g *guest) own() string               { return filepath.Join(g.dir, ownFolder) }
func (g *guest) socket(name string) string { return filepath.Join(g.dir, name) }
func (g *guest) group() string             { return cmp.Or(g.saved.Group, onhost.GroupOf(g.id)) }
func (g *guest) keep() error               { return g.saved.save(g.dir) }
func (g *guest) alive() bool               { return g.proc != nil && g.proc.alive() }

func (g *guest) hold(p *process) {
	g.proc = p
	g.placed.Store(g.group())
	p.follow(&g.d.wg, func() {
		g.placed.Store("")
		g.d.cfg.Changed(g.id)
	})
	g.d.speaks(g.saved.VMID, g.log, p.done)
	// Also of one that is adopted: the daemon may have died before it was in the group that is written down.
	if err := g.enter(); err != nil && g.alive() { // a guest without its fair share is better than none
		warn(g.id, "QEMU could not be put into its control group", err)
	}
}

// adopt is called once, before anybody else knows the guest.
func (g *guest) adopt() {
	g.mu.Lock()
	defer g.mu.Unlock()
	s, err := load(g.dir)
	if err != nil && g.runs() {
		slog.Warn("the saved state of a guest that runs cannot be read; it is made anew", "instance", g.id, "error", err)
		return // rescue takes hold of it
	}
	if errors.Is(err, fs.ErrNotExist) {
		// The daemon died before it wrote that a start was near.
		_ = os.RemoveAll(g.dir)
		return
	}
	if err != nil {
		g.broken = err
		return
	}
	g.saved, g.log = s, g.d.serialLog(s.VMID)
	if s.BootID != bootID() {
		return // the host was started again since; look will say so
	}
	var p *process
	switch {
	case s.PID != 0:
		p, err = adopt(g.id, s.PID, s.Ticks)
	case s.Exit == "":
		if p, err = search(g.id, g.dir); err == nil {
			g.saved.PID = p.pid
			g.saved.Ticks, _ = startTicks(p.pid)
			if err := g.keep(); err != nil {
				g.broken = err
			}
		}
	default:
		return
	}
	if err == nil {
		g.hold(p)
		slog.Info("adopted a guest", "instance", g.id, "pid", p.pid)
	}
}

// runs reports whether a QEMU process of the guest is there.
func (g *guest) runs() bool {
	p, err := search(g.id, g.dir)
	if err == nil {
		_ = p.pidfd.Close()
	}
	return err == nil
}

// OfVM implements onhost.Kin.
func (d *Driver) OfVM(vmID resource.ID) []onhost.Guest {
	d.mu.Lock()
	all := d.all()
	d.mu.Unlock()
	var out []onhost.Guest
	for _, g := range all {
		g.mu.Lock()
		if g.saved.VMID == vmID && g.alive() {
			out = append(out, g.picture())
		}
		g.mu.Unlock()
	}
	return out
}

// letGo closes everything that is held of a guest, which runs on.
func (g *guest) letGo() {
	if g.qmp != nil {
		_ = g.qmp.Close()
		g.qmp = nil
	}
	if g.mux != nil {
		g.mux.close()
		g.mux = nil
	}
	if g.proc != nil {
		_ = g.proc.pidfd.Close()
	}
}

// monitor gives the connection to QEMU, and makes it where there is none.
func (g *guest) monitor(ctx context.Context) (*qmp.Client, error) {
	if !g.alive() {
		return nil, fault.New(fault.Precondition, "instance %s has no QEMU any more", g.id)
	}
	if g.qmp != nil && g.qmp.Err() == nil {
		return g.qmp, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	conn, err := g.connect(ctx, qmpSocket)
	var c *qmp.Client
	if err == nil {
		c, err = qmp.New(ctx, conn)
	}
	if err != nil {
		return nil, fault.New(fault.Unavailable, "talk to QEMU of instance %s: %w", g.id, err)
	}
	g.qmp = c
	events, _ := c.Events()
	g.d.wg.Go(func() {
		for e := range events {
			slog.Debug("QEMU says", "instance", g.id, "event", e.Name, "at", e.At, "data", string(e.Data))
			g.d.cfg.Changed(g.id)
		}
	})
	return c, nil
}

// do runs a command with a limit: a QEMU process that hangs must not hang the agent.
func (g *guest) do(ctx context.Context, command string, args, result any) error {
	c, err := g.monitor(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return g.explain(c.Do(ctx, command, args, result))
}

func (g *guest) explain(err error) error {
	if err == nil {
		return nil
	}
	if said, ok := errors.AsType[*qmp.Error](err); ok {
		return fault.New(kindOfText(said.Desc), "instance %s: %w", g.id, err)
	}
	return fault.New(fault.Unavailable, "instance %s: %w", g.id, err)
}

// finish writes down how a guest ended whose QEMU is gone.
func (g *guest) finish() error {
	if g.qmp != nil {
		_ = g.qmp.Close()
		g.qmp = nil
	}
	if g.mux != nil {
		g.mux.close()
		g.mux = nil
	}
	g.trimLog()
	if g.saved.Exit != "" {
		return nil
	}
	exit, message := howEnded(g.saved, g.proc, bootID())
	if words := lastWords(g.dir); words != "" {
		message += ": " + words
	}
	return g.ends(exit, message)
}

func (g *guest) ends(exit compute.Exit, message string) error {
	g.saved.Exit, g.saved.ExitMessage, g.saved.EndedAt = exit, message, g.d.cfg.Now().UTC()
	return g.keep()
}

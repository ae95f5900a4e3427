package qemu

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/compute/onhost/seed"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

const (
	startLimit  = 20 * time.Second       // from the process to its first answer
	answerLimit = 3 * time.Second        // of a question that costs nothing
	settle      = 300 * time.Millisecond // between a lost connection and the end of the process
)

// Ensure implements onhost.Hypervisor.
func (d *Driver) Ensure(ctx context.Context, m onhost.VMConfig) error {
	g := d.guest(m.ID)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.broken != nil {
		return g.broken
	}
	if g.saved.ID == "" {
		return g.start(ctx, m)
	}
	switch {
	case m.Epoch < g.saved.Epoch:
		return fault.New(fault.Conflict, "instance %s has epoch %d here, and %d is asked for: a newer owner has it", m.ID, g.saved.Epoch, m.Epoch)
	case !g.alive():
		if err := g.finish(); err != nil {
			return err
		}
		return fault.New(fault.Precondition, "instance %s has ended (%s) and is not started again", m.ID, g.saved.Exit)
	}
	if m.Epoch > g.saved.Epoch {
		g.saved.Epoch = m.Epoch
		if err := g.keep(); err != nil {
			return err
		}
	}
	if !g.saved.Ready { // the daemon died in the middle of a start
		return g.prepare(ctx, m.Disks)
	}
	return nil
}

// start makes a guest of nothing. Die before the state is written: there is an empty folder. Die
// after it: QEMU is searched by its name. Either way the next look finds the truth.
func (g *guest) start(ctx context.Context, m onhost.VMConfig) error {
	if err := g.d.probe(ctx); err != nil {
		return err
	}
	taps, err := openTaps(m.NICs)
	defer func() { closeAll(slices.Concat(taps...)) }()
	if err != nil {
		return err
	}
	if err := g.folders(m); err != nil {
		_ = os.RemoveAll(g.dir)
		return err
	}
	s := saved{ID: m.ID, VMID: m.VMID, Epoch: m.Epoch, UID: m.UID, BootID: bootID(), Incoming: m.Incoming, Screen: m.Screen != onhost.NoScreen, Grows: m.MaxMemoryMiB > 0, Threads: threadsOf(m), StartedAt: g.d.cfg.Now().UTC()}
	if err := s.save(g.dir); err != nil {
		_ = os.RemoveAll(g.dir)
		return err
	}
	g.saved, g.log = s, g.d.serialLog(m.VMID)
	if err := g.spawn(m, taps); err != nil {
		return errors.Join(err, g.ends(compute.ExitFailed, err.Error()))
	}
	if err := g.prepare(ctx, m.Disks); err != nil {
		if ctx.Err() != nil {
			return err // the daemon is ending; the next one goes on from here
		}
		return g.failed(err)
	}
	return nil
}

// failed ends what did not start, and says why in QEMU's own words.
func (g *guest) failed(err error) error {
	if g.proc.waitEnd(settle) {
		words := lastWords(g.dir)
		kind := kindOfText(words)
		err = fault.New(kind, "start instance %s: %s", g.id, wordsFor(kind, words))
	} else {
		err = fault.Wrap(err, "start instance %s", g.id)
	}
	if keepErr := g.ends(compute.ExitFailed, err.Error()); keepErr != nil {
		return keepErr
	}
	return errors.Join(err, g.kill())
}

func (d *Driver) probe(ctx context.Context) (err error) {
	d.probing.Lock()
	defer d.probing.Unlock()
	if d.info.Version == "" {
		d.info, err = Probe(ctx, d.cfg.Binary)
	}
	return err
}

func openTaps(nics []onhost.NIC) (taps [][]*os.File, err error) {
	for _, n := range nics {
		tap, err := openTap(n)
		if err != nil {
			return taps, err
		}
		taps = append(taps, tap)
	}
	return taps, nil
}

// folders makes the guest's folder, which is root's, and the one of its own user within.
func (g *guest) folders(m onhost.VMConfig) error {
	for _, dir := range []string{g.dir, g.own()} {
		if err := os.Mkdir(dir, 0o710); err != nil && !errors.Is(err, fs.ErrExist) {
			return fault.New(fault.Unavailable, "make the folder of instance %s: %w", g.id, err)
		}
	}
	seedPath := filepath.Join(g.dir, seedFile)
	if len(m.Seed) > 0 {
		if err := seed.Write(seedPath, m.Seed); err != nil {
			return fault.New(fault.Unavailable, "instance %s: %w", g.id, err)
		}
	}
	if !dropping(m.UID) {
		return nil
	}
	uid := int(m.UID)
	err := errors.Join(os.Chown(g.dir, 0, uid), os.Chown(g.own(), uid, uid), os.Chmod(g.own(), 0o700))
	if len(m.Seed) > 0 {
		err = errors.Join(err, os.Chown(seedPath, 0, uid), os.Chmod(seedPath, 0o640))
	}
	if err != nil {
		return fault.New(fault.Unavailable, "give the folder of instance %s to its user: %w", g.id, err)
	}
	return nil
}

// dropping reports whether QEMU is to run as another user than this daemon.
func dropping(uid int64) bool { return uid > 0 && os.Geteuid() == 0 }

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

func (g *guest) spawn(m onhost.VMConfig, taps [][]*os.File) error {
	path, err := exec.LookPath(g.d.cfg.Binary)
	if err != nil {
		return fault.New(fault.Precondition, "find QEMU: %w", err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return fault.New(fault.Unavailable, "open %s: %w", os.DevNull, err)
	}
	defer func() { _ = null.Close() }()
	words, err := os.OpenFile(filepath.Join(g.dir, stderrFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fault.New(fault.Unavailable, "open the error log of instance %s: %w", g.id, err)
	}
	defer func() { _ = words.Close() }()
	said, err := g.log.begin()
	if err != nil { // a guest without its log is better than none
		warn(g.id, "the serial log cannot be kept", err)
		if said, err = os.OpenFile(os.DevNull, os.O_WRONLY, 0); err != nil {
			return fault.New(fault.Unavailable, "open %s: %w", os.DevNull, err)
		}
	}
	defer func() { _ = said.Close() }()
	sockets, err := g.bindDoors()
	defer closeAll(sockets)
	if err != nil {
		return err
	}
	place := Place{Folder: g.dir, AIO: g.d.aio}
	if len(m.Seed) > 0 {
		place.SeedPath = filepath.Join(g.dir, seedFile)
	}
	for _, disk := range m.Disks {
		place.Direct = append(place.Direct, direct(disk.Source.Path))
	}
	attr := &syscall.ProcAttr{
		Dir: "/", Env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C"},
		Files: []uintptr{null.Fd(), words.Fd(), words.Fd(), said.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	}
	place.LogFD = len(attr.Files) - 1
	place.MonitorFD, place.SerialFD, place.AgentFD = len(attr.Files), len(attr.Files)+1, len(attr.Files)+2
	for _, s := range sockets {
		attr.Files = append(attr.Files, s.Fd())
	}
	for _, queues := range taps {
		var fds []int
		for _, queue := range queues {
			fds = append(fds, len(attr.Files))
			attr.Files = append(attr.Files, queue.Fd())
		}
		place.TapFDs = append(place.TapFDs, fds)
	}
	if dropping(m.UID) {
		attr.Sys.Credential = &syscall.Credential{Uid: uint32(m.UID), Gid: uint32(m.UID)}
		if group := deviceGroup(); group != 0 && m.Accelerator == "kvm" {
			attr.Sys.Credential.Groups = []uint32{group}
		}
	}
	variables, err := g.d.variables(m)
	if err != nil {
		return err
	}
	if variables != nil {
		defer func() { _ = variables.Close() }()
		place.VariablesFD = len(attr.Files)
		attr.Files = append(attr.Files, variables.Fd())
	}
	line := limited(path, Arguments(m, place))
	pid, _, err := syscall.StartProcess(line[0], line, attr)
	if err != nil {
		return fault.New(fault.Precondition, "start QEMU of instance %s: %w", g.id, err)
	}
	return g.record(pid)
}

// record takes hold of the new process and writes its number down. Die before: it is searched.
func (g *guest) record(pid int) error {
	p, err := open(pid)
	if err != nil {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it is our child and not waited for: the number is still its own
		return fault.New(fault.Internal, "start instance %s: %w", g.id, err)
	}
	g.saved.PID = pid
	// Before it is followed: one that has ended already keeps its place until it is waited for.
	g.saved.Ticks, err = startTicks(pid)
	g.hold(p)
	if err != nil {
		return errors.Join(fault.New(fault.Internal, "start instance %s: %w", g.id, err), g.kill())
	}
	if err := g.keep(); err != nil {
		return errors.Join(err, g.kill())
	}
	return nil
}

// enter puts QEMU into its control group. What the group gets there, the host divides.
func (g *guest) enter() error {
	groups := g.d.cfg.Groups
	if err := groups.Ensure(g.group()); err != nil {
		return err
	}
	return groups.AddPID(g.group(), g.saved.PID)
}

// Grouped implements onhost.Grouper.
func (d *Driver) Grouped() map[resource.ID]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := map[resource.ID]string{}
	for id, g := range d.guests {
		if name, _ := g.placed.Load().(string); name != "" {
			out[id] = name
		}
	}
	return out
}

// Group implements onhost.Grouper.
func (d *Driver) Group(_ context.Context, id resource.ID, name string) error {
	g, err := d.known(id)
	if err != nil {
		return err
	}
	defer g.mu.Unlock()
	old := g.group()
	if old == name || !g.alive() {
		return nil
	}
	g.saved.Group = name
	if err := g.keep(); err != nil { // before it is there, so that it is found there
		return err
	}
	if err := g.enter(); err != nil {
		return fault.New(fault.Unavailable, "put instance %s into the control group %s: %w", id, name, err)
	}
	g.placed.Store(name)
	if err := d.cfg.Groups.Remove(old); err != nil {
		warn(id, "the control group that it left could not be removed", err)
	}
	return nil
}

// prepare waits until QEMU answers, checks that it stands still, holds those disks to their limits, and readies
// it for memory. It may be repeated.
func (g *guest) prepare(ctx context.Context, disks []onhost.Disk) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	if err := g.firstAnswer(ctx); err != nil {
		return err
	}
	var status struct {
		Status string `json:"status"`
	}
	if err := g.do(ctx, "query-status", nil, &status); err != nil {
		return err
	}
	if g.saved.Incoming && status.Status == "inmigrate" {
		if err := g.awaitMemory(ctx); err != nil {
			return err
		}
	}
	if err := g.limitAll(ctx, disks); err != nil {
		return err
	}
	if err := g.pin(ctx); err != nil {
		return err
	}
	g.saved.Ready = true
	return g.keep()
}

func (g *guest) firstAnswer(ctx context.Context) error {
	for {
		_, err := g.monitor(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-g.proc.done:
			return fault.New(fault.Internal, "QEMU ended at once")
		case <-ctx.Done():
			return fault.New(fault.Unavailable, "QEMU does not answer: %w", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

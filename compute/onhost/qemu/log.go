package qemu

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

const (
	logSize    = 1 << 20 // bytes of a serial log before its older half goes
	logPause   = 200 * time.Millisecond
	latestLog  = ".log"
	earlierLog = ".earlier.log"
)

// serialLog is one run of a VM's serial line. Its folder is root's alone, and QEMU is
// handed the open file: it can add to it, and can put nothing else in its place.
//
// QEMU appends at any time and the daemon cuts the front off, so places in the log are counted
// from the run's first byte, as far as this daemon has seen it.
type serialLog struct {
	path string          // without the ending
	done <-chan struct{} // closed when QEMU is gone

	mu  sync.Mutex
	cut int64 // bytes that went off the front
}

func (d *Driver) serialLog(vmID resource.ID) *serialLog {
	return &serialLog{path: filepath.Join(d.cfg.LogDir, string(vmID)), done: ended}
}

// ended is the end of a QEMU process that nobody holds.
var ended = func() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// speaks tells those who follow a VM's log who writes it, and until when.
func (d *Driver) speaks(vmID resource.ID, l *serialLog, done <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l.done = done
	d.lines[vmID] = l
}

// trimLog keeps a guest that writes without end, and a QEMU that does, from filling the disk.
func (g *guest) trimLog() {
	trimFile(filepath.Join(g.dir, stderrFile), stderrSize)
	g.d.mu.Lock()
	latest := g.d.lines[g.saved.VMID] == g.log
	g.d.mu.Unlock()
	if latest {
		g.log.trim()
	}
}

// begin opens the log of a run that is about to start. What was there becomes the earlier run, unless
// nothing was said in it: a start that fails must not push out the words of a crash.
func (l *serialLog) begin() (*os.File, error) {
	if info, err := os.Stat(l.path + latestLog); err == nil && info.Size() > 0 {
		l.trim()
		if err := os.Rename(l.path+latestLog, l.path+earlierLog); err != nil {
			return nil, err
		}
	}
	return os.OpenFile(l.path+latestLog, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
}

// trim takes the older half away when there is too much. What QEMU writes between the two
// calls is lost.
func (l *serialLog) trim() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut += trimFile(l.path+latestLog, logSize)
}

// end gives the last bytes.
func (l *serialLog) end(size int64) []byte {
	f, err := os.Open(l.path + latestLog)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	from := max(0, sizeOf(f)-size)
	out, _ := io.ReadAll(io.NewSectionReader(f, from, size))
	return out
}

func sizeOf(f *os.File) int64 {
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}

// Log implements onhost.Logger.
func (d *Driver) Log(ctx context.Context, vmID resource.ID, options compute.LogOptions) (io.ReadCloser, error) {
	nothing := fault.New(fault.NotFound, "the VM has said nothing on this host")
	if uuid.Validate(string(vmID)) != nil { // it comes from outside, and becomes a path
		return nil, nothing
	}
	d.mu.Lock()
	l := d.lines[vmID]
	if l == nil || options.Previous {
		l = d.serialLog(vmID)
	}
	r := &logReader{log: l, ctx: ctx, done: l.done, over: d.ctx.Done()}
	d.mu.Unlock()
	name := l.path + latestLog
	if options.Previous {
		name = l.path + earlierLog
		nothing = fault.New(fault.NotFound, "no earlier run of the VM is kept on this host")
	}
	var err error
	if r.file, err = os.Open(name); errors.Is(err, fs.ErrNotExist) {
		return nil, nothing
	}
	if err == nil {
		err = r.begin(options)
	}
	if err != nil {
		return nil, fault.New(fault.Internal, "read the serial log of VM %s: %w", vmID, err)
	}
	return r, nil
}

// logReader reads a log, and goes on where it is followed.
type logReader struct {
	log  *serialLog
	file *os.File
	pos  int64 // counted from the run's first byte
	end  int64 // where a log that is not followed ends

	ctx        context.Context
	done, over <-chan struct{} // QEMU's end, the driver's
	follow     bool
}

func (r *logReader) begin(options compute.LogOptions) error {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	size := sizeOf(r.file)
	from, err := lastLines(r.file, size, options.Tail)
	r.pos, r.end, r.follow = r.log.cut+from, r.log.cut+size, options.Follow
	return err
}

func (r *logReader) Close() error { return r.file.Close() }

// Read gives what is there; it waits for more only where the log is followed.
func (r *logReader) Read(p []byte) (int, error) {
	for {
		gone := false
		select {
		case <-r.done:
			gone = true // before the last look: nothing comes after it
		default:
		}
		n, err := r.next(p)
		if n > 0 || err != nil {
			return n, err
		}
		if gone || !r.follow {
			return 0, io.EOF
		}
		select {
		case <-r.done:
		case <-time.After(logPause):
		case <-r.ctx.Done():
			return 0, r.ctx.Err()
		case <-r.over:
			return 0, fault.New(fault.Unavailable, "follow a serial log: the agent is ending")
		}
	}
}

func (r *logReader) next(p []byte) (int, error) {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	r.pos = max(r.pos, r.log.cut) // what was cut off before it was read is lost
	if !r.follow {
		p = p[:max(0, min(int64(len(p)), r.end-r.pos))]
	}
	n, err := r.file.ReadAt(p, r.pos-r.log.cut)
	if err == io.EOF {
		err = nil
	}
	r.pos += int64(n)
	return n, err
}

// lastLines is where so many last lines begin; below 0: all of them.
func lastLines(f io.ReaderAt, size, lines int64) (int64, error) {
	if lines < 0 {
		return 0, nil
	}
	block := make([]byte, 64<<10)
	seen := int64(-1) // the end of the last line begins none
	for at := size; at > 0 && lines > 0; {
		part := block[:min(at, int64(len(block)))]
		at -= int64(len(part))
		if _, err := f.ReadAt(part, at); err != nil {
			return 0, err
		}
		if at+int64(len(part)) == size && part[len(part)-1] != '\n' {
			seen = 0 // the last line is not ended yet
		}
		for i := len(part); i > 0; {
			if i = bytes.LastIndexByte(part[:i], '\n'); i < 0 {
				break
			}
			if seen++; seen == lines {
				return at + int64(i) + 1, nil
			}
		}
	}
	if lines == 0 {
		return size, nil
	}
	return 0, nil
}

// Logged implements onhost.Logger.
func (d *Driver) Logged() ([]resource.ID, error) {
	entries, err := os.ReadDir(d.cfg.LogDir)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "list the serial logs: %w", err)
	}
	var out []resource.ID
	for _, e := range entries {
		id, _, _ := strings.Cut(e.Name(), ".")
		if uuid.Validate(id) == nil {
			out = append(out, resource.ID(id))
		}
	}
	return slices.Compact(out), nil // they come sorted
}

// RemoveLog implements onhost.Logger.
func (d *Driver) RemoveLog(vmID resource.ID) error {
	all, err := filepath.Glob(d.serialLog(vmID).path + ".*") // with what its firmware keeps
	if err != nil {
		return fault.New(fault.Internal, "remove the serial log of VM %s: %w", vmID, err)
	}
	for _, name := range all {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fault.New(fault.Unavailable, "remove the serial log of VM %s: %w", vmID, err)
		}
	}
	return nil
}

package etcd

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/store"
)

// etcd ends the process when its disk is full: a write that fails cannot be taken back. So the
// store never lets it come to that. Below reserve it takes nothing that only adds; what is there can
// still be changed and deleted, which is how space is freed, within what etcd has on the disk already: the
// log has a segment in store, and the data file gets its next pages from the disk before it needs
// them.
const (
	reserve   = 192 << 20 // a segment of the log, one in store, and a step of the data file
	toStart   = 96 << 20  // a segment in store; without it the log could not go on at its end
	allowance = 4 << 20   // of changes while the disk is full
	pages     = 4 << 20   // of the data file that must be on the disk for them
)

// diskGuard watches the disk of a store.
type diskGuard struct {
	dir string

	mu       sync.Mutex
	short    bool  // the disk has less than the reserve
	spent    int64 // of the allowance since then
	filled   int64 // how far the data file has its blocks, used or not
	unfilled bool  // this disk cannot promise any
}

// left is how much the disk of a folder has, for us.
func left(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, fault.New(fault.Internal, "look at the disk of %s: %w", dir, err)
	}
	return int64(s.Bavail) * s.Bsize, nil
}

// CheckSpace refuses a start on a disk on which etcd would end soon.
func CheckSpace(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fault.New(fault.Internal, "make the state folder: %w", err)
	}
	free, err := left(dir)
	if err != nil {
		return err
	}
	kept, _ := filepath.Glob(filepath.Join(dir, "etcd", "member", "wal", "*.tmp"))
	for _, file := range kept { // a killed process has left them, and etcd takes them again
		if info, err := os.Stat(file); err == nil {
			free += info.Size()
		}
	}
	if free < toStart {
		return fault.New(fault.Exhausted, "start the state store: the disk of %s has %d MiB left, needed are %d; free space there and start again, nothing is lost",
			dir, free>>20, int64(toStart)>>20)
	}
	return nil
}

// admit says whether the disk has free space for a commit. Size is how far the data file is used.
func (r *diskGuard) admit(changes []store.Change, size int64) error {
	if !slices.ContainsFunc(changes, func(c store.Change) bool { return c.Op != store.Check }) {
		return nil // it only asks
	}
	free, err := left(r.dir)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fill(size)
	r.turn(free < reserve, free)
	if !r.short {
		return nil
	}
	refuse := fault.New(fault.Exhausted, "commit: the disk of the state store, %s, has %d MiB left, and the last %d MiB are kept for what is there: nothing new is taken. "+
		"Delete VMs, volumes or images, or free space there; it goes on by itself", r.dir, free>>20, int64(reserve)>>20)
	var weight int64
	adds := true // and does nothing else; a note of a deletion goes in with it
	for _, c := range changes {
		weight += int64(len(c.Value)) + 512
		if !store.Beside(c.Key.Kind) && (c.Op == store.Delete || c.Op == store.Put && c.Expect != store.Absent) {
			adds = false
		}
	}
	if adds || r.filled-size < pages || r.spent+weight > allowance {
		return refuse
	}
	r.spent += weight
	return nil
}

// turn notes that the disk became full, or has free space again, and says so once.
func (r *diskGuard) turn(short bool, free int64) {
	if short == r.short {
		return
	}
	r.short, r.spent = short, 0
	if short {
		slog.Error("the disk of the state store is nearly full; nothing new is taken until there is free space", "folder", r.dir, "leftMiB", free>>20, "reserveMiB", int64(reserve)>>20)
		return
	}
	slog.Info("the disk of the state store has free space again", "folder", r.dir, "leftMiB", free>>20)
}

// fill gives the data file blocks ahead of its use: it grows with holes, and etcd would find only
// when it writes into one that the disk has none left.
func (r *diskGuard) fill(size int64) {
	if r.filled-size >= 2*pages || r.unfilled {
		return
	}
	f, err := os.OpenFile(filepath.Join(r.dir, "etcd", "member", "snap", "db"), os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer f.Close()
	for err = unix.EINTR; errors.Is(err, unix.EINTR); { // the runtime's own signals interrupt it, and nothing is kept then
		err = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, size+4*pages)
	}
	switch {
	case err == nil:
		r.filled = size + 4*pages
	case !errors.Is(err, unix.ENOSPC):
		r.unfilled = true
	}
}

// begin is fill at the start, before anybody commits.
func (r *diskGuard) begin(size int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fill(size)
}

// moved says that the data file is another now.
func (r *diskGuard) moved() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.filled = 0
}

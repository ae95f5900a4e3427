package folder

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/virga-cloud/virga/engine/durable"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/storage/onhost"
)

// How the fence works, and what it relies on. Beside each thing lies the highest epoch that was here,
// and a lock. Whoever wants to act takes the lock, compares, writes a higher epoch down, acts, and lets
// go. On a local disk that is enough. On a share it relies on locks that hold between hosts: NFS since
// version 4, and since 3 with lockd, turns flock into them; a share mounted with nolock or
// local_lock has none, and two hosts may then act within the same moment. The epoch that is
// written down is seen by whoever comes later in any case.

const (
	owners   = "owners" // owners/<name>/{epoch,lock}: of who looks after an image or a volume
	lockFile = "lock"
	patience = 10 * time.Second // with somebody else who holds the lock
)

// fenced does something as the host that looks after a thing, in its epoch.
func fenced(ctx context.Context, at onhost.Place, name string, epoch int64, do func() error) error {
	folder := filepath.Join(at.Path, owners, name)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	lock, err := hold(ctx, folder, syscall.LOCK_EX)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := raise(folder, epoch, ""); err != nil {
		return err
	}
	return do()
}

// ownerName is the name of content below owners.
func ownerName(digest string) string { return strings.Replace(digest, ":", "-", 1) }

// hold takes the lock in a folder, which the kernel lets go of when its holder dies.
func hold(ctx context.Context, folder string, how int) (*os.File, error) {
	path := filepath.Join(folder, lockFile)
	for end := time.Now().Add(patience); ; {
		lock, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, err
		}
		err = syscall.Flock(int(lock.Fd()), how|syscall.LOCK_NB)
		if err == nil && named(lock, path) {
			return lock, nil
		}
		lock.Close()
		switch {
		case err == nil: // its holder has removed it with the folder
		case !errors.Is(err, syscall.EWOULDBLOCK):
			return nil, err
		case time.Now().After(end):
			return nil, fault.New(fault.Unavailable, "somebody else is at work on it")
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// named reports whether an open file is still the one of this name.
func named(f *os.File, path string) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(path)
	return err == nil && os.SameFile(mine, there)
}

// raise remembers an epoch and who has it, or refuses one that is lower than a remembered one, or that
// another has. The lock is held.
func raise(folder string, epoch int64, who resource.ID) error {
	file := filepath.Join(folder, "epoch")
	highest, had, err := readEpoch(file)
	if err != nil {
		return err
	}
	if err := onhost.Judge(epoch, highest); err != nil {
		return err
	}
	if epoch == highest && had != "" && who != "" && had != who {
		return fault.New(fault.Precondition, "instance %s has it open in epoch %d", had, epoch)
	}
	if epoch == highest && (who == "" || had == who) {
		return nil
	}
	return durable.Write(file, []byte(strings.TrimSpace(strconv.FormatInt(epoch, 10)+" "+string(who))+"\n"), 0o600)
}

func readEpoch(file string) (int64, resource.ID, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, "", nil
	}
	if err != nil {
		return 0, "", err
	}
	number, who, _ := strings.Cut(strings.TrimSpace(string(data)), " ")
	epoch, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return 0, "", fault.New(fault.Precondition, "file %s is damaged; write the highest epoch of its owner into it", file)
	}
	return epoch, resource.ID(who), nil
}

package etcd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/virga-cloud/virga/engine/fault"
)

// Format is the number of the form in which this program keeps a state folder. It rises when an
// older program could no longer read what a newer one wrote.
const Format = 1

// Lock holds a state folder for this process. The kernel lets go of it when the process dies.
type Lock struct{ file *os.File }

// LockFolder takes a state folder, and makes it if it is not there. It is fault.Precondition,
// with the other's process id, while another process has it.
func LockFolder(dir string) (*Lock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.New(fault.Internal, "make the state folder: %w", err)
	}
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fault.New(fault.Internal, "lock the state folder: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fault.New(fault.Internal, "lock %s: %w", path, err)
		}
		return nil, fault.New(fault.Precondition, "the state folder %s is in use by process %s; stop it first, or choose another folder", dir, holder(path))
	}
	if err := errors.Join(f.Truncate(0), write(f, fmt.Sprintln(os.Getpid()))); err != nil {
		f.Close()
		return nil, fault.New(fault.Internal, "write %s: %w", path, err)
	}
	return &Lock{file: f}, nil
}

// Release lets go. The file stays: removing it would let two processes hold two locks.
func (l *Lock) Release() { _ = l.file.Close() }

func write(f *os.File, text string) error {
	_, err := f.WriteAt([]byte(text), 0)
	return err
}

func holder(path string) string {
	data, _ := os.ReadFile(path)
	if pid := strings.TrimSpace(string(data)); pid != "" {
		return pid
	}
	return "of unknown number"
}

// checkFormat refuses a folder that a newer program wrote, and marks a new one.
func checkFormat(dir string) error {
	path := filepath.Join(dir, "format")
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		if err := mark(path); err != nil {
			return fault.New(fault.Internal, "mark the state folder: %w", err)
		}
		return nil
	}
	if err != nil {
		return fault.New(fault.Internal, "read the state folder's format: %w", err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(data)))
	switch {
	case err != nil:
		return fault.New(fault.Precondition, "the state folder %s has no readable format number in %s: %q; restore it from a backup", dir, path, data)
	case n > Format:
		return fault.New(fault.Precondition, "the state folder %s has format %d, written by a newer virga; this one reads up to %d: install the newer version", dir, n, Format)
	}
	return nil
}

// mark writes the format so that a power cut leaves either no file or a whole one: half a number
// would make the next start refuse the folder.
func mark(path string) error {
	fresh := path + ".new"
	f, err := os.OpenFile(fresh, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, Format)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(fresh, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

package main

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

// lockFolder keeps a second daemon off a state folder and all that lies in it. The kernel frees the
// lock when we die; the file stays, because removing it would let two daemons hold two locks.
func lockFolder(state string) (unlock func(), err error) {
	path := filepath.Join(state, "lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fault.New(fault.Internal, "lock the state folder: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		if err = f.Truncate(0); err == nil {
			_, err = fmt.Fprintln(f, os.Getpid())
		}
	}
	if err == nil {
		return func() { f.Close() }, nil
	}
	defer f.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, fault.New(fault.Precondition, "another daemon works on %s already%s; end it by virga down, or choose another folder by --state", state, holder(path))
	}
	return nil, fault.New(fault.Internal, "lock %s: %w", path, err)
}

// holder names the process that has the lock, once it has written its number.
func holder(path string) string {
	data, _ := os.ReadFile(path)
	if pid := strings.TrimSpace(string(data)); pid != "" {
		return " (process " + pid + ")"
	}
	return ""
}

// lockHolder is the process of the daemon that works on a state folder; 0 if there is none.
func lockHolder(state string) int {
	path := filepath.Join(state, "lock")
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return 0
	}
	defer f.Close()
	if !errors.Is(syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB), syscall.EWOULDBLOCK) {
		return 0
	}
	data, _ := os.ReadFile(path)
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || startTime(pid) == "" {
		return 0
	}
	return pid
}

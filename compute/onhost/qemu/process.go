package qemu

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/virga-cloud/virga/engine/proc"
	"github.com/virga-cloud/virga/engine/resource"
)

// process is a QEMU process that lives, or has just ended. It is held by a pidfd, so that neither a
// look nor a signal can ever hit another process that was given the same number.
type process struct {
	pid   int
	pidfd *os.File
	done  chan struct{} // closed when it has ended
	// after done: what was learned of its end; nil where it was not our child
	status *unix.WaitStatus
}

var errGone = errors.New("the process is gone")

// open takes hold of a process; follow must be called next.
func open(pid int) (*process, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		if errors.Is(err, unix.ESRCH) {
			return nil, errGone
		}
		return nil, fmt.Errorf("open process %d: %w", pid, err)
	}
	return &process{pid: pid, pidfd: os.NewFile(uintptr(fd), "pidfd"), done: make(chan struct{})}, nil
}

// adopt takes hold of QEMU of a guest, if that is what pid still is.
func adopt(id resource.ID, pid int, ticks uint64) (*process, error) {
	p, err := open(pid)
	if err != nil {
		return nil, err
	}
	there, err := startTicks(pid)
	if err != nil || ticks != 0 && there != ticks || !named(pid, id) {
		_ = p.pidfd.Close()
		return nil, errGone
	}
	return p, nil
}

// follow waits for the end and calls ended. It returns without when the pidfd is closed.
func (p *process) follow(wg *sync.WaitGroup, ended func()) {
	wg.Go(func() {
		raw, err := p.pidfd.SyscallConn()
		if err != nil {
			return
		}
		err = raw.Read(func(fd uintptr) bool {
			set := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			n, _ := unix.Poll(set, 0)
			return n > 0
		})
		if err != nil {
			return
		}
		var status unix.WaitStatus
		if got, err := unix.Wait4(p.pid, &status, unix.WNOHANG, nil); err == nil && got == p.pid {
			p.status = &status
		}
		close(p.done)
		ended()
	})
}

func (p *process) alive() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

func (p *process) waitEnd(limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.done:
		return true
	case <-timer.C:
		return false
	}
}

func (p *process) signal(s unix.Signal) error {
	raw, err := p.pidfd.SyscallConn()
	if err != nil {
		return err
	}
	var sendErr error
	err = raw.Control(func(fd uintptr) { sendErr = unix.PidfdSendSignal(int(fd), s, nil, 0) })
	return errors.Join(err, sendErr)
}

// startTicks is when a process began, also of one that has ended and was not waited for.
func startTicks(pid int) (uint64, error) {
	s, err := proc.Look(pid)
	return s.Began, err
}

// named reports whether the process has the guest's name on its command line. A process that has
// ended and was not waited for has none.
func named(pid int, id resource.ID) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && bytes.Contains(data, []byte("guest="+GuestName(id)+","))
}

// search looks for QEMU of a guest whose number was never written down: the daemon died
// between starting it and saying so. The folder tells it from one of another daemon.
func search(id resource.ID, folder string) (*process, error) {
	found, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil, err
	}
	for _, file := range found {
		data, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(data, []byte("guest="+GuestName(id)+",")) || !bytes.Contains(data, []byte("opaque="+escaped(folder))) {
			continue
		}
		pid, err := strconv.Atoi(strings.Split(file, "/")[2])
		if err != nil {
			continue
		}
		if p, err := adopt(id, pid, 0); err == nil {
			return p, nil
		}
	}
	return nil, errGone
}

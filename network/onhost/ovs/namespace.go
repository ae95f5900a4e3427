package ovs

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

const nsfs = 0x6e736673

// isNamespace says whether a namespace is mounted on a file.
func isNamespace(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Type == nsfs
}

// away calls fn on a thread that fn may take into another network namespace, and brings the thread
// home. One that cannot be brought home is thrown away; but the first thread of a process never ends,
// and where it is counts for the whole process (/proc/net, and who asks for the processes of a namespace).
func away(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			runtime.UnlockOSThread()
			done <- err
			return
		}
		err = fn()
		if unix.Setns(home, unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		_ = unix.Close(home)
		done <- err
	}()
	return <-done
}

// createNamespace makes a network namespace that lives as long as it is mounted on the file.
func createNamespace(path string) error {
	if isNamespace(path) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fault.New(fault.Unavailable, "create a namespace: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o600)
	if err != nil {
		return fault.New(fault.Unavailable, "create a namespace: %w", err)
	}
	f.Close()
	err = away(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		self := "/proc/self/task/" + strconv.Itoa(unix.Gettid()) + "/ns/net"
		if err := unix.Mount(self, path, "", unix.MS_BIND, ""); err != nil {
			return err
		}
		_ = os.WriteFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", []byte("1"), 0)
		_ = os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0)
		return nil
	})
	if err != nil {
		return fault.New(fault.Unavailable, "create the namespace %s: %w", path, err)
	}
	return nil
}

func removeNamespace(path string) error {
	if isNamespace(path) {
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			return fault.New(fault.Unavailable, "remove the namespace %s: %w", path, err)
		}
	}
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return fault.New(fault.Unavailable, "remove the namespace %s: %w", path, err)
	}
	return nil
}

// inside calls fn on a thread that is in the namespace; sockets that fn opens stay in it.
func inside(path string, fn func() error) error {
	return away(func() error {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			return err
		}
		return fn()
	})
}

// place opens sockets in a namespace.
type place struct{ path string }

func (p *place) Listen(ctx context.Context, address string) (net.Listener, error) {
	var out net.Listener
	err := inside(p.path, func() (err error) {
		out, err = new(net.ListenConfig).Listen(ctx, "tcp4", address)
		return err
	})
	if err != nil {
		return nil, fault.New(fault.Unavailable, "listen on %s inside a network: %w", address, err)
	}
	return out, nil
}

func (p *place) ListenPacket(ctx context.Context, address string) (net.PacketConn, error) {
	var out net.PacketConn
	err := inside(p.path, func() (err error) {
		out, err = new(net.ListenConfig).ListenPacket(ctx, "udp4", address)
		return err
	})
	if err != nil {
		return nil, fault.New(fault.Unavailable, "listen on %s inside a network: %w", address, err)
	}
	return out, nil
}

// dialing is how long a guest may take to let a connection in.
const dialing = 10 * time.Second

func (p *place) Dial(ctx context.Context, address string) (net.Conn, error) {
	var out net.Conn
	err := inside(p.path, func() (err error) {
		out, err = (&net.Dialer{Timeout: dialing}).DialContext(ctx, "tcp4", address)
		return err
	})
	switch {
	case errors.Is(err, unix.ECONNREFUSED): // the guest is there, and says so
		return nil, fault.New(fault.Precondition, "connect to %s inside the network: it is refused; is a server listening there?", address)
	case err != nil:
		return nil, fault.New(fault.Unavailable, "connect to %s inside the network: nobody answers; is the guest up, and does its firewall let the port be reached?", address)
	}
	return out, nil
}

// Dial opens a TCP connection to an address inside a network that this host has.
func (s *Switch) Dial(ctx context.Context, zoneID resource.ID, address string) (net.Conn, error) {
	s.mu.Lock()
	p := s.places[zoneID]
	s.mu.Unlock()
	if p == nil {
		return nil, fault.New(fault.Unavailable, "connect to %s: the network is not set up on this host yet; try again", address)
	}
	return p.Dial(ctx, address)
}

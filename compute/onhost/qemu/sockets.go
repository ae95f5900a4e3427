package qemu

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/virga-cloud/virga/engine/fault"
)

// The doors of a QEMU process. Those that must outlive the daemon are sockets that we bind in the
// guest's folder, which is root's, and hand over as descriptors: QEMU listens on them, and can put nothing
// else in their place; its user cannot even reach them. All others are pairs of sockets that
// are made when they are needed and have no name at all.
var doors = []string{qmpSocket, serialSocket, agentSocket}

// bindDoors makes the sockets and does not listen: the one who listens, QEMU, is who they speak for.
func (g *guest) bindDoors() (files []*os.File, err error) {
	for _, name := range doors {
		f, err := bind(g.socket(name))
		if err != nil {
			return files, fault.New(fault.Unavailable, "make the socket %s of instance %s: %w", name, g.id, err)
		}
		files = append(files, f)
	}
	return files, nil
}

func bind(path string) (*os.File, error) {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), path)
	if err = unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err == nil {
		err = os.Chmod(path, 0o600)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// connect opens a door of the guest's QEMU.
func (g *guest) connect(ctx context.Context, name string) (*net.UnixConn, error) {
	return connect(ctx, g.dir, name, g.proc.pid)
}

// connect opens a socket in a folder, if it is one, is reached by no link, and speaks for the process.
func connect(ctx context.Context, dir, name string, pid int) (*net.UnixConn, error) {
	folder, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	defer func() { _ = unix.Close(folder) }()
	fd, err := unix.Openat2(folder, name, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_BENEATH})
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: filepath.Join(dir, name), Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", "/proc/self/fd/"+strconv.Itoa(fd))
	if err != nil {
		return nil, err
	}
	if peer, err := peerOf(conn.(*net.UnixConn)); err != nil || peer != pid {
		_ = conn.Close()
		return nil, fault.New(fault.Denied, "%s is answered by process %d, and QEMU is process %d", filepath.Join(dir, name), peer, pid)
	}
	return conn.(*net.UnixConn), nil
}

// peerOf is the process that listens at the other end.
func peerOf(conn *net.UnixConn) (int, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var peer *unix.Ucred
	var asked error
	if err := raw.Control(func(fd uintptr) { peer, asked = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return 0, err
	}
	if asked != nil {
		return 0, asked
	}
	return int(peer.Pid), nil
}

// give hands QEMU one end of a new pair of sockets under a name, and keeps the other.
func (g *guest) give(ctx context.Context, name string) (net.Conn, error) {
	c, err := g.monitor(ctx)
	if err != nil {
		return nil, err
	}
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "make a pair of sockets for QEMU of instance %s: %w", g.id, err)
	}
	ours, theirs := os.NewFile(uintptr(ends[0]), name), os.NewFile(uintptr(ends[1]), name)
	defer func() { _, _ = ours.Close(), theirs.Close() }()
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	if err := c.SendFile(ctx, name, theirs); err != nil {
		return nil, g.explain(err)
	}
	conn, err := net.FileConn(ours) // a copy
	if err != nil {
		return nil, fault.New(fault.Internal, "keep a socket to QEMU of instance %s: %w", g.id, err)
	}
	return conn, nil
}

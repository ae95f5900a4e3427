package qemu

import (
	"errors"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/engine/fault"
)

// openTap opens all queues of a tap that is there. QEMU gets them as open files: its own user may not
// open the tun device everywhere, and it need not.
func openTap(n onhost.NIC) (queues []*os.File, err error) {
	for range max(n.Queues, 1) {
		queue, err := openQueue(n)
		if err != nil {
			closeAll(queues)
			return nil, err
		}
		queues = append(queues, queue)
	}
	return queues, nil
}

func openQueue(n onhost.NIC) (*os.File, error) {
	// The kernel would make a tap that is not there, and nobody would ever attach it anywhere.
	if _, err := net.InterfaceByName(n.Device); err != nil {
		return nil, fault.New(fault.Unavailable, "open tap %s: %w", n.Device, err)
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fault.New(fault.Precondition, "open /dev/net/tun for tap %s: %w", n.Device, err)
	}
	request, err := unix.NewIfreq(n.Device)
	if err == nil {
		flags := uint16(unix.IFF_TAP | unix.IFF_NO_PI)
		if n.VNetHdr {
			flags |= unix.IFF_VNET_HDR
		}
		if n.Queues > 1 {
			flags |= unix.IFF_MULTI_QUEUE
		}
		request.SetUint16(flags)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		_ = unix.Close(fd)
		if errors.Is(err, unix.EBUSY) {
			return nil, fault.New(fault.Conflict, "open tap %s: another process has it open", n.Device)
		}
		return nil, fault.New(fault.Internal, "open tap %s: %w", n.Device, err)
	}
	return os.NewFile(uintptr(fd), "/dev/net/tun"), nil
}

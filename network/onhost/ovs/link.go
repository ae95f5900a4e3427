package ovs

import (
	"errors"
	"os"
	"strings"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/virga-cloud/virga/engine/fault"
)

// findLink gives a device of the present namespace; nil if there is none.
func findLink(name string) (netlink.Link, error) {
	link, err := netlink.LinkByName(name)
	if _, absent := errors.AsType[netlink.LinkNotFoundError](err); absent {
		return nil, nil
	}
	if err != nil {
		return nil, fault.New(fault.Unavailable, "look for the device %s: %w", name, err)
	}
	return link, nil
}

func deleteLink(name string) error {
	link, err := findLink(name)
	if err != nil || link == nil {
		return err
	}
	if err := netlink.LinkDel(link); err != nil {
		if again, _ := findLink(name); again == nil {
			return nil
		}
		return fault.New(fault.Unavailable, "delete the device %s: %w", name, err)
	}
	return nil
}

// createTap makes a tap that stays when nobody holds it and that uid may open.
func createTap(name string, uid int64, queues bool) error {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fault.New(fault.Unavailable, "create the tap %s: %w", name, err)
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq(name)
	if err != nil {
		return fault.New(fault.Internal, "create the tap %s: %w", name, err)
	}
	flags := uint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if queues {
		flags |= unix.IFF_MULTI_QUEUE
	}
	request.SetUint16(flags)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		return fault.New(fault.Unavailable, "create the tap %s: %w", name, err)
	}
	if err := unix.IoctlSetInt(fd, unix.TUNSETOWNER, int(uid)); err != nil {
		return fault.New(fault.Unavailable, "give the tap %s to user %d: %w", name, uid, err)
	}
	if err := unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 1); err != nil {
		return fault.New(fault.Unavailable, "keep the tap %s: %w", name, err)
	}
	return nil
}

// txOff makes the kernel finish checksums itself before a frame enters the switch.
func txOff(name string) error { return setChecksums(name, false) }

// checksums says whether a device calculates those of what it sends.
func checksums(name string) (bool, error) {
	const getTxCsum = 0x16 // ETHTOOL_GTXCSUM
	value, err := ethtool(name, getTxCsum, 0)
	return value != 0, err
}

func setChecksums(name string, on bool) error {
	const setTxCsum = 0x17 // ETHTOOL_STXCSUM
	var value uint32
	if on {
		value = 1
	}
	_, err := ethtool(name, setTxCsum, value)
	return err
}

// ethtool asks a device something, or tells it. A device that cannot do it answers 0.
func ethtool(name string, cmd, value uint32) (uint32, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fault.New(fault.Unavailable, "turn off offload of %s: %w", name, err)
	}
	defer unix.Close(fd)
	var request struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	words := struct{ cmd, value uint32 }{cmd, value}
	copy(request.name[:unix.IFNAMSIZ-1], name)
	request.data = unsafe.Pointer(&words)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
	if errno == unix.EOPNOTSUPP {
		return 0, nil
	}
	if errno != 0 {
		return 0, fault.New(fault.Unavailable, "turn off offload of %s: %w", name, errno)
	}
	return words.value, nil
}

// silence keeps the host's own stack from speaking on a device.
func silence(name string) error {
	err := os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/disable_ipv6", []byte("1"), 0)
	if err != nil && !os.IsNotExist(err) {
		return fault.New(fault.Unavailable, "turn off IPv6 on %s: %w", name, err)
	}
	return nil
}

func sysctl(name, value string) (old string, err error) {
	path := "/proc/sys/" + name
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fault.New(fault.Unavailable, "read %s: %w", name, err)
	}
	old = strings.TrimSpace(string(data))
	if old == value {
		return old, nil
	}
	if err := os.WriteFile(path, []byte(value), 0); err != nil {
		return old, fault.New(fault.Unavailable, "set %s to %s: %w", name, value, err)
	}
	return old, nil
}

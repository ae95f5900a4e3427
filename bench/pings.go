package bench

import (
	"encoding/binary"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/virga-cloud/virga/lab"
)

// pings is what was seen at the tap of the guest that pings.
type pings struct {
	sent    int
	lost    []time.Time   // when those were asked that nobody answered
	silence time.Duration // the longest between two answers
}

// listener hears the pings of a guest at its tap, with the kernel's time of each frame.
type listener struct {
	fd   int
	done sync.WaitGroup
	mu   sync.Mutex
	over bool

	asked    map[uint32]time.Time
	answered map[uint32]time.Time
	last     time.Time
	until    time.Time // pings that were asked later do not count
	pings
}

// tapOf is the only tap of a guest on a host.
func (c *cloud) tapOf(h *lab.Host) string {
	c.Helper()
	out, err := h.Exec("ip", "-o", "link", "show", "type", "tun")
	if err != nil {
		c.Fatalf("list the taps of %s: %v", h.Name, err)
	}
	var taps []string
	for line := range strings.Lines(out) {
		if words := strings.Fields(line); len(words) > 1 && strings.HasPrefix(words[1], "vt") {
			taps = append(taps, strings.TrimSuffix(words[1], ":"))
		}
	}
	if len(taps) == 0 {
		c.Fatalf("%s has no tap: %s", h.Name, out)
	}
	return taps[0]
}

// listen begins to listen.
func (c *cloud) listen(h *lab.Host, device string) *listener {
	c.Helper()
	l := &listener{asked: map[uint32]time.Time{}, answered: map[uint32]time.Time{}}
	var err error
	l.fd, err = openIn("/run/netns/"+h.NS, device)
	c.must(err)
	l.done.Go(l.run)
	c.Cleanup(l.end)
	return l
}

// openIn goes into the namespace to open a socket, and comes back: the thread may be the first of
// this process, which does not end with its goroutine.
func openIn(namespace, device string) (int, error) {
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return -1, err
	}
	defer home.Close()
	ns, err := os.Open(namespace)
	if err != nil {
		return -1, err
	}
	defer ns.Close()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return -1, err
	}
	defer func() {
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
	}()
	all := binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL})
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(all))
	if err != nil {
		return -1, err
	}
	request, err := unix.NewIfreq(device)
	if err == nil {
		err = unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, request)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: int(request.Uint32())})
	}
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	}
	if err == nil {
		err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000})
	}
	return fd, err
}

func (l *listener) run() {
	frame, more := make([]byte, 2048), make([]byte, 128)
	for {
		n, m, _, _, err := unix.Recvmsg(l.fd, frame, more, 0)
		l.mu.Lock()
		over := l.over
		if err == nil {
			l.see(frame[:n], frameTime(more[:m]))
		}
		l.mu.Unlock()
		if over {
			return
		}
	}
}

// frameTime is when the kernel saw the frame.
func frameTime(control []byte) time.Time {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return time.Now()
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_TIMESTAMPNS && len(m.Data) >= 16 {
			return time.Unix(int64(binary.NativeEndian.Uint64(m.Data)), int64(binary.NativeEndian.Uint64(m.Data[8:])))
		}
	}
	return time.Now()
}

// see reads a frame: Ethernet, IPv4, ICMP echo.
func (l *listener) see(frame []byte, at time.Time) {
	if len(frame) < 42 || binary.BigEndian.Uint16(frame[12:]) != unix.ETH_P_IP || frame[23] != unix.IPPROTO_ICMP {
		return
	}
	icmp := frame[14+int(frame[14]&15)*4:]
	if len(icmp) < 8 {
		return
	}
	key := binary.BigEndian.Uint32(icmp[4:]) // identifier and number
	switch icmp[0] {
	case 8:
		if l.until.IsZero() || at.Before(l.until) {
			l.asked[key] = at
		}
	case 0:
		_, asked := l.asked[key]
		if _, twice := l.answered[key]; twice || !asked {
			return
		}
		l.answered[key] = at
		if !l.last.IsZero() {
			l.silence = max(l.silence, at.Sub(l.last))
		}
		l.last = at
	}
}

// stop ends it and tells what came back.
func (l *listener) stop() pings {
	l.mu.Lock()
	l.until = time.Now()
	l.mu.Unlock()
	time.Sleep(300 * time.Millisecond) // for the last answers
	l.end()
	l.sent = len(l.asked)
	for key, at := range l.asked {
		if _, answered := l.answered[key]; !answered {
			l.lost = append(l.lost, at)
		}
	}
	slices.SortFunc(l.lost, time.Time.Compare)
	return l.pings
}

func (l *listener) end() {
	l.mu.Lock()
	over := l.over
	l.over = true
	l.mu.Unlock()
	l.done.Wait()
	if !over {
		_ = unix.Close(l.fd)
	}
}

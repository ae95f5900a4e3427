package ovs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/virga-cloud/virga/engine/durable"
	"github.com/virga-cloud/virga/engine/fault"
)

// belongings are the addresses and routes of a device.
type belongings struct {
	Addresses []timed `json:"addresses"`
	Routes    []said  `json:"routes"`
}

// timed is an address and when it was read, in seconds since the host started.
type timed struct {
	Said said  `json:"said"`
	At   int64 `json:"at"`
}

// taken is what the bridge has taken from the NIC, to be given back.
type taken struct {
	// NIC and Index are the device, Boot the run of the host: after a reboot, or when the device was
	// made anew, whoever configures the host has given the NIC what it shall have.
	NIC   string `json:"device"`
	Index int    `json:"index"`
	Boot  string `json:"boot"`
	// Settings are what the NIC had of those that the bridge takes over, and Checksums whether it
	// calculated those of what it sent.
	Settings  map[string]string `json:"settings"`
	Checksums bool              `json:"checksums"`
	belongings
	// deciphered: it was not written in this form, and the bridge may have more.
	deciphered bool
}

const acceptRA = "net/ipv6/conf/%s/accept_ra"

// shared are settings that the bridge has as the NIC had them. The last is changed on the NIC.
var shared = []string{acceptRA, "net/ipv6/conf/%s/autoconf", "net/ipv6/conf/%s/use_tempaddr", "net/ipv4/conf/%s/rp_filter", quiet}

const quiet = "net/ipv6/conf/%s/disable_ipv6"

func (s *Switch) takenFile() string { return s.config.state("uplink.json") }

// read gives what was written down; nil if nothing was taken.
func (s *Switch) read() (*taken, error) {
	data, err := os.ReadFile(s.takenFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var t taken
	if err == nil {
		err = json.Unmarshal(data, &t)
	}
	if err == nil {
		return &t, nil
	}
	if len(data) > 0 {
		slog.Error("what the uplink had cannot be read as it should be; what is left of it is used", "file", s.takenFile(), "error", err)
	}
	return s.decipher(data)
}

func (s *Switch) write(t *taken) error {
	data, err := json.Marshal(t)
	if err == nil {
		err = durable.Write(s.takenFile(), data, 0o600)
	}
	if err != nil {
		return fault.New(fault.Unavailable, "write down what the uplink has: %w", err)
	}
	return nil
}

func (s *Switch) forgetTaken() error {
	if err := os.Remove(s.takenFile()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.Unavailable, "forget what the uplink had: %w", err)
	}
	return nil
}

func (t *taken) isOf(nic netlink.Link) bool {
	return t.NIC == nic.Attrs().Name && t.Index == nic.Attrs().Index && t.Boot == boot()
}

// recall gives what was taken from the NIC before. Where that is not known, the NIC has it all, or
// the bridge, if what was written down is lost.
func (s *Switch) recall(nic, bridge netlink.Link) (*taken, error) {
	t, err := s.read()
	if err != nil {
		return nil, err
	}
	if t != nil && t.isOf(nic) {
		return t, s.complete(t)
	}
	if t != nil && t.NIC != nic.Attrs().Name && t.Boot == boot() {
		return nil, fault.New(fault.Precondition, "set up the tunnels: the switch has taken over %s, and is now told %s; give the first back by virga down --all", t.NIC, nic.Attrs().Name)
	}
	a := nic.Attrs()
	t = &taken{NIC: a.Name, Index: a.Index, Boot: boot(), Settings: map[string]string{}}
	for _, name := range shared {
		if value, err := os.ReadFile("/proc/sys/" + fmt.Sprintf(name, a.Name)); err == nil { // without IPv6 some are not there
			t.Settings[name] = strings.TrimSpace(string(value))
		}
	}
	if t.Checksums, err = checksums(a.Name); err != nil {
		return nil, err
	}
	there, err := look(bridge.Attrs().Index, t.learns())
	if err != nil {
		return nil, err
	}
	t.belongings = there
	return t, s.write(t) // before anything of it is changed
}

// learns says whether the kernel makes IPv6 routes of what routers advertise.
func (t *taken) learns() bool { return t.Settings[acceptRA] != "0" }

// prepare gives the bridge the settings of the NIC.
func (t *taken) prepare(bridge netlink.Link) error {
	for _, name := range shared {
		if value, ok := t.Settings[name]; ok {
			if _, err := sysctl(fmt.Sprintf(name, bridge.Attrs().Name), value); err != nil {
				return err
			}
		}
	}
	return nil
}

// look reads what a device has now.
func look(device int, learns bool) (b belongings, err error) {
	addresses, err := addressesOf(device)
	if err != nil {
		return b, err
	}
	now := uptime()
	for _, a := range addresses {
		b.Addresses = append(b.Addresses, timed{a, now})
	}
	b.Routes, err = routesOf(device, learns)
	return b, err
}

// merge adds what the NIC has now, and gives what is lost by that: a new lease ends the one before
// it, and with the last IPv4 address go the routes by it, as they do on a NIC.
func (t *taken) merge(here belongings) (lost belongings) {
	renewed := slices.ContainsFunc(here.Addresses, timed.isLease)
	t.Addresses = slices.DeleteFunc(t.Addresses, func(old timed) bool {
		same := slices.ContainsFunc(here.Addresses, func(a timed) bool { return a.Said.address() == old.Said.address() })
		if !same && renewed && old.isLease() {
			lost.Addresses = append(lost.Addresses, old)
		}
		return same || renewed && old.isLease()
	})
	left := slices.ContainsFunc(t.Addresses, func(a timed) bool { return a.Said.family() == unix.AF_INET })
	t.Addresses = append(t.Addresses, here.Addresses...)
	t.Routes = slices.DeleteFunc(t.Routes, func(old said) bool {
		if slices.ContainsFunc(here.Routes, sameRoute(old)) {
			return true
		}
		goes := len(lost.Addresses) > 0 && !left && old.family() == unix.AF_INET
		if goes {
			lost.Routes = append(lost.Routes, old)
		}
		return goes
	})
	t.Routes = append(t.Routes, here.Routes...)
	slices.SortStableFunc(t.Routes, func(a, b said) int { return int(b[6]) - int(a[6]) })
	return lost
}

// isLease: an IPv4 address with an end is what a DHCP client has got.
func (a timed) isLease() bool {
	_, leased := a.Said.leased()
	return leased && a.Said.family() == unix.AF_INET
}

// give puts addresses and routes onto a device. On the bridge a lease has no end: who got it renews
// it on the NIC, and if they fail, the host is still reached.
func (b belongings) give(device int, bridge bool) error {
	now := uptime()
	for _, a := range b.Addresses {
		valid, leased := a.Said.leased()
		if leased && !a.isLease() && int64(valid) <= now-a.At {
			continue // an IPv6 address whose time is over is not given anew: routers advertise it, or not
		}
		m := a.Said.aged(now-a.At, bridge && a.isLease())
		if bridge {
			m = m.unlabelled()
		}
		if err := m.say(unix.RTM_NEWADDR, device, unix.NLM_F_CREATE|unix.NLM_F_EXCL); err != nil {
			return fault.New(fault.Unavailable, "move the address %s of the uplink: %w", a.Said.address(), err)
		}
	}
	// A route may need another one to be there first.
	waiting := b.Routes
	for len(waiting) > 0 {
		var next []said
		var err error
		for _, r := range waiting {
			if refused := r.say(unix.RTM_NEWROUTE, device, unix.NLM_F_CREATE|unix.NLM_F_APPEND); refused != nil {
				next, err = append(next, r), refused
			}
		}
		if len(next) == len(waiting) {
			for _, r := range next { // a host without one route is better than one without any
				slog.Error("a route of the uplink cannot be moved", "to", r.destination(), "error", err)
			}
			return nil
		}
		waiting = next
	}
	return nil
}

// leave takes addresses and routes from a device. What cannot be taken is taken at the next setup.
func (b belongings) leave(device int) {
	for _, r := range b.Routes {
		if err := r.say(unix.RTM_DELROUTE, device, 0); err != nil {
			slog.Warn("a route that has moved is still there", "to", r.destination(), "error", err)
		}
	}
	for _, a := range b.Addresses {
		if err := a.Said.unlabelled().say(unix.RTM_DELADDR, device, 0); err != nil {
			slog.Warn("an address that has moved is still there", "address", a.Said.address(), "error", err)
		}
	}
}

// restore gives the NIC everything back.
func (t *taken) restore(nic netlink.Link) error {
	if value, ok := t.Settings[quiet]; ok {
		if _, err := sysctl(fmt.Sprintf(quiet, t.NIC), value); err != nil {
			return err
		}
	}
	if t.Checksums {
		if err := setChecksums(t.NIC, true); err != nil {
			return err
		}
	}
	return t.give(nic.Attrs().Index, false)
}

// boot names this run of the host.
func boot() string {
	data, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(data))
}

// uptime is how long the host runs, in seconds, sleep included: no jump of a clock moves it.
func uptime() int64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &t)
	return t.Sec
}

package ovs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/virga-cloud/virga/engine/fault"
)

// said is an address or a route of a device in the kernel's own words, the body of its netlink
// message: whatever it has (metrics, tables, labels, next hops) comes back as it was. The number of
// the device in it is 0, and is filled in where it is to be.
type said []byte

// Both kinds of message begin with the family and the length of the prefix.
const (
	addressHead = unix.SizeofIfAddrmsg
	routeHead   = unix.SizeofRtMsg
)

var native = binary.NativeEndian

const (
	attributeKind = 0x3fff // of the type of an attribute; the rest are marks
	nextHopID     = 30     // RTA_NH_ID
)

// listen asks for all messages of a kind about a device.
func listen(get, answer uint16, device int) ([]said, error) {
	request := nl.NewNetlinkRequest(int(get), unix.NLM_F_DUMP)
	if get == unix.RTM_GETADDR {
		request.AddData(nl.NewIfAddrmsg(unix.AF_UNSPEC))
	} else {
		request.AddData(nl.NewRtMsg())
	}
	messages, err := request.Execute(unix.NETLINK_ROUTE, answer)
	if err != nil {
		return nil, err
	}
	var out []said
	for _, m := range messages {
		if s := said(slices.Clone(m)); s.replaceDevice(answer, device, 0) {
			out = append(out, s)
		}
	}
	return out, nil
}

// replaceDevice puts one device in the place of another, and says whether that was there.
func (s said) replaceDevice(kind uint16, old, fresh int) bool {
	replace := func(b []byte) bool {
		if native.Uint32(b) != uint32(old) {
			return false
		}
		native.PutUint32(b, uint32(fresh))
		return true
	}
	if kind == unix.RTM_NEWADDR || kind == unix.RTM_DELADDR {
		return replace(s[4:8])
	}
	found := false
	if oif := s.attribute(routeHead, unix.RTA_OIF); len(oif) == 4 {
		found = replace(oif)
	}
	for hops := s.attribute(routeHead, unix.RTA_MULTIPATH); len(hops) >= unix.SizeofRtNexthop; {
		hops[2] &= unix.RTNH_F_ONLINK | unix.RTNH_F_PERVASIVE
		found = replace(hops[4:8]) || found
		length := (int(native.Uint16(hops)) + 3) &^ 3
		if length < unix.SizeofRtNexthop || length > len(hops) {
			break
		}
		hops = hops[length:]
	}
	return found
}

// attribute is a part of the message itself, not a copy; nil if there is none.
func (s said) attribute(head int, kind uint16) []byte {
	attributes, err := nl.ParseRouteAttr(s[head:])
	if err != nil {
		return nil
	}
	for _, a := range attributes {
		if a.Attr.Type&attributeKind == kind {
			return a.Value
		}
	}
	return nil
}

// with gives a copy whose attributes are chosen and changed by fn; nil drops one.
func (s said) with(head int, fn func(kind uint16, value []byte) []byte) said {
	out := slices.Clone(s[:head])
	attributes, _ := nl.ParseRouteAttr(s[head:])
	for _, a := range attributes {
		if value := fn(a.Attr.Type&attributeKind, slices.Clone(a.Value)); value != nil {
			out = append(out, nl.NewRtAttr(int(a.Attr.Type), value).Serialize()...)
		}
	}
	return out
}

// say sends a message about a device. What is there already, or gone already, is success.
func (s said) say(kind uint16, device, flags int) error {
	message := slices.Clone(s)
	message.replaceDevice(kind, 0, device)
	request := nl.NewNetlinkRequest(int(kind), flags|unix.NLM_F_ACK)
	request.AddRawData(message)
	_, err := request.Execute(unix.NETLINK_ROUTE, 0)
	for _, fine := range []error{syscall.EEXIST, syscall.ESRCH, syscall.EADDRNOTAVAIL} {
		if errors.Is(err, fine) {
			return nil
		}
	}
	return err
}

// addressesOf lists what is to move of a device: all but what the kernel makes by itself on any
// device, link-local and temporary addresses.
func addressesOf(device int) ([]said, error) {
	all, err := listen(unix.RTM_GETADDR, unix.RTM_NEWADDR, device)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "read the addresses of the uplink: %w", err)
	}
	return slices.DeleteFunc(all, func(s said) bool {
		return s.family() == unix.AF_INET6 && (s[3] == unix.RT_SCOPE_LINK || s[2]&unix.IFA_F_TEMPORARY != 0)
	}), nil
}

// routesOf lists the routes of a device in all tables; those on the way to others come first. Where
// the kernel learns routes from the network, it will learn those that have an end again.
func routesOf(device int, learns bool) ([]said, error) {
	all, err := listen(unix.RTM_GETROUTE, unix.RTM_NEWROUTE, device)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "read the routes of the uplink: %w", err)
	}
	var out []said
	for _, s := range all {
		table, kind, flags := s[4], s[7], native.Uint32(s[8:12])
		if learns && s.ends() || table == unix.RT_TABLE_LOCAL || flags&unix.RTM_F_CLONED != 0 || kind == unix.RTN_LOCAL || kind == unix.RTN_BROADCAST || kind == unix.RTN_ANYCAST ||
			s.family() == unix.AF_INET6 && s.prefix(routeHead, unix.RTA_DST).Addr().IsLinkLocalUnicast() || s.family() != unix.AF_INET && s.family() != unix.AF_INET6 {
			continue
		}
		native.PutUint32(s[8:12], flags&(unix.RTNH_F_ONLINK|unix.RTNH_F_PERVASIVE))
		out = append(out, s.with(routeHead, func(kind uint16, value []byte) []byte {
			if kind == unix.RTA_CACHEINFO || kind == nextHopID {
				return nil
			}
			return value
		}))
	}
	slices.SortStableFunc(out, func(a, b said) int { return int(b[6]) - int(a[6]) })
	return out, nil
}

func (s said) family() uint8 { return s[0] }

// ends says whether a route has an end.
func (s said) ends() bool {
	times := s.attribute(routeHead, unix.RTA_CACHEINFO)
	return len(times) >= 12 && native.Uint32(times[8:12]) != 0
}

// prefix is the address or the destination; that of a default route is invalid.
func (s said) prefix(head int, kind uint16) netip.Prefix {
	ip, _ := netip.AddrFromSlice(s.attribute(head, kind))
	return netip.PrefixFrom(ip, int(s[1]))
}

// destination is where a route leads, for people.
func (s said) destination() string {
	if p := s.prefix(routeHead, unix.RTA_DST); p.IsValid() {
		return p.String()
	}
	return "default"
}

// address is which address a message speaks of.
func (s said) address() netip.Prefix {
	if p := s.prefix(addressHead, unix.IFA_LOCAL); p.IsValid() {
		return p
	}
	return s.prefix(addressHead, unix.IFA_ADDRESS)
}

// unlabelled is an address without its label, which names the device that it was on.
func (s said) unlabelled() said {
	return s.with(addressHead, func(kind uint16, value []byte) []byte {
		if kind == unix.IFA_LABEL {
			return nil
		}
		return value
	})
}

// leased says whether an address has an end, and how many seconds it had.
func (s said) leased() (seconds uint32, yes bool) {
	times := s.attribute(addressHead, unix.IFA_CACHEINFO)
	if len(times) < 8 {
		return 0, false
	}
	seconds = native.Uint32(times[4:8])
	return seconds, seconds != forEver
}

const forEver = ^uint32(0)

// aged is an address some seconds later. One whose time is over, or that is to be kept, has no end.
func (s said) aged(by int64, keep bool) said {
	over := func(seconds uint32) bool { return seconds != forEver && int64(seconds) <= by }
	valid, leased := s.leased()
	out := s.with(addressHead, func(kind uint16, value []byte) []byte {
		switch {
		case kind == unix.IFA_CACHEINFO && (!leased || keep || over(valid)):
			return nil
		case kind == unix.IFA_CACHEINFO:
			for at, least := range []uint32{0, 1} {
				if seconds := native.Uint32(value[4*at:]); seconds != forEver {
					native.PutUint32(value[4*at:], uint32(max(int64(seconds)-by, int64(least))))
				}
			}
		case kind == unix.IFA_FLAGS:
			native.PutUint32(value, settled(native.Uint32(value), s.family()))
		}
		return value
	})
	out[2] = byte(settled(uint32(out[2]), s.family()))
	return out
}

// settled are the flags of an address without what the kernel finds out by itself.
func settled(flags uint32, family uint8) uint32 {
	flags &^= unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED | unix.IFA_F_DEPRECATED | unix.IFA_F_PERMANENT | unix.IFA_F_SECONDARY
	if family == unix.AF_INET6 {
		flags |= unix.IFA_F_NODAD // it was ours a moment ago
	}
	return flags
}

func sameRoute(a said) func(said) bool { return func(b said) bool { return bytes.Equal(a, b) } }

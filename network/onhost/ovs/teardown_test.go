package ovs_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestATeardownAfterAKillLeavesNoDevice(t *testing.T) {
	u := newUplinked(t)
	before := devices(u)
	u.setup()
	during := devices(u)
	if !strings.Contains(during, "ovs-netdev") {
		t.Fatalf("the switch works without its device: %s", during)
	}
	check(t, killed(filepath.Join(u.config.Run, "ovs", "ovs-vswitchd.pid")))
	u.start() // the next daemon, which only ends everything
	check(t, u.on.Teardown(t.Context()))
	if after := devices(u); after != before {
		t.Errorf("devices were %q and are %q", before, after)
	}
}

func TestTeardownWithoutTheRunFolderLeavesNothing(t *testing.T) {
	for name, spoil := range map[string]func(*uplinked){
		"emptied": func(u *uplinked) { empty(t, filepath.Dir(u.config.Run)) },
		"another": func(u *uplinked) { u.config.Run += "2" },
	} {
		t.Run(name, func(t *testing.T) {
			u := newUplinked(t)
			before := devices(u)
			u.setup()
			spoil(u)
			u.start()
			check(t, u.on.Teardown(t.Context()))
			if left := running(filepath.Dir(u.config.State)); len(left) != 0 {
				t.Errorf("these run on: %q", left)
			}
			if after := devices(u); after != before {
				t.Errorf("devices were %q and are %q", before, after)
			}
		})
	}
}

// devices are the names of all devices of the host.
func devices(u *uplinked) string {
	var out []string
	u.h.do(func() {
		for _, l := range must(netlink.LinkList()) {
			out = append(out, l.Attrs().Name)
		}
	})
	slices.Sort(out)
	return strings.Join(out, " ")
}

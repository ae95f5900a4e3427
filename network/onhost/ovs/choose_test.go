package ovs

import (
	"net"
	"path/filepath"
	"testing"

	"github.com/virga-cloud/virga/host"
)

func TestTheHostsOwnSwitchIsUsedOnlyWhereTheKernelForwards(t *testing.T) {
	for _, c := range []struct {
		datapath host.Datapath
		running  bool
		want     source
	}{
		{host.SystemDatapath, true, their}, {host.SystemDatapath, false, own},
		{host.NetdevDatapath, true, own}, {host.NetdevDatapath, false, own},
	} {
		if got := choose(c.datapath, c.running); got != c.want {
			t.Errorf("with %s and running=%v: %s, not %s", c.datapath, c.running, got, c.want)
		}
	}
	socket := filepath.Join(t.TempDir(), "db.sock")
	config := Config{State: "/s", Run: "/r", HostID: "h", TunnelAddress: "192.0.2.1", Datapath: host.SystemDatapath, System: socket}
	if s, err := New(config); err != nil || s.socket != "/r/ovs/db.sock" || len(s.programs()) != 3 {
		t.Errorf("with no switch on the host: %+v, %v", s, err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s, err := New(config)
	if err != nil || s.socket != socket {
		t.Fatalf("with a switch on the host: %+v, %v", s, err)
	}
	if programs := s.programs(); len(programs) != 1 || programs[0].Name != "ovn-controller" {
		t.Errorf("daemons of ours beside the host's own switch: %+v", programs)
	}
}

package ovs_test

import (
	"context"
	"testing"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/network/onhost"
	"github.com/virga-cloud/virga/network/onhost/ovs"
	"github.com/virga-cloud/virga/network/onhost/switchtest"
)

func TestOpenVSwitchIsASwitch(t *testing.T) {
	needs(t, programs...)
	switchtest.Run(t, func(t *testing.T) onhost.Switch {
		h, dir := newSpace(t), folder(t)
		s := must(ovs.New(ovs.Config{State: dir + "/s", Run: dir + "/r", HostID: resource.NewID(), Hostname: "h", TunnelAddress: "127.0.0.1",
			Remote: "unix:" + dir + "/nobody.sock", Outside: "100.64.0.1/16", OutsideMAC: "02:64:64:40:00:01", ExternalNetwork: "ext"}))
		on := onThread{s, h}
		t.Cleanup(func() { _ = on.Teardown(context.Background()); s.Close() })
		return on
	})
}

package qemu

import (
	"testing"
	"time"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

func TestAGuestKeepsTheProcessorsThatItWasGivenWhenItMoves(t *testing.T) {
	source, target, m, twin := pair(t)
	m.BootCPUs, m.MaxCPUs = 1, 3
	must(t, source.Ensure(t.Context(), m))
	must(t, source.Resume(t.Context(), m.ID))
	c := console(t, source, m.ID)
	c.until("UP ")
	const online = `for n in 1 2; do f=/sys/devices/system/cpu/cpu$n/online; [ ! -e $f ] || [ $(cat $f) = 1 ] || echo 1 >$f; done`
	begun := time.Now()
	for range 2 {
		must(t, source.GrowCPUs(t.Context(), m.ID, 2))
	}
	t.Logf("plugged in after %v", time.Since(begun).Round(time.Millisecond))
	c.say(`until [ $(nproc) = 2 ]; do ` + online + `; sleep 0.2; done; echo HAS''TWO`)
	c.until("HASTWO")
	if err := source.GrowCPUs(t.Context(), m.ID, 4); !fault.Is(err, fault.Precondition) {
		t.Errorf("more than it was started for: %v", err)
	}
	twin.BootCPUs, twin.MaxCPUs, twin.CPUs = 1, 3, 2
	must(t, target.Ensure(t.Context(), twin))
	sent(t, source, m.ID, compute.Outgoing{OperationID: resource.NewID(), InstanceID: twin.ID, Address: "pipe"})
	await(t, target, twin.ID, 5*time.Second, onhost.Received)
	twin.Epoch, twin.Incoming = 2, false
	must(t, target.Ensure(t.Context(), twin))
	must(t, target.Resume(t.Context(), twin.ID))
	there := console(t, target, twin.ID)
	there.say(`[ $(nproc) = 2 ] && echo STILL''TWO`)
	there.until("STILLTWO")
	must(t, target.GrowCPUs(t.Context(), twin.ID, 3))
	there.say(`until [ $(nproc) = 3 ]; do ` + online + `; sleep 0.2; done; echo HAS''THREE`)
	there.until("HASTHREE")
}

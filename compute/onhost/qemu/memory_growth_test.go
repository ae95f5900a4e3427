package qemu

import (
	"testing"
	"time"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/engine/resource"
)

func TestAGuestKeepsTheMemoryThatItWasGivenWhenItMoves(t *testing.T) {
	source, target, m, twin := pair(t)
	m.MemoryMiB, m.BootMemoryMiB, m.MaxMemoryMiB = 192, 192, 448
	must(t, source.Ensure(t.Context(), m))
	must(t, source.Resume(t.Context(), m.ID))
	c := console(t, source, m.ID)
	c.until("UP ")
	c.say(`all() { awk '/MemTotal/ {print $2}' /proc/meminfo; }; b=$(all); echo BE''GIN`)
	c.until("BEGIN")
	begun := time.Now()
	must(t, source.GrowMemory(t.Context(), m.ID, 320))
	c.say(`until [ $(($(all)-b)) -gt 125000 ]; do sleep 0.1; done; echo HA''S; mount -t tmpfs -o size=200m none /mnt; dd if=/dev/urandom of=/piece bs=1M count=1 2>/dev/null; for i in $(seq 140); do cat /piece; done >/mnt/x; md5sum /mnt/x >/sum; echo WR''OTE`)
	c.until("HAS")
	t.Logf("the guest has its memory after %v", time.Since(begun).Round(time.Millisecond))
	c.until("WROTE")
	twin.BootMemoryMiB, twin.MaxMemoryMiB, twin.MemoryMiB = m.MemoryMiB, m.MaxMemoryMiB, 320
	must(t, target.Ensure(t.Context(), twin))
	sent(t, source, m.ID, compute.Outgoing{OperationID: resource.NewID(), InstanceID: twin.ID, Address: "pipe"})
	await(t, target, twin.ID, 5*time.Second, onhost.Received)
	twin.Epoch, twin.Incoming = 2, false
	must(t, target.Ensure(t.Context(), twin))
	must(t, target.Resume(t.Context(), twin.ID))
	there := console(t, target, twin.ID)
	there.say(`md5sum -c /sum && echo SA''ME`)
	there.until("SAME")
	if has, err := target.GrownMemory(t.Context(), twin.ID); err != nil || has != twin.MemoryMiB {
		t.Errorf("it has %d MiB, %v", has, err)
	}
	must(t, target.GrowMemory(t.Context(), twin.ID, twin.MaxMemoryMiB))
	there.say(`until [ $(($(all)-b)) -gt 255000 ]; do sleep 0.1; done; echo MO''RE`)
	there.until("MORE")
}

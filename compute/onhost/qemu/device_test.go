package qemu

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/storage"
)

// taps makes taps in a network namespace that is this test's own. What runs outside of this goroutine
// does not see them.
func taps(t *testing.T, names ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs a network namespace of its own")
	}
	runtime.LockOSThread() // never unlocked: the thread goes with its namespace
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("no network namespace: %v", err)
	}
	for _, name := range names {
		if out, err := exec.Command("ip", "tuntap", "add", name, "mode", "tap").CombinedOutput(); err != nil {
			t.Skipf("no tap: %s", out)
		}
		must(t, exec.Command("ip", "link", "set", name, "up").Run())
	}
}

func nic(tap string, number int, slot int64) onhost.NIC {
	return onhost.NIC{
		ID: resource.NewID(), Device: tap, MAC: fmt.Sprintf("52:54:00:00:00:%02x", number), MTU: 1400,
		Address: onhost.Address{Bus: compute.PCIe, Slot: slot},
	}
}

// netNames asks the guest for the PCI address of each of its NICs, by hardware address.
func (c *talk) netNames() map[string]string {
	c.t.Helper()
	// The end is put together by the guest, so that it is not found in what was typed.
	c.say(`for n in /sys/class/net/eth*; do d=$(readlink -f $n/device); d=${d%/virtio*}; echo "=$(cat $n/address) ${d##*/}="; done; echo al''l`)
	out := map[string]string{}
	for _, line := range strings.Split(c.before("all"), "\n") {
		_, line, _ = strings.Cut(line, "=52:") // behind the prompt
		if mac, pci, ok := strings.Cut(strings.TrimRight(line, "=\r"), " "); ok {
			out["52:"+mac] = pci
		}
	}
	return out
}

// before waits for words, and gives what came before them.
func (c *talk) before(words string) string {
	c.t.Helper()
	limit := time.After(60 * time.Second)
	for !strings.Contains(c.seen.String(), words) {
		select {
		case data, ok := <-c.more:
			if !ok {
				c.t.Fatalf("the console ended before %q: %s", words, c.seen.String())
			}
			c.seen.Write(data)
		case <-limit:
			c.t.Fatalf("no %q on the console: %s", words, c.seen.String())
		}
	}
	text, _, _ := strings.Cut(c.seen.String(), words)
	c.seen.Next(len(text) + len(words))
	return text
}

// The PCI address is what the guest's names are made of: slot 2 is bus 3, enp3s0.
func TestNICsStayWhereTheyAreWhenAnotherOneGoes(t *testing.T) {
	taps(t, "vtest0", "vtest1", "vtest2")
	d := house(t, Config{})
	first, second, third := nic("vtest0", 1, 1), nic("vtest1", 2, 2), nic("vtest2", 3, 9)
	for _, c := range []struct {
		nics  []onhost.NIC
		ports int64
		want  string
	}{
		{[]onhost.NIC{first, second}, 8, "map[52:54:00:00:00:01:0000:02:00.0 52:54:00:00:00:02:0000:03:00.0]"},
		{[]onhost.NIC{second}, 8, "map[52:54:00:00:00:02:0000:03:00.0]"},
		// More root ports, another disk, another order.
		{[]onhost.NIC{third, second}, 16, "map[52:54:00:00:00:02:0000:03:00.0 52:54:00:00:00:03:0000:0a:00.0]"},
	} {
		m := vm(t, "")
		m.NICs, m.RootPorts = c.nics, c.ports
		if c.ports > 8 {
			m.Disks = []onhost.Disk{{ID: resource.NewID(), Source: storage.InFile(newDisk(t), "qcow2"), Address: onhost.Address{Bus: compute.PCIe, Slot: 7}}}
		}
		must(t, d.Ensure(t.Context(), m))
		must(t, d.Resume(t.Context(), m.ID))
		line := console(t, d, m.ID)
		line.until("UP ")
		if got := fmt.Sprint(line.netNames()); got != c.want {
			t.Errorf("the guest sees %s, and should see %s", got, c.want)
		}
		must(t, d.Remove(t.Context(), m.ID))
	}
}

// untilSeen asks the guest for its NICs until it sees those.
func (c *talk) untilSeen(want string) {
	c.t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		got := fmt.Sprint(c.netNames())
		if got == want {
			return
		}
		if time.Now().After(end) {
			c.t.Fatalf("the guest sees %s, and should see %s", got, want)
		}
	}
}

// A NIC comes, another one goes, the daemon is started again, the guest moves: the one that stays keeps its
// place, and so does the one that came.
func TestPluggedNICsKeepTheirPlaceThroughRestartAndMigration(t *testing.T) {
	taps(t, "vtest0", "vtest1", "vtest2", "vtest3")
	source, target, m, twin := pair(t)
	first, second, third := nic("vtest0", 1, 1), nic("vtest1", 2, 2), nic("vtest2", 3, 4)
	m.NICs = []onhost.NIC{first, second}
	must(t, source.Ensure(t.Context(), m))
	must(t, source.Resume(t.Context(), m.ID))
	line := console(t, source, m.ID)
	line.until("UP ")
	line.untilSeen("map[52:54:00:00:00:01:0000:02:00.0 52:54:00:00:00:02:0000:03:00.0]")

	for range 2 {
		must(t, source.AttachNIC(t.Context(), m.ID, third))
	}
	line.untilSeen("map[52:54:00:00:00:01:0000:02:00.0 52:54:00:00:00:02:0000:03:00.0 52:54:00:00:00:03:0000:05:00.0]")
	const left = "map[52:54:00:00:00:02:0000:03:00.0 52:54:00:00:00:03:0000:05:00.0]"
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		must(t, source.Detach(t.Context(), m.ID, compute.NICDevice, first.ID))
		all, err := source.Plugged(t.Context(), m.ID)
		must(t, err)
		if len(all) == 3 { // the disk and two NICs
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the guest does not give up its NIC: %+v", all)
		}
	}
	line.untilSeen(left)
	if out, err := exec.Command("ip", "link", "show", "vtest0").Output(); err != nil || !strings.Contains(string(out), "NO-CARRIER") {
		t.Errorf("QEMU still has the tap of a NIC that is gone: %s %v", out, err)
	}

	dial := source.cfg.Dial
	source.Close()
	source = house(t, Config{RunDir: source.cfg.RunDir, Dial: dial})
	twin.NICs = []onhost.NIC{second, third} // as the record of the target is made: what the source has
	twin.NICs[0].Device, twin.NICs[1].Device = "vtest0", "vtest3"
	must(t, target.Ensure(t.Context(), twin))
	sent(t, source, m.ID, compute.Outgoing{OperationID: resource.NewID(), InstanceID: twin.ID, Address: "pipe"})
	await(t, target, twin.ID, 5*time.Second, onhost.Received)
	must(t, target.Resume(t.Context(), twin.ID))
	moved := console(t, target, twin.ID)
	moved.untilSeen(left)
	// What has come with the guest can go there, and come again.
	must(t, source.Remove(t.Context(), m.ID))
	must(t, target.AttachNIC(t.Context(), twin.ID, nic("vtest1", 1, 1)))
	moved.untilSeen("map[52:54:00:00:00:01:0000:02:00.0 52:54:00:00:00:02:0000:03:00.0 52:54:00:00:00:03:0000:05:00.0]")
}

// Every model that this guest's kernel has a driver for is used by it, and the others are seen on its buses; and what
// may come and go while it runs does.
func TestAGuestHasDisksAndNICsOfEveryModel(t *testing.T) {
	taps(t, "vtest0", "vtest1", "vtest2", "vtest3")
	d := house(t, Config{})
	m := vm(t, "")
	disk := func(model string, bus compute.Bus, slot int64) onhost.Disk {
		path := newDisk(t)
		return onhost.Disk{ID: resource.NewID(), Source: storage.InFile(path, "qcow2"), Model: model, Address: onhost.Address{Bus: bus, Slot: slot}}
	}
	old := disk(compute.SATA, compute.AHCI, 2)
	m.Disks = []onhost.Disk{disk(compute.VirtioSCSI, compute.SCSI, 5), disk(compute.NVMe, compute.PCIe, 0), old}
	for i, model := range []string{compute.E1000, compute.E1000e, compute.RTL8139} {
		n := nic(fmt.Sprint("vtest", i), i+1, int64(i+1))
		n.Model = model
		m.NICs = append(m.NICs, n)
	}
	must(t, d.Ensure(t.Context(), m))
	must(t, d.Resume(t.Context(), m.ID))
	line := console(t, d, m.ID)
	line.until("UP ")
	seen := func(what, want string) {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); ; time.Sleep(200 * time.Millisecond) {
			line.say(what + "; echo do''ne")
			got := line.before("done")
			if strings.Contains(got, want) {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%s\nsays %q and should say %q", what, got, want)
			}
		}
	}
	ids := func(addresses ...string) string {
		return "for a in " + strings.Join(addresses, " ") + `; do echo -n "$(cat /sys/bus/pci/devices/0000:$a.0/vendor) $(cat /sys/bus/pci/devices/0000:$a.0/device),"; done`
	}
	seen(ids("02:00", "03:00", "04:00"), "0x8086 0x100e,0x8086 0x10d3,0x10ec 0x8139,")
	for _, device := range []string{"sda", "nvme0n1"} {
		seen("echo on-"+device+" > /dev/"+device+"; sync; head -c 20 /dev/"+device+" | tr -d '\\0'", "on-"+device)
	}
	seen("cat /sys/block/nvme0n1/device/serial", tail(m.Disks[1].ID))
	seen("ls /sys/bus/scsi/devices", ":5:0") // the target is the slot

	second, third, more := disk(compute.VirtioSCSI, compute.SCSI, 6), disk(compute.NVMe, compute.PCIe, 4), nic("vtest3", 4, 5)
	more.Model = compute.E1000
	must(t, d.AttachDisk(t.Context(), m.ID, second))
	must(t, d.AttachDisk(t.Context(), m.ID, third))
	must(t, d.AttachNIC(t.Context(), m.ID, more))
	seen("echo $(ls /sys/block)", "nvme0n1 nvme1n1 sda sdb")
	seen(ids("06:00"), "0x8086 0x100e,")
	if err := d.AttachDisk(t.Context(), m.ID, disk(compute.SATA, compute.AHCI, 3)); err == nil || !strings.Contains(err.Error(), "hotplug") {
		t.Errorf("a SATA disk came while the guest ran: %v", err)
	}
	for _, gone := range []onhost.Disk{second, third} {
		for end := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
			must(t, d.Detach(t.Context(), m.ID, compute.DiskDevice, gone.ID))
			all, err := d.Plugged(t.Context(), m.ID)
			must(t, err)
			left := false
			for _, p := range all {
				left = left || p.ID == gone.ID
			}
			if !left {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("the guest does not give up its %s: %+v", gone.Model, all)
			}
		}
	}
	seen("echo $(ls /sys/block)", "nvme0n1 sda\r")
}

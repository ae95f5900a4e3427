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
			m.Disks = []onhost.Disk{{ID: resource.NewID(), Path: newDisk(t), Format: "qcow2", Address: onhost.Address{Bus: compute.PCIe, Slot: 7}}}
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

package lab

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/virga-cloud/virga/client"
)

// devices gives a VM these disks and NICs, by name, and waits until its guest has them, and no others. A new one has
// the volume or port that is called like it. It gives the VM as it is then.
func (h *Host) devices(vm string, volumes, ports []string) *client.VM {
	t := h.cloud.t
	t.Helper()
	conn, err := client.Connect(client.Options{Socket: filepath.Join(h.Run, "api.sock")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), boot)
	defer cancel()
	named := func(names []string, own, behind string) []map[string]any {
		out := []map[string]any{}
		for _, name := range names {
			one := map[string]any{"name": name}
			if name != own {
				one[behind] = name
			}
			out = append(out, one)
		}
		return out
	}
	disks, nics := named(volumes, "disk0", "volumeID"), named(ports, "nic0", "portID")
	if _, err := client.VMs.Update(ctx, conn, "default", vm, map[string]any{"spec": map[string]any{"disks": disks, "nics": nics}}, 0); err != nil {
		t.Fatal(err)
	}
	got, err := client.VMs.Wait(ctx, conn, "default", vm, boot)
	if err != nil {
		out, _ := h.Virga("explain", "vm", vm)
		t.Fatalf("%v\n%s", err, out)
	}
	return got
}

// nics is the PCI address and the hardware address of each NIC, as the guest sees them.
func nics(g *Guest) string {
	out := g.Must(boot, `for n in /sys/class/net/eth*; do d=$(readlink -f $n/device); d=${d%/virtio*}; echo "${d##*/} $(cat $n/address)"; done | sort`)
	return strings.ReplaceAll(strings.TrimSpace(out), "\r", "")
}

// A disk and a NIC are attached to a guest that runs, go with it to another host, outlive the daemon, and are
// detached again. What stays is where it was.
func TestDevicesComeAndGoWhileTheirGuestRuns(t *testing.T) {
	c, g, _, _, _ := twoHosts(t)
	h := c.Hosts[0]
	started := g.Must(boot, "cat /proc/sys/kernel/random/boot_id")
	first := nics(g)
	if !strings.HasPrefix(first, "0000:02:00.0 ") {
		t.Fatalf("the only NIC, in slot 1, is %q", first)
	}
	h.Must("volume", "create", "data", "--size", "64MiB", "--datastore", "shared", "--wait")
	h.Must("port", "create", "extra", "--wait")
	extra := strings.TrimSpace(h.Must("port", "show", "extra", "-o", "jsonpath=status.mac"))

	h.devices("a", []string{"disk0", "data"}, []string{"nic0", "extra"})
	g.Must(boot, `for i in 1 2 3 4 5 6 7 8 9; do [ -b /dev/vdc ] && [ -e /sys/class/net/eth1 ] && break; sleep 1; done; test "$(cat /sys/block/vdc/size)" = 131072`)
	g.Must(boot, "echo on the new disk > /dev/vdc; sync")
	both := first + "\n0000:04:00.0 " + extra
	if got := nics(g); got != both {
		t.Fatalf("the guest sees\n%s\nand should see\n%s", got, both)
	}
	if out, err := h.Virga("volume", "delete", "data"); err == nil {
		t.Fatalf("a disk of a VM that runs was deleted: %s", out)
	}

	h.Must("vm", "migrate", "a", "--wait")
	g = h.Guest("a")
	if got := nics(g); got != both {
		t.Fatalf("after a migration the guest sees\n%s\nand should see\n%s", got, both)
	}
	if out := g.Must(boot, "head -c 15 /dev/vdc"); !strings.Contains(out, "on the new disk") {
		t.Fatalf("the disk lost its content: %q", out)
	}
	for _, each := range c.Hosts {
		each.Kill9()
		each.Up()
	}
	g = h.Guest("a")

	vm := h.devices("a", []string{"disk0"}, []string{"extra"})
	if len(vm.Status.Devices) != 2 {
		t.Errorf("the VM has %+v", vm.Status.Devices)
	}
	g.Must(boot, "for i in 1 2 3 4 5 6 7 8 9; do [ -b /dev/vdc ] || break; sleep 1; done; test ! -b /dev/vdc")
	if got, want := nics(g), "0000:04:00.0 "+extra; got != want {
		t.Fatalf("the guest sees %q, and should see %q", got, want)
	}
	h.Must("volume", "delete", "data", "--wait", "--timeout", "60s")
	if now := g.Must(boot, "cat /proc/sys/kernel/random/boot_id"); now != started {
		t.Errorf("the guest was started again: %s, then %s", started, now)
	}

	// It boots anew with what it has, where that was.
	h.Must("vm", "stop", "a", "--wait")
	h.Must("vm", "start", "a", "--wait")
	g = h.Guest("a")
	g.Wait(boot, `VIRGA-READY a `)
	if got, want := nics(g), "0000:04:00.0 "+extra; got != want {
		t.Fatalf("after another boot the guest sees %q, and should see %q", got, want)
	}
}

// The firmware boots a guest from a disk of each model, and where the guest's kernel has the driver it finds what
// is on it.
func TestAVMBootsFromADiskOfEachModel(t *testing.T) {
	c := New(t, 1)
	c.Start()
	h := c.Hosts[0]
	h.ImportTiny()
	for model, disk := range map[string]string{"virtio-scsi": "sda", "nvme": "nvme0n1", "sata": "", "ide": ""} {
		h.Must("vm", "create", model, "--image", "tiny", "--memory", "128MiB", "--disk", "128MiB,model="+model, "--wait")
		g := h.Guest(model)
		g.Wait(boot, `VIRGA-READY `+model+` `)
		if disk != "" {
			g.Must(boot, "grep -q /dev/"+disk+" /proc/mounts && echo kept > /data/file && sync")
		}
		h.Must("vm", "delete", model, "--wait")
	}
}

// What the firmware says on the serial line is the proof: it looks for something to boot and finds nothing.
func TestAVMBootsByTheFirmwareThatItIsGiven(t *testing.T) {
	c := New(t, 1)
	c.Start()
	h := c.Hosts[0]
	for firmware, says := range map[string]string{"uefi": "BdsDxe: ", "uefi-secure": "BdsDxe: "} {
		h.Must("vm", "create", firmware, "--firmware", firmware, "--memory", "256MiB", "--disk", "64MiB", "--no-network", "--wait")
		said := func() string { return h.Must("vm", "log", firmware) }
		for end := time.Now().Add(boot); !strings.Contains(said(), says); time.Sleep(time.Second) {
			if time.Now().After(end) {
				t.Fatalf("%s says %q", firmware, said())
			}
		}
		h.Must("vm", "stop", firmware, "--force", "--wait")
		if files, _ := filepath.Glob(filepath.Join(h.State, "serial", "*."+firmware+".vars")); len(files) != 1 {
			t.Errorf("%s: its variables are in %v", firmware, files)
		}
		h.Must("vm", "delete", firmware, "--wait")
	}
}

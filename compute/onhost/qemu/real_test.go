package qemu

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/compute/onhost/cgroup"
	"github.com/virga-cloud/virga/compute/onhost/seed"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/storage"
)

// runDir is a short path: sockets' names are limited. The guests' users must be able to pass it.
func runDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "vt")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func open1(t *testing.T, cfg Config) *Driver {
	t.Helper()
	groups, _ := cgroup.Probe(cgroup.Root)
	cfg.Groups = groups.Slice("virga-test")
	if cfg.LogDir == "" {
		cfg.LogDir = cfg.RunDir + ".logs"
		t.Cleanup(func() { _ = os.RemoveAll(cfg.LogDir) })
	}
	if cfg.Binary == "" {
		cfg.Binary = os.Getenv("VIRGA_TEST_QEMU") // another version beside the installed one
	}
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// house is a driver whose guests are gone when the test ends.
func house(t *testing.T, cfg Config) *Driver {
	t.Helper()
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		t.Skip("no QEMU here")
	}
	if cfg.RunDir == "" {
		cfg.RunDir = runDir(t)
	}
	d := open1(t, cfg)
	t.Cleanup(func() { clear(t, d) })
	return d
}

func clear(t *testing.T, d *Driver) {
	if d.ctx.Err() != nil { // closed by the test; whatever runs is another's, or is found now
		d = open1(t, Config{RunDir: d.cfg.RunDir})
	}
	guests, err := d.List(context.Background())
	if err != nil {
		t.Error(err)
	}
	for _, g := range guests {
		if err := d.Remove(context.Background(), g.ID); err != nil {
			t.Error(err)
		}
	}
	d.Close()
	if err := d.cfg.Groups.Remove(""); err != nil { // the slice; another test's guests may be in it
		t.Log(err)
	}
}

// VM boots the test's kernel, as a user of its own where the test is root.
func vm(t *testing.T, append string) onhost.VMConfig {
	k := guestKernel(t)
	return onhost.VMConfig{
		ID: resource.NewID(), VMID: resource.NewID(), Boot: 1, Epoch: 1, Name: "test", CPUs: 1, MemoryMiB: 128,
		MachineType: "pc-q35-7.2", CPUModel: "qemu64", Accelerator: host.TCG, UID: 64123, RootPorts: 8, Screen: onhost.NoScreen,
		Kernel: shared(t, k.image), Initrd: shared(t, k.initrd), Append: "console=ttyS0 quiet memhp_default_state=online_movable " + append,
	}
}

// shared makes a copy that every user can read: the cache may lie in a private folder.
func shared(t *testing.T, path string) string {
	t.Helper()
	out := filepath.Join(runDir(t), filepath.Base(path))
	if os.Link(path, out) == nil {
		return out
	}
	data, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(out, data, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func look(t *testing.T, d *Driver, id resource.ID) onhost.Guest {
	t.Helper()
	g, err := d.Look(t.Context(), id)
	must(t, err)
	return g
}

func await(t *testing.T, d *Driver, id resource.ID, limit time.Duration, wanted ...onhost.State) onhost.Guest {
	t.Helper()
	end := time.Now().Add(limit)
	for {
		g := look(t, d, id)
		for _, w := range wanted {
			if g.State == w {
				return g
			}
		}
		if time.Now().After(end) {
			t.Fatalf("waited for %v, the guest is %q (%s %s)\n%s", wanted, g.State, g.Exit, g.ExitMessage, d.guest(id).log.end(pastSize))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// talk is a viewer of the serial line that waits for words.
type talk struct {
	t    *testing.T
	rw   io.ReadWriteCloser
	seen bytes.Buffer
	more chan []byte
}

func console(t *testing.T, d *Driver, id resource.ID) *talk {
	t.Helper()
	rw, err := d.Console(t.Context(), id)
	must(t, err)
	c := &talk{t: t, rw: rw, more: make(chan []byte, 1024)}
	go func() {
		for {
			buf := make([]byte, 4096)
			n, err := rw.Read(buf)
			if err != nil {
				close(c.more)
				return
			}
			c.more <- buf[:n]
		}
	}()
	t.Cleanup(func() { _ = rw.Close() })
	return c
}

func (c *talk) until(words string) {
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
	c.seen.Next(strings.Index(c.seen.String(), words) + len(words)) // what came after it is for the next wait
}

func (c *talk) say(line string) {
	c.t.Helper()
	_, err := c.rw.Write([]byte(line + "\n"))
	must(c.t, err)
}

func TestAGuestLivesThroughPauseAndARestartOfTheDaemonAndPowersItselfOff(t *testing.T) {
	dir := runDir(t)
	first := house(t, Config{RunDir: dir})
	m := vm(t, "")
	m.Screen = onhost.VGA
	m.Seed = seed.Files{"meta-data": "instance-id: i\n", "user-data": "#cloud-config\n", "network-config": "version: 2\n"}
	must(t, first.Ensure(t.Context(), m))
	if g := look(t, first, m.ID); g.State != onhost.Paused {
		t.Fatalf("a guest that was just started is %s, and must stand still", g.State)
	}
	must(t, first.Resume(t.Context(), m.ID))
	one, two := console(t, first, m.ID), console(t, first, m.ID)
	one.until("UP ")
	two.until("UP ")
	one.say("echo a$((40+2))b; dd if=/dev/vda bs=1 skip=32808 count=6 2>/dev/null")
	two.until("a42b")
	two.until("cidata")
	must(t, first.Pause(t.Context(), m.ID))
	if g := look(t, first, m.ID); g.State != onhost.Paused {
		t.Fatalf("state %s after a pause", g.State)
	}
	must(t, first.Resume(t.Context(), m.ID))
	shot, err := first.Screenshot(t.Context(), m.ID)
	must(t, err)
	if !bytes.HasPrefix(shot, []byte("\x89PNG")) {
		t.Fatalf("the screenshot is no PNG: %.20q", shot)
	}
	pid := look(t, first, m.ID).PID
	if os.Geteuid() == 0 {
		var st unix.Stat_t
		must(t, unix.Stat("/proc/"+strconv.Itoa(pid), &st))
		if st.Uid != 64123 {
			t.Fatalf("QEMU runs as user %d", st.Uid)
		}
	}
	first.Close()

	second := house(t, Config{RunDir: dir})
	if g := look(t, second, m.ID); g.State != onhost.Running || g.PID != pid {
		t.Fatalf("after a restart of the daemon the guest is %s with pid %d, was %d", g.State, g.PID, pid)
	}
	must(t, second.Ensure(t.Context(), m))
	again := console(t, second, m.ID)
	again.say("echo still$((1+1)); sleep 1; poweroff -f")
	again.until("still2")
	await(t, second, m.ID, 20*time.Second, onhost.Off)
	second.Close()

	third := house(t, Config{RunDir: dir})
	must(t, third.Kill(t.Context(), m.ID))
	if g := look(t, third, m.ID); g.State != onhost.Ended || g.Exit != compute.ExitPoweredOff {
		t.Fatalf("a guest that powered itself off ended as %s, %s", g.State, g.Exit)
	}
	if err := third.Ensure(t.Context(), m); !fault.Is(err, fault.Precondition) {
		t.Fatalf("an ended guest was started again: %v", err)
	}
	must(t, third.Remove(t.Context(), m.ID))
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Fatalf("left behind: %v", left)
	}
}

func TestAGuestIsAskedAndAnotherIsForced(t *testing.T) {
	d := house(t, Config{})
	m := vm(t, "")
	must(t, d.Ensure(t.Context(), m))
	must(t, d.Resume(t.Context(), m.ID))
	console(t, d, m.ID).until("UP ")
	must(t, d.Ask(t.Context(), m.ID))
	if g := await(t, d, m.ID, 20*time.Second, onhost.Off); g.Asks != 1 || g.AskedAt.IsZero() {
		t.Fatalf("asked %d times at %s", g.Asks, g.AskedAt)
	}
	must(t, d.Remove(t.Context(), m.ID))

	m = vm(t, "")
	must(t, d.Ensure(t.Context(), m))
	must(t, d.Resume(t.Context(), m.ID))
	must(t, d.Kill(t.Context(), m.ID))
	if g := look(t, d, m.ID); g.Exit != compute.ExitForced {
		t.Fatalf("a guest that was killed ended as %s", g.Exit)
	}
}

func TestAKilledQEMUIsACrashAndSoIsAPanic(t *testing.T) {
	changed := make(chan resource.ID, 1000)
	d := house(t, Config{Changed: func(id resource.ID) {
		select {
		case changed <- id:
		default:
		}
	}})
	m := vm(t, "")
	must(t, d.Ensure(t.Context(), m))
	must(t, d.Resume(t.Context(), m.ID))
	signal(t, look(t, d, m.ID).PID, unix.SIGKILL)
	g := await(t, d, m.ID, 5*time.Second, onhost.Ended)
	if g.Exit != compute.ExitCrashed || !strings.Contains(g.ExitMessage, "signal 9") {
		t.Fatalf("exit %s, %q", g.Exit, g.ExitMessage)
	}
	if len(changed) == 0 {
		t.Fatal("nobody was told")
	}
	m = vm(t, "")
	must(t, d.Ensure(t.Context(), m))
	must(t, d.Resume(t.Context(), m.ID))
	c := console(t, d, m.ID)
	c.until("UP ")
	c.say("echo c > /proc/sysrq-trigger")
	await(t, d, m.ID, 20*time.Second, onhost.Crashed)
	must(t, d.Kill(t.Context(), m.ID))
	if g := look(t, d, m.ID); g.Exit != compute.ExitCrashed {
		t.Fatalf("a panic ended as %s", g.Exit)
	}
}

// TestADiskThatIsInUseElsewhereIsAConflict: QEMU's own locks on images are on. It is the last
// wall before two writers, and it is the QEMU process that refuses.
func TestADiskThatIsInUseElsewhereIsAConflict(t *testing.T) {
	d := house(t, Config{})
	disk := newDisk(t)
	a, b := vm(t, ""), vm(t, "")
	a.Disks = []onhost.Disk{{Source: storage.InFile(disk, "qcow2"), ID: "0199c0de-0000-7000-8000-0123456789ab", BootIndex: 1}}
	b.Disks = a.Disks
	must(t, d.Ensure(t.Context(), a))
	err := d.Ensure(t.Context(), b)
	if !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "in use elsewhere") || !strings.Contains(err.Error(), `Failed to get "write" lock`) {
		t.Fatalf("the second writer: %v", err)
	}
	if g := look(t, d, b.ID); g.State != onhost.Ended || g.Exit != compute.ExitFailed {
		t.Fatalf("the second writer is %s, %s", g.State, g.Exit)
	}
	a.Epoch = 0
	if err := d.Ensure(t.Context(), a); !fault.Is(err, fault.Conflict) {
		t.Fatalf("a lower epoch: %v", err)
	}
}

func TestAQEMUProcessThatHangsIsSilentAndCanStillBeKilled(t *testing.T) {
	d := house(t, Config{})
	hung, well := vm(t, ""), vm(t, "")
	must(t, d.Ensure(t.Context(), hung))
	must(t, d.Ensure(t.Context(), well))
	must(t, d.Resume(t.Context(), hung.ID))
	signal(t, look(t, d, hung.ID).PID, unix.SIGSTOP)
	all, err := d.List(t.Context())
	must(t, err)
	if len(all) != 2 || all[0].State != onhost.Silent || all[0].Problem == "" || all[1].State != onhost.Paused {
		t.Fatalf("%+v", all)
	}
	must(t, d.Kill(t.Context(), hung.ID))
	if g := look(t, d, hung.ID); g.State != onhost.Ended || g.Exit != compute.ExitForced {
		t.Fatalf("%+v", g)
	}
}

// diskMiB reads the size that a guest's first disk has, as its QEMU tells it.
func diskMiB(t *testing.T, d *Driver, m onhost.VMConfig) int64 {
	t.Helper()
	g, err := d.known(m.ID)
	must(t, err)
	defer g.mu.Unlock()
	var disks []struct {
		Inserted struct {
			Node  string `json:"node-name"`
			Image struct {
				Size int64 `json:"virtual-size"`
			} `json:"image"`
		} `json:"inserted"`
	}
	must(t, g.do(t.Context(), "query-block", nil, &disks))
	for _, b := range disks {
		if b.Inserted.Node == deviceName(compute.DiskDevice, m.Disks[0].ID) {
			return b.Inserted.Image.Size >> 20
		}
	}
	t.Fatalf("it has no disk: %+v", disks)
	return 0
}

// TestAGuestSeesItsDiskGrowAlsoWhereItHasMoved: it sees what was grown before it moved, and what is
// grown after; the twin had opened the file when it was smaller.
func TestAGuestSeesItsDiskGrowAlsoWhereItHasMoved(t *testing.T) {
	source, target, m, twin := pair(t)
	must(t, source.Ensure(t.Context(), m))
	must(t, source.Resume(t.Context(), m.ID))
	c := console(t, source, m.ID)
	c.until("UP ")
	c.say("echo size=$(cat /sys/block/vda/size)")
	c.until("size=131072")
	must(t, source.Grow(t.Context(), m.ID, m.Disks[0].ID, 96))
	c.say("sleep 1; echo size=$(cat /sys/block/vda/size)")
	c.until("size=196608")
	must(t, target.Ensure(t.Context(), twin))
	must(t, source.Grow(t.Context(), m.ID, m.Disks[0].ID, 128))
	if err := target.Grow(t.Context(), twin.ID, m.Disks[0].ID, 256); !fault.Is(err, fault.Precondition) {
		t.Errorf("a twin that waits for its memory writes to a disk that is not its own yet: %v", err)
	}
	sent(t, source, m.ID, compute.Outgoing{OperationID: resource.NewID(), InstanceID: twin.ID, Address: "pipe"})
	await(t, target, twin.ID, 5*time.Second, onhost.Received)
	twin.Epoch, twin.Incoming = 2, false
	must(t, target.Ensure(t.Context(), twin))
	must(t, target.Resume(t.Context(), twin.ID))
	must(t, target.Grow(t.Context(), twin.ID, m.Disks[0].ID, 128)) // as the loop does: whether it has seen it or not
	there := console(t, target, twin.ID)
	there.say("sleep 1; echo there=$(cat /sys/block/vda/size)")
	there.until("there=262144")
	must(t, target.Grow(t.Context(), twin.ID, m.Disks[0].ID, 160))
	there.say("sleep 1; echo more=$(cat /sys/block/vda/size); echo end | dd of=/dev/vda bs=1M seek=159 conv=fsync 2>/dev/null && echo wrote$((1+1))")
	there.until("more=327680")
	there.until("wrote2")
}

func newDisk(t *testing.T) string {
	t.Helper()
	dir := runDir(t)
	path := filepath.Join(dir, "disk.qcow2")
	out, err := exec.Command("qemu-img", "create", "-q", "-f", "qcow2", "-o", "extended_l2=on,cluster_size=128k", path, "64M").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	must(t, os.Chmod(path, 0o666))
	return path
}

// pair is two hosts with one disk. What the source dials is handed to the target.
func pair(t *testing.T) (source, target *Driver, m, twin onhost.VMConfig) {
	target = house(t, Config{})
	twinID := resource.NewID()
	dial := func(context.Context, compute.Outgoing) (net.Conn, error) {
		near, far := net.Pipe()
		go func() { _ = target.AcceptStream(context.Background(), twinID, far) }()
		return near, nil
	}
	source = house(t, Config{Dial: dial})
	m = vm(t, "")
	m.Disks = []onhost.Disk{{Source: storage.InFile(newDisk(t), "qcow2"), ID: "0199c0de-0000-7000-8000-0123456789ab", BootIndex: 1}}
	twin = m
	twin.ID, twin.Incoming = twinID, true
	return source, target, m, twin
}

func sent(t *testing.T, d *Driver, id resource.ID, to compute.Outgoing) onhost.Guest {
	t.Helper()
	must(t, d.Send(t.Context(), id, to))
	g := await(t, d, id, 60*time.Second, onhost.Sent, onhost.Ended)
	if g.Transfer.State != onhost.TransferDone {
		t.Fatalf("the transfer is %+v", g.Transfer)
	}
	return g
}

func TestAGuestMovesAndOnlyOneCopyEverRuns(t *testing.T) {
	source, target, m, twin := pair(t)
	must(t, source.Ensure(t.Context(), m))
	must(t, source.Resume(t.Context(), m.ID))
	c := console(t, source, m.ID)
	c.until("UP ")
	c.say("x=moved; echo before > /dev/vda; sync; echo ok$((1+1))")
	c.until("ok2")
	must(t, target.Ensure(t.Context(), twin))
	if g := look(t, target, twin.ID); g.State != onhost.Incoming {
		t.Fatalf("the target is %s before anything was sent", g.State)
	}
	g := sent(t, source, m.ID, compute.Outgoing{OperationID: resource.NewID(), InstanceID: twin.ID, Address: "pipe"})
	t.Logf("downtime %d ms, total %d ms", g.Transfer.DowntimeMillis, g.Transfer.TotalMillis)
	await(t, target, twin.ID, 5*time.Second, onhost.Received)

	// First it is called off: the source goes on, and the target is thrown away.
	must(t, target.Remove(t.Context(), twin.ID))
	must(t, source.Resume(t.Context(), m.ID))
	c.say("head -c 6 /dev/vda; echo $x$((2+3))")
	c.until("before")
	c.until("moved5")

	// Then it is done: the target goes on, and the source may not.
	must(t, target.Ensure(t.Context(), twin))
	sent(t, source, m.ID, compute.Outgoing{OperationID: resource.NewID(), InstanceID: twin.ID, Address: "pipe"})
	await(t, target, twin.ID, 5*time.Second, onhost.Received)
	twin.Epoch, twin.Incoming = 2, false
	must(t, target.Ensure(t.Context(), twin))
	must(t, target.Resume(t.Context(), twin.ID))
	there := console(t, target, twin.ID)
	there.say("echo 3 > /proc/sys/vm/drop_caches; echo $x$((3+3)); head -c 6 /dev/vda; echo after > /dev/vda; sync; echo wrote$((1+1))")
	there.until("moved6")
	there.until("wrote2")
	if err := source.Resume(t.Context(), m.ID); !fault.Is(err, fault.Conflict) {
		t.Fatalf("the source was let run beside the target: %v", err)
	}
	must(t, source.Kill(t.Context(), m.ID))
	if g := look(t, target, twin.ID); g.State != onhost.Running || g.Epoch != 2 {
		t.Fatalf("the target is %s with epoch %d", g.State, g.Epoch)
	}
}

func TestATargetThatDiesLeavesTheSourceRunning(t *testing.T) {
	source, target, m, twin := pair(t)
	must(t, source.Ensure(t.Context(), m))
	must(t, source.Resume(t.Context(), m.ID))
	console(t, source, m.ID).until("UP ")
	to := compute.Outgoing{OperationID: resource.NewID(), InstanceID: twin.ID, Address: "pipe"}
	must(t, source.Send(t.Context(), m.ID, to)) // nobody waits for it there
	end := time.Now().Add(20 * time.Second)
	g := look(t, source, m.ID)
	for g.Transfer.State == onhost.TransferActive && time.Now().Before(end) {
		time.Sleep(50 * time.Millisecond)
		g = look(t, source, m.ID)
	}
	if g.Transfer.State != onhost.TransferFailed || g.State != onhost.Running {
		t.Fatalf("guest %s, transfer %+v", g.State, g.Transfer)
	}
	must(t, target.Ensure(t.Context(), twin))
	to.OperationID = resource.NewID()
	sent(t, source, m.ID, to)
}

func TestAGuestIsPutIntoItsControlGroupWhenItIsAdopted(t *testing.T) {
	groups, why := cgroup.Probe(cgroup.Root)
	if groups.Version() == cgroup.None {
		t.Skip(why)
	}
	dir := runDir(t)
	first := house(t, Config{RunDir: dir})
	m := vm(t, "")
	must(t, first.Ensure(t.Context(), m))
	pid := look(t, first, m.ID).PID
	in := func() string {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
		must(t, err)
		return string(data)
	}
	name := "/virga-test/" + onhost.GroupOf(m.ID)
	if !strings.Contains(in(), name) {
		t.Fatalf("QEMU is in %s", in())
	}
	first.Close()
	// As if the daemon had died before it put the process there.
	must(t, groups.AddPID("", pid))
	must(t, groups.Slice("virga-test").Remove(onhost.GroupOf(m.ID)))
	second := house(t, Config{RunDir: dir})
	if !strings.Contains(in(), name) || second.Grouped()[m.ID] != onhost.GroupOf(m.ID) {
		t.Errorf("after the adoption QEMU is in %s", in())
	}
}

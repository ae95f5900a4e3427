package qemu

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/storage"
)

var whole = compute.LogOptions{Tail: -1}

func logs(t *testing.T) *Driver {
	t.Helper()
	d, err := New(Config{RunDir: runDir(t), LogDir: filepath.Join(t.TempDir(), "serial")})
	must(t, err)
	t.Cleanup(d.Close)
	return d
}

func read(t *testing.T, d *Driver, vmID resource.ID, options compute.LogOptions) string {
	t.Helper()
	r, err := d.Log(t.Context(), vmID, options)
	must(t, err)
	defer r.Close()
	data, err := io.ReadAll(r)
	must(t, err)
	return string(data)
}

func TestALogThatIsCutIsFollowedWithoutAGap(t *testing.T) {
	d, vmID, done := logs(t), resource.NewID(), make(chan struct{})
	l := d.serialLog(vmID)
	f, err := l.begin()
	must(t, err)
	defer f.Close()
	d.speaks(vmID, l, done)
	follower, err := d.Log(t.Context(), vmID, compute.LogOptions{Tail: -1, Follow: true})
	must(t, err)
	defer follower.Close()
	var said, heard bytes.Buffer
	block := make([]byte, 64<<10)
	for n := range 40 { // several times what is kept
		text := bytes.Repeat([]byte(fmt.Sprintf("line %9d\n", n)), logSize/10/15)
		said.Write(text)
		_, err := f.Write(text)
		must(t, err)
		if n%3 == 1 {
			l.trim()
		}
		for heard.Len() < said.Len() {
			n, err := follower.Read(block)
			must(t, err)
			heard.Write(block[:n])
		}
	}
	close(done)
	rest, err := io.ReadAll(follower)
	must(t, err)
	if len(rest) > 0 || !bytes.Equal(said.Bytes(), heard.Bytes()) {
		t.Errorf("%d bytes were said, %d heard, and %d after the end", said.Len(), heard.Len(), len(rest))
	}
	l.trim()
	kept := read(t, d, vmID, whole)
	if len(kept) < logSize/2 || len(kept) >= logSize || !strings.HasSuffix(said.String(), kept) {
		t.Errorf("%d bytes are kept, and should be the end, under %d", len(kept), logSize)
	}
}

func TestTheLastLinesOfALog(t *testing.T) {
	long := strings.Repeat("x", 100<<10)
	for name, c := range map[string]struct {
		said  string
		lines int64
		want  string
	}{
		"nothing":                 {"", 3, ""},
		"none":                    {"a\nb\n", 0, ""},
		"one":                     {"a\nb\n", 1, "b\n"},
		"one that is not ended":   {"a\nb", 1, "b"},
		"two, one not ended":      {"a\nb\nc", 2, "b\nc"},
		"as many as there are":    {"a\nb\n", 2, "a\nb\n"},
		"more than there are":     {"a\nb\n", 9, "a\nb\n"},
		"empty lines are lines":   {"a\n\n\n", 2, "\n\n"},
		"all":                     {"a\nb\n", -1, "a\nb\n"},
		"longer than is read":     {long + "\n" + long + "\nend\n", 2, long + "\nend\n"},
		"one longer than is read": {"a\n" + long, 1, long},
	} {
		t.Run(name, func(t *testing.T) {
			d, vmID := logs(t), resource.NewID()
			f, err := d.serialLog(vmID).begin()
			must(t, err)
			_, err = f.WriteString(c.said)
			must(t, err)
			must(t, f.Close())
			if got := read(t, d, vmID, compute.LogOptions{Tail: c.lines}); got != c.want {
				t.Errorf("%d lines of %.40q are %.40q, wanted %.40q", c.lines, c.said, got, c.want)
			}
		})
	}
}

func TestOneEarlierRunIsKeptAndAFailedStartDoesNotPushItOut(t *testing.T) {
	d, vmID := logs(t), resource.NewID()
	if _, err := d.Log(t.Context(), vmID, whole); !fault.Is(err, fault.NotFound) {
		t.Fatalf("a VM that said nothing: %v", err)
	}
	for _, said := range []string{"first", "", "", "second", "", "third"} {
		f, err := d.serialLog(vmID).begin()
		must(t, err)
		_, err = f.WriteString(said)
		must(t, err)
		must(t, f.Close())
	}
	if got := read(t, d, vmID, whole); got != "third" {
		t.Errorf("the latest run said %q", got)
	}
	if got := read(t, d, vmID, compute.LogOptions{Tail: -1, Previous: true}); got != "second" {
		t.Errorf("the run before said %q", got)
	}
	if _, err := d.Log(t.Context(), "../"+vmID, whole); !fault.Is(err, fault.NotFound) {
		t.Errorf("a name that leads elsewhere: %v", err)
	}
	ids, err := d.Logged()
	must(t, err)
	if len(ids) != 1 || ids[0] != vmID {
		t.Errorf("logs are kept of %v", ids)
	}
	variables, err := d.variables(onhost.VMConfig{VMID: vmID, Name: "web", Hardware: compute.Hardware{Firmware: compute.BIOS}})
	if must(t, err); variables != nil {
		t.Error("a BIOS keeps variables")
	}
	must(t, os.WriteFile(d.variablesPath(vmID, compute.UEFI), []byte("boot entries"), 0o600))
	if variables, err = d.variables(onhost.VMConfig{VMID: vmID, Hardware: compute.Hardware{Firmware: compute.UEFI}}); err != nil {
		t.Fatal(err)
	}
	if kept, err := io.ReadAll(variables); err != nil || string(kept) != "boot entries" {
		t.Errorf("what the firmware had kept is %q, %v", kept, err)
	}
	must(t, variables.Close())
	must(t, d.RemoveLog(vmID))
	must(t, d.RemoveLog(vmID))
	if left, _ := os.ReadDir(d.cfg.LogDir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestWhatAGuestSaidOutlivesIt: its log is followed until it ends, also by a daemon that adopted it, and
// is there when nothing else of it is.
func TestWhatAGuestSaidOutlivesIt(t *testing.T) {
	dir := runDir(t)
	first := house(t, Config{RunDir: dir})
	m := vm(t, "")
	must(t, first.Ensure(t.Context(), m))
	must(t, first.Resume(t.Context(), m.ID))
	console(t, first, m.ID).until("UP ")
	first.Close()

	d := house(t, Config{RunDir: dir})
	follower, err := d.Log(t.Context(), m.VMID, compute.LogOptions{Tail: 0, Follow: true})
	must(t, err)
	defer follower.Close()
	c := console(t, d, m.ID)
	c.say("echo last$((1+1))words; sleep 1; echo c > /proc/sysrq-trigger")
	await(t, d, m.ID, 60*time.Second, onhost.Crashed)
	must(t, d.Remove(t.Context(), m.ID))
	heard, err := io.ReadAll(follower)
	if err != nil || !bytes.Contains(heard, []byte("last2words")) || bytes.Contains(heard, []byte("UP ")) {
		t.Errorf("from its end on the log said %q, %v", heard, err)
	}
	for _, words := range []string{"UP ", "last2words", "Kernel panic"} {
		if kept := read(t, d, m.VMID, whole); !strings.Contains(kept, words) {
			t.Errorf("no %q is left of the guest: %q", words, kept)
		}
	}
	again := m
	again.ID, again.Epoch = resource.NewID(), 2
	must(t, d.Ensure(t.Context(), again))
	if kept := read(t, d, m.VMID, compute.LogOptions{Tail: -1, Previous: true}); !strings.Contains(kept, "last2words") {
		t.Errorf("the run before it said %q", kept)
	}
}

func TestAGuestStartsWhereItsLogCannotBeKept(t *testing.T) {
	d := house(t, Config{})
	must(t, os.Remove(d.cfg.LogDir))
	must(t, os.WriteFile(d.cfg.LogDir, nil, 0o600))
	m := vm(t, "")
	must(t, d.Ensure(t.Context(), m))
	must(t, d.Resume(t.Context(), m.ID))
	console(t, d, m.ID).until("UP ")
	if _, err := d.Log(t.Context(), m.VMID, whole); err == nil {
		t.Error("a log that could not be kept is there")
	}
}

// status reads a field of a process's status.
func status(t *testing.T, pid int, field string) string {
	t.Helper()
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	must(t, err)
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			return strings.Join(strings.Fields(value), " ")
		}
	}
	t.Fatalf("no %s of process %d", field, pid)
	return ""
}

// TestAQEMUProcessIsSandboxed: its own user with no right beyond, the sandbox, and nothing open for
// writing but what is its guest's.
func TestAQEMUProcessIsSandboxed(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root starts QEMU processes as another user")
	}
	d := house(t, Config{})
	m := vm(t, "")
	m.Disks = []onhost.Disk{{Source: storage.InFile(newDisk(t), "qcow2"), ID: resource.NewID(), BootIndex: 1}}
	must(t, d.Ensure(t.Context(), m))
	must(t, d.Resume(t.Context(), m.ID))
	console(t, d, m.ID).until("UP ")
	pid, user := look(t, d, m.ID).PID, strings.TrimSuffix(strings.Repeat("64123 ", 4), " ")
	for field, want := range map[string]string{
		"Seccomp": "2", "NoNewPrivs": "1", "Uid": user, "Gid": user, "Groups": "",
		"CapPrm": "0000000000000000", "CapEff": "0000000000000000", "CapInh": "0000000000000000", "CapAmb": "0000000000000000",
	} {
		if got := status(t, pid, field); got != want {
			t.Errorf("%s of QEMU is %q, and must be %q", field, got, want)
		}
	}
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	must(t, err)
	for _, want := range []string{"Max open files            8192                 8192", "Max core file size        0                    0"} {
		if !strings.Contains(string(limits), want) {
			t.Errorf("QEMU's limits lack %q:\n%s", want, limits)
		}
	}
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	must(t, err)
	for _, task := range tasks { // the processors of the guest are threads
		id, _ := strconv.Atoi(filepath.Base(task))
		if got := status(t, id, "Seccomp"); got != "2" {
			t.Errorf("thread %d of QEMU has seccomp %q", id, got)
		}
	}
	writable := map[string]bool{m.Disks[0].Source.Path: true, d.serialLog(m.VMID).path + latestLog: true, filepath.Join(d.cfg.RunDir, string(m.ID), stderrFile): true}
	open, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	must(t, err)
	for _, fd := range open {
		to, err := os.Readlink(fd)
		if err != nil || !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "/dev/") {
			continue
		}
		info, err := os.Lstat(fd) // the link's mode is how it was opened
		must(t, err)
		if info.Mode().Perm()&0o200 != 0 && !writable[to] {
			t.Errorf("QEMU can write to %s", to)
		}
	}
	if err := exec.Command("setpriv", "--reuid=64123", "--regid=64123", "--clear-groups", "ls", d.cfg.LogDir).Run(); err == nil {
		t.Error("QEMU's user can look into the folder of logs")
	}
}

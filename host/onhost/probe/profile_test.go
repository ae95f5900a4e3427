package probe

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/host"
)

// fakeQEMU writes a stand-in for QEMU: a shell script that is told how each accelerator behaves.
func fakeQEMU(t *testing.T, version, kvm, tcg string) (folder, binary string) {
	t.Helper()
	folder = t.TempDir()
	binary = filepath.Join(folder, "qemu")
	script := `#!/bin/sh
case "$*" in *"-qmp stdio"*) echo '{"id":"cpu","return":{"model":{"props":{"vendor":"Test","avx":true}}}}'; exit 0;; esac
echo "$*" >> "` + folder + `/calls"
case "$*" in
*--version*) echo "QEMU emulator version ` + version + ` (Debian x)";;
*"-machine help"*) printf 'q35 x (alias)\npc-q35-2.10 x\npc-q35-7.2 x\npc-q35-7.1 x\npc-i440fx-9.9 x\n';;
*"-accel kvm"*) ` + kvm + `;;
*"-accel tcg"*) ` + tcg + `;;
esac
`
	if err := os.WriteFile(binary, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "kvm"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return folder, binary
}

func hardware(folder, binary string) Hardware {
	return Hardware{Files: textbook(), QEMU: binary, KVM: filepath.Join(folder, "kvm"), State: folder,
		Datapath: func() host.Datapath { return host.NetdevDatapath }}
}

func TestTheAcceleratorIsWhatReallyRan(t *testing.T) {
	for name, c := range map[string]struct {
		kvm  string
		want host.Accelerator
		why  string
	}{
		"kvm runs the guest":   {"exit 33", host.KVM, "a guest of 40 million instructions ran in"},
		"kvm never ends":       {"exec sleep 60", host.TCG, "did not end in 2 s: it would be slower than software"},
		"kvm ends, but slowly": {"sleep 1.1; exit 33", host.TCG, "it would be slower than software"},
		"QEMU aborts":          {"kill -ABRT $$", host.TCG, "did not get through"},
		"QEMU says good":       {"exit 0", host.TCG, "it ended without finishing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			p, err := hardware(fakeQEMU(t, "7.2.22", c.kvm, "exit 33")).Profile(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if p.Accelerator != c.want || !strings.Contains(p.AcceleratorWhy, c.why) {
				t.Errorf("got %s, %q", p.Accelerator, p.AcceleratorWhy)
			}
			if p.QEMUVersion != "7.2.22" || p.MachineType != "pc-q35-7.2" || p.CgroupVersion != 2 || p.Datapath != host.NetdevDatapath || p.CPUVendor != "Test" || p.CPUFeatures != "avx" {
				t.Errorf("got %+v", p)
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

func TestAHostWithoutKVMSaysSo(t *testing.T) {
	folder, binary := fakeQEMU(t, "10.0.2", "exit 33", "exit 33")
	m := hardware(folder, binary)
	m.KVM = filepath.Join(folder, "none")
	p, err := m.Profile(t.Context())
	if err != nil || p.Accelerator != host.TCG || p.AcceleratorWhy != "there is no "+m.KVM {
		t.Errorf("got %s, %q, %v", p.Accelerator, p.AcceleratorWhy, err)
	}
}

func TestTheResultIsKeptUntilQEMUOrTheBootChanges(t *testing.T) {
	folder, binary := fakeQEMU(t, "7.2.22", "exit 33", "exit 33")
	m := hardware(folder, binary)
	runs := func() int {
		t.Helper()
		if _, err := m.Profile(t.Context()); err != nil {
			t.Fatal(err)
		}
		calls, _ := os.ReadFile(filepath.Join(folder, "calls"))
		return strings.Count(string(calls), "-accel kvm")
	}
	if runs() != 1 || runs() != 1 {
		t.Error("the second look ran a guest again")
	}
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(binary, later, later); err != nil {
		t.Fatal(err)
	}
	if runs() != 2 {
		t.Error("another QEMU was not probed")
	}
	rebooted := textbook()
	rebooted["proc/sys/kernel/random/boot_id"] = file("boot-2\n")
	m.Files = rebooted
	if runs() != 3 {
		t.Error("another boot was not probed")
	}
	if err := os.Remove(m.KVM); err != nil {
		t.Fatal(err)
	}
	if p, err := m.Profile(t.Context()); err != nil || p.Accelerator != host.TCG {
		t.Errorf("without the device: %s, %v", p.Accelerator, err)
	}
	if err := os.WriteFile(m.file(), []byte("{half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Profile(t.Context()); err != nil {
		t.Errorf("with a broken file: %v", err)
	}
}

func TestAQEMUProcessThatIsMissingOrTooOldIsNamedWithWhatToDo(t *testing.T) {
	folder, old := fakeQEMU(t, "5.2.0", "exit 33", "exit 33")
	_, broken := fakeQEMU(t, "7.2.0", "exit 1", "exit 1")
	for binary, word := range map[string]string{
		"no-such-qemu":              "is not on this host",
		filepath.Join(folder, "no"): "qemu-system-x86",
		old:                         "is version 5.2.0",
		broken:                      "in software",
	} {
		p, err := hardware(folder, binary).Profile(t.Context())
		if !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: got %v", binary, err)
		}
		if p.KernelVersion == "" || p.Accelerator != "" {
			t.Errorf("%s: the rest of the profile is not there: %+v", binary, p)
		}
	}
}

func TestAProbeThatIsCalledOffReturnsAtOnce(t *testing.T) {
	folder, binary := fakeQEMU(t, "7.2.22", "exec sleep 60", "exit 33")
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := hardware(folder, binary).Profile(ctx); !fault.Is(err, fault.Unavailable) {
		t.Errorf("got %v", err)
	}
	if time.Since(start) > time.Second {
		t.Error("it waited on")
	}
}

func TestThisHostIsProbedWithARealGuest(t *testing.T) {
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		t.Skip("no qemu-system-x86_64 on this host")
	}
	m := ThisHost("", t.TempDir())
	p, err := m.Profile(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", p)
	start := time.Now()
	again, err := m.Profile(t.Context())
	if err != nil || again != p {
		t.Errorf("the second look differs: %+v, %v", again, err)
	}
	if took := time.Since(start); took > 500*time.Millisecond {
		t.Errorf("the second look took %v", took)
	}
}

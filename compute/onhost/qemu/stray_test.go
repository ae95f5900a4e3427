package qemu

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/engine/resource"
)

func TestCommandLineTellsWhichGuestAProcessIs(t *testing.T) {
	id, vmID := resource.NewID(), resource.NewID()
	m := onhost.VMConfig{ID: id, VMID: vmID, MachineType: "pc-q35-7.2", CPUModel: "qemu64", CPUs: 1, MemoryMiB: 64, Screen: onhost.NoScreen}
	args := append([]string{"qemu-system-x86_64"}, Arguments(m, Place{Folder: "/srv/v,m/" + string(id)})...)
	args = append(args, "") // a command line ends with a zero byte
	if got, ok := readStray(args, "/srv/v,m"); !ok || got.id != id || got.vmID != vmID {
		t.Errorf("read %+v, %v", got, ok)
	}
	for what, other := range map[string][]string{
		"another state folder":  args,
		"another's process":     {"qemu-system-x86_64", "-name", "guest=web,debug-threads=on", "-uuid", string(vmID), ""},
		"a name that is no id":  {"qemu-system-x86_64", "-name", "guest=virga-../../etc,x", "-uuid", string(vmID), "path=/srv/v/other/", ""},
		"a name without a uuid": {"qemu-system-x86_64", "-name", "guest=virga-" + string(id), ""},
		"nothing":               {""},
	} {
		if got, ok := readStray(other, "/srv/v/other"); ok {
			t.Errorf("%s was taken for ours: %+v", what, got)
		}
	}
}

// What runs is found whatever was removed under it: no second copy may start beside it.
func TestGuestIsFoundThoughItsFolderWasEmptied(t *testing.T) {
	for name, test := range map[string]struct {
		remove string
		state  onhost.State
	}{
		"its saved state":            {stateFile, onhost.Running},
		"its saved state, by damage": {stateFile, onhost.Running},
		"its whole folder":           {"", onhost.Silent},
	} {
		t.Run(name, func(t *testing.T) {
			d := house(t, Config{})
			m := vm(t, "")
			must(t, d.Ensure(t.Context(), m))
			must(t, d.Resume(t.Context(), m.ID))
			before := look(t, d, m.ID)
			d.Close()
			must(t, os.RemoveAll(filepath.Join(d.cfg.RunDir, string(m.ID), test.remove)))
			if strings.Contains(name, "damage") {
				must(t, os.WriteFile(filepath.Join(d.cfg.RunDir, string(m.ID), stateFile), []byte("{\x00"), 0o600))
			}
			again := house(t, Config{RunDir: d.cfg.RunDir})
			g := await(t, again, m.ID, 20*time.Second, test.state)
			if g.PID != before.PID || test.state == onhost.Silent && !strings.Contains(g.Problem, "stop it by force") {
				t.Fatalf("found %+v", g)
			}
			m.Epoch = 2
			must(t, again.Ensure(t.Context(), m))
			if g := look(t, again, m.ID); g.PID != before.PID || g.Epoch != 2 || !g.State.Alive() {
				t.Fatalf("after it was asked for again: %+v", g)
			}
			must(t, again.Kill(t.Context(), m.ID))
			if g := look(t, again, m.ID); g.State != onhost.Ended || g.Exit != compute.ExitForced {
				t.Errorf("after it was killed: %+v", g)
			}
			must(t, again.Remove(t.Context(), m.ID))
		})
	}
}

package lab

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// walk asks a cloud of two hosts for one thing after another, and kills somebody while it is done.
type walk struct {
	*Cloud
	h      *Host // whom it asks
	rand   *rand.Rand
	vms    map[string]*wanted
	images []string
	made   int
}

// wanted is what was asked for last of a VM.
type wanted struct {
	diskMiB, memoryMiB int
	running            bool
	process            string // of the guest, when all was well last
}

// verb is a thing to ask for. Want notes what is asked for, and gives the command; nil means that there is nothing to do it to.
type verb struct {
	name string
	want func() []string
}

// TestKillsAtRandomInstantsLeaveTheCloudAsSpecified kills a daemon, or one of the switch's, in the middle
// of a create, a delete, an import, a resize or a migration. After each round every VM must be as it was
// asked for, its process the same unless it moved or was stopped, and nothing may be left over. VIRGA_LAB_SEED
// repeats the same requests and instants.
func TestKillsAtRandomInstantsLeaveTheCloudAsSpecified(t *testing.T) {
	rounds := 8
	if full() {
		rounds = 200
	}
	seed := uint64(time.Now().UnixNano())
	if said, err := strconv.ParseUint(os.Getenv("VIRGA_LAB_SEED"), 10, 64); err == nil {
		seed = said
	}
	t.Logf("VIRGA_LAB_SEED=%d", seed)
	c := New(t, 2)
	c.Start()
	w := &walk{Cloud: c, h: c.Hosts[0], rand: rand.New(rand.NewPCG(seed, 0)), vms: map[string]*wanted{}, images: []string{"tiny"}}
	shared := filepath.Join(c.dir, "shared")
	if err := os.Mkdir(shared, 0o755); err != nil {
		t.Fatal(err)
	}
	w.h.Must("storage", "create", "shared", "--folder", shared, "--host", "h1", "--host", "h2")
	w.h.Must("datastore", "create", "shared", "--storage", "shared", "--wait")
	w.h.ImportTiny()
	victims, verbs := w.victims(), w.verbs()
	for range 3 {
		w.h.Must(append(w.create(), "--wait")...)
	}
	w.settle("the beginning")
	for round := range rounds {
		w.round(round, verbs, victims)
	}
	w.sweptUp()
	for name, vm := range w.vms {
		if vm.running {
			g := w.h.Guest(name)
			fmt.Fprintln(g.in) // one that moved has said all that it had to say
			g.Wait(boot, `/root# `)
			g.MustReach(Outside)
		}
	}
}

// round asks for one thing and kills somebody at a random instant of it. A request that was cut off is made again.
func (w *walk) round(n int, verbs []verb, victims []victim) {
	w.t.Helper()
	var args []string
	var asked verb
	for args == nil {
		asked = verbs[w.rand.IntN(len(verbs))]
		args = asked.want()
	}
	v, instant := victims[w.rand.IntN(len(victims))], time.Duration(w.rand.IntN(2500))*time.Millisecond
	if w.rand.IntN(2) == 0 {
		instant /= 10
	}
	what := fmt.Sprintf("round %d: %s; %s is killed after %v", n, strings.Join(args, " "), v.name, instant)
	w.t.Log(what)
	begun, done := time.Now(), make(chan error, 1)
	go func() { _, err := w.h.Virga(args...); done <- err }()
	time.Sleep(instant)
	v.kill()
	err := <-done
	for end := time.Now().Add(2 * time.Minute); err != nil && !w.answered(asked, err); time.Sleep(300 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("%s: %v", what, err)
		}
		if asked.name == "import" { // its content went with the request: what is there of it cannot become an image
			_, _ = w.h.Virga("image", "delete", args[2], "--wait")
		}
		_, err = w.h.Virga(args...)
	}
	w.settle(what)
	w.t.Logf("round %d: as specified after %v", n, time.Since(begun).Round(100*time.Millisecond))
}

// answered reports whether a request that failed has been heard before, or cannot be met any more.
func (w *walk) answered(asked verb, err error) bool {
	var ended *exec.ExitError
	if !errors.As(err, &ended) {
		return false
	}
	const absent, exists = 5, 6
	switch code := ended.ExitCode(); asked.name {
	case "create":
		return code == exists
	case "delete", "forget":
		return code == absent
	case "migrate": // it moves already, or has moved
		return strings.Contains(err.Error(), "is being migrated") || strings.Contains(err.Error(), "already on")
	}
	return false
}

func (w *walk) verbs() []verb {
	any := func(fits func(*wanted) bool) string {
		var names []string
		for name, vm := range w.vms {
			if fits(vm) {
				names = append(names, name)
			}
		}
		if slices.Sort(names); len(names) == 0 {
			return ""
		}
		return names[w.rand.IntN(len(names))]
	}
	running := func(vm *wanted) bool { return vm.running }
	of := func(fits func(*wanted) bool, args func(string, *wanted) []string) func() []string {
		return func() []string {
			name := any(fits)
			if name == "" {
				return nil
			}
			return args(name, w.vms[name])
		}
	}
	return []verb{
		{"create", w.create},
		{"delete", of(func(*wanted) bool { return len(w.vms) > 2 }, func(name string, _ *wanted) []string {
			delete(w.vms, name)
			return []string{"vm", "delete", name}
		})},
		{"import", func() []string {
			if len(w.images) > 2 {
				return nil
			}
			w.made++
			name := fmt.Sprintf("image%d", w.made)
			w.images = append(w.images, name)
			return []string{"image", "import", name, "--file", TinyImage(w.t)}
		}},
		{"forget", func() []string {
			if len(w.images) < 2 {
				return nil
			}
			name := w.images[1]
			w.images = slices.Delete(w.images, 1, 2)
			return []string{"image", "delete", name}
		}},
		{"grow", of(func(vm *wanted) bool { return vm.diskMiB < 2048 }, func(name string, vm *wanted) []string {
			vm.diskMiB += 64
			return []string{"volume", "resize", name + "-disk0", "--size", fmt.Sprintf("%dMiB", vm.diskMiB)}
		})},
		{"resize", of(func(vm *wanted) bool { return !vm.running }, func(name string, vm *wanted) []string {
			vm.memoryMiB = 128 + 192 - vm.memoryMiB
			return []string{"vm", "resize", name, "--memory", fmt.Sprintf("%dMiB", vm.memoryMiB)}
		})},
		{"stop", of(running, func(name string, vm *wanted) []string {
			vm.running, vm.process = false, ""
			return []string{"vm", "stop", name, "--force"}
		})},
		{"start", of(func(vm *wanted) bool { return !vm.running }, func(name string, vm *wanted) []string {
			vm.running = true
			return []string{"vm", "start", name}
		})},
		{"migrate", of(running, func(name string, vm *wanted) []string {
			vm.process = ""
			return []string{"vm", "migrate", name, "--to", other(w.h.on(name))}
		})},
	}
}

func (w *walk) create() []string {
	if len(w.vms) > 4 {
		return nil
	}
	w.made++
	name := fmt.Sprintf("vm%d", w.made)
	w.vms[name] = &wanted{diskMiB: 128, memoryMiB: 128, running: true}
	return []string{"vm", "create", name, "--image", "tiny", "--memory", "128MiB", "--disk", "128MiB,datastore=shared"}
}

// victim is somebody who may die.
type victim struct {
	name string
	kill func()
}

// victims are the daemons of the hosts, which a supervisor or a person starts again, and those of the switch.
func (w *walk) victims() (all []victim) {
	for _, h := range w.Hosts {
		all = append(all, victim{"the daemon of " + h.Name, func() { kill9(h.PID()) }},
			victim{"the daemon of " + h.Name + " and its supervisor", func() { h.Kill9(); h.Up() }})
		files := []string{"ovs/ovsdb-server.pid", "ovs/ovs-vswitchd.pid", "ovs/ovn-controller.pid"}
		if h == w.h {
			files = append(files, "ovn/ovn-northd.pid", "ovn/ovn-nb.pid", "ovn/ovn-sb.pid")
		}
		for _, file := range files {
			all = append(all, victim{file + " of " + h.Name, func() { kill9(h.pidIn(file)) }})
		}
	}
	return all
}

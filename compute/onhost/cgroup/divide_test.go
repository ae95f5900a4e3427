package cgroup_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/compute/onhost/cgroup"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
	"github.com/virga-cloud/virga/host"
)

// spinners are processes in real groups that take all they get, on one processor.
type spinners struct {
	onhost.Hypervisor
	groups *cgroup.Groups
	pids   map[resource.ID]int
	at     map[resource.ID]string
}

func (s *spinners) Grouped() map[resource.ID]string { return maps.Clone(s.at) }

func (s *spinners) Group(_ context.Context, id resource.ID, name string) error {
	if err := s.groups.Ensure(name); err != nil {
		return err
	}
	s.at[id] = name
	return s.groups.AddPID(name, s.pids[id])
}

// start runs one process for each instance; it ends with the test.
func (s *spinners) start(t *testing.T, ids ...resource.ID) {
	t.Helper()
	for _, id := range ids {
		cmd := exec.Command("sh", "-c", "while :; do :; done")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		s.pids[id] = cmd.Process.Pid
		var one unix.CPUSet
		one.Set(runtime.NumCPU() - 1)
		if err := unix.SchedSetaffinity(cmd.Process.Pid, &one); err != nil {
			t.Fatal(err)
		}
		if err := s.Group(t.Context(), id, onhost.GroupOf(id)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSpinningProcessesGetWhatTheyAreEntitledTo(t *testing.T) {
	groups, why := cgroup.Probe(cgroup.Root)
	if groups.Version() == cgroup.None {
		t.Skip(why)
	}
	groups = groups.Slice(fmt.Sprintf("virga-test-divide-%d", os.Getpid()))
	hv := &spinners{groups: groups, pids: map[resource.ID]int{}, at: map[resource.ID]string{}}
	t.Cleanup(func() {
		if err := groups.Remove(""); err != nil {
			t.Error(err)
		}
	})
	hv.start(t, "a", "b", "c") // ended before the groups are removed

	db := store.NewDB(memory.New(), resource.NewCatalog(compute.Instances))
	db.Inline = true
	instances := store.Specs(store.NewRegistry(), compute.Instances, "test")
	b := db.Begin()
	for id, policy := range map[resource.ID]compute.CPUPolicy{
		"a": {CPUShares: 1000, CPUReservationMHz: 700}, "b": {CPUShares: 2000}, "c": {CPUShares: 4000},
	} {
		instances.Create(b, &compute.Instance{Meta: resource.Meta{ID: id, Name: string(id), Project: "p"}, Spec: compute.InstanceSpec{CPUs: 1, CPUPolicy: policy}})
	}
	if err := db.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if err := db.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	divider := onhost.NewDivider(db, hv, groups, func() host.Inventory { return host.Inventory{Threads: 1, MHz: 2800} })
	if err := divider.Divide(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := map[resource.ID]float64{"a": 700. / 2800, "b": 700. / 2800, "c": 1400. / 2800}
	var got map[resource.ID]float64
	for range 4 { // what else runs here may disturb a measurement
		if got = parts(t, groups, hv.at, 3*time.Second); near(got, want) {
			return
		}
	}
	t.Errorf("the parts are %v, want %v within 2 %%", got, want)
}

// parts measures which part of the time that all use each uses.
func parts(t *testing.T, groups *cgroup.Groups, at map[resource.ID]string, window time.Duration) map[resource.ID]float64 {
	t.Helper()
	read := func() map[resource.ID]time.Duration {
		out := map[resource.ID]time.Duration{}
		for id, name := range at {
			used, err := groups.CPUTime(name)
			if err != nil {
				t.Fatal(err)
			}
			out[id] = used
		}
		return out
	}
	before := read()
	time.Sleep(window)
	after, all := read(), time.Duration(0)
	for id := range after {
		all += after[id] - before[id]
	}
	out := map[resource.ID]float64{}
	for id := range after {
		out[id] = float64(after[id]-before[id]) / float64(all)
	}
	return out
}

// near reports whether each part is within 2 % of what it should be.
func near(got, want map[resource.ID]float64) bool {
	for id, w := range want {
		if got[id] < w*0.98 || got[id] > w*1.02 {
			return false
		}
	}
	return true
}

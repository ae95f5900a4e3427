package qemu

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/host"
)

func TestEachVCPUMayRunOnTheThreadsOfItsNode(t *testing.T) {
	nodes := []onhost.NUMANode{{HostNode: 0, CPUs: 2, Threads: []int{0, 2}}, {HostNode: 1, CPUs: 1, Threads: []int{1}}}
	if got := threadsOf(onhost.VMConfig{CPUs: 3, NUMA: nodes}); !reflect.DeepEqual(got, [][]int{{0, 2}, {0, 2}, {1}}) {
		t.Errorf("%v", got)
	}
	free := []onhost.NUMANode{{HostNode: host.Unbound, CPUs: 2}, {HostNode: host.Unbound, CPUs: 1}}
	if got := threadsOf(onhost.VMConfig{CPUs: 3, NUMA: free}); got != nil {
		t.Errorf("nobody is bound, and %v", got)
	}
}

// This host has one node, so both of the guest's are bound to it.
func TestAGuestSeesItsNodesAndItsVCPUsAndMemoryStayOnThem(t *testing.T) {
	d := house(t, Config{RunDir: runDir(t)})
	m := vm(t, "")
	threads := []int{0}
	var allowed unix.CPUSet
	must(t, unix.SchedGetaffinity(0, &allowed))
	for ; !allowed.IsSet(threads[0]); threads[0]++ {
	}
	half := m.MemoryMiB / 2
	m.CPUs, m.NUMA = 3, []onhost.NUMANode{{HostNode: 0, CPUs: 2, MemoryMiB: half, Threads: threads}, {HostNode: 0, CPUs: 1, MemoryMiB: m.MemoryMiB - half}}
	must(t, d.Ensure(t.Context(), m))
	pid := look(t, d, m.ID).PID
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	must(t, err)
	pinned, free := 0, 0
	for _, task := range tasks {
		name, _ := os.ReadFile(filepath.Join("/proc", fmt.Sprint(pid), "task", task.Name(), "comm"))
		status, _ := os.ReadFile(filepath.Join("/proc", fmt.Sprint(pid), "task", task.Name(), "status"))
		if !strings.HasPrefix(string(name), "CPU ") {
			continue
		}
		if strings.Contains(string(status), fmt.Sprintf("Cpus_allowed_list:\t%d\n", threads[0])) {
			pinned++
		} else {
			free++
		}
	}
	if pinned != 2 || free != 1 && allowed.Count() > 1 {
		t.Errorf("%d vCPUs are pinned and %d are free, want 2 and 1", pinned, free)
	}
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/numa_maps", pid))
	must(t, err)
	if got := strings.Count(string(maps), " bind:0"); got < 2 {
		t.Errorf("%d stretches of memory are bound to node 0, want both of the guest's", got)
	}
	must(t, d.Resume(t.Context(), m.ID))
	c := console(t, d, m.ID)
	c.until("UP ")
	c.say("echo nodes $(cat /sys/devices/system/node/online) cpus $(cat /sys/devices/system/node/node0/cpulist) $(cat /sys/devices/system/node/node1/cpulist) end")
	c.until("nodes 0-1 cpus 0-1 2 end")
	must(t, d.Kill(t.Context(), m.ID))
}

func TestANodeThatTheHostDoesNotHaveIsSaid(t *testing.T) {
	d := house(t, Config{RunDir: runDir(t)})
	m := vm(t, "")
	m.NUMA = []onhost.NUMANode{{HostNode: 60, CPUs: m.CPUs, MemoryMiB: m.MemoryMiB}}
	err := d.Ensure(t.Context(), m)
	if err == nil || !strings.Contains(err.Error(), "cannot bind memory to host NUMA nodes") {
		t.Errorf("got %v", err)
	}
}

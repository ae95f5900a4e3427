package probe

import (
	"fmt"
	"os"
	"reflect"
	"testing"
	"testing/fstest"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/host"
)

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }

// textbook is the host of the field's own example: 4 sockets x 4 cores x 2 threads at 3 GHz,
// with a memory node for each socket.
func textbook() fstest.MapFS {
	files := fstest.MapFS{
		"proc/meminfo":                     file("MemTotal:       67108864 kB\nMemFree:  1 kB\n"),
		"proc/cpuinfo":                     file("processor\t: 0\nmodel name\t: Textbook 3000\ncpu MHz\t\t: 1199.998\n"),
		"sys/devices/system/cpu/online":    file("0-31\n"),
		"sys/devices/system/node/online":   file("0-3\n"),
		"proc/sys/kernel/osrelease":        file("6.1.0-test\n"),
		"proc/sys/kernel/random/boot_id":   file("boot-1\n"),
		"sys/fs/cgroup/cgroup.controllers": file("cpuset cpu io memory pids\n"),
	}
	for cpu := range 32 {
		core := cpu / 2
		folder := fmt.Sprintf("sys/devices/system/cpu/cpu%d/", cpu)
		files[folder+"topology/physical_package_id"] = file(fmt.Sprint(core/4, "\n"))
		files[folder+"topology/thread_siblings_list"] = file(fmt.Sprintf("%d-%d\n", core*2, core*2+1))
		files[folder+"cpufreq/cpuinfo_max_freq"] = file("3000000\n")
	}
	for node := range 4 {
		folder := fmt.Sprintf("sys/devices/system/node/node%d/", node)
		files[folder+"meminfo"] = file(fmt.Sprintf("Node %d MemTotal:       16777216 kB\nNode %d MemFree: 5 kB\n", node, node))
		files[folder+"cpulist"] = file(fmt.Sprintf("%d-%d\n", node*8, node*8+7))
	}
	return files
}

func TestTheTextbookHostHas32ThreadsAnd96GHz(t *testing.T) {
	inv, err := Inventory(textbook())
	if err != nil {
		t.Fatal(err)
	}
	if inv.Sockets != 4 || inv.CoresPerSocket != 4 || inv.ThreadsPerCore != 2 || inv.Threads != 32 || inv.MHz != 3000 {
		t.Fatalf("got %d x %d x %d = %d threads at %d MHz", inv.Sockets, inv.CoresPerSocket, inv.ThreadsPerCore, inv.Threads, inv.MHz)
	}
	if total := inv.Threads * inv.MHz; total != 96_000 {
		t.Errorf("total %d MHz, want 96000", total)
	}
	if inv.CPUModel != "Textbook 3000" || inv.MemoryMiB != 65536 || inv.ReservedMemoryMiB != 3276 {
		t.Errorf("got %+v", inv)
	}
	if len(inv.NUMA) != 4 || inv.NUMA[3].MemoryMiB != 16384 || !reflect.DeepEqual(inv.NUMA[3].CPUs, []int{24, 25, 26, 27, 28, 29, 30, 31}) {
		t.Errorf("nodes: %+v", inv.NUMA)
	}
}

func TestAHostWithoutTopologyIsReadFromCpuinfo(t *testing.T) {
	files := fstest.MapFS{
		"proc/meminfo": file("MemTotal: 1048576 kB\n"),
		"proc/cpuinfo": file("processor : 0\nmodel name : X\ncpu MHz : 2596.126\n\nprocessor : 1\nmodel name : X\ncpu MHz : 2400.000\n"),
	}
	inv, err := Inventory(files)
	if err != nil {
		t.Fatal(err)
	}
	want := host.Inventory{CPUModel: "X", Sockets: 1, CoresPerSocket: 2, ThreadsPerCore: 1, Threads: 2, MHz: 2596, MemoryMiB: 1024, ReservedMemoryMiB: 256}
	if !reflect.DeepEqual(inv, want) {
		t.Errorf("got %+v, want %+v", inv, want)
	}
}

func TestALopsidedHostStillMultipliesToItsThreads(t *testing.T) {
	for _, c := range []struct{ sockets, cores, threads int }{{1, 2, 2}, {2, 3, 5}, {2, 5, 6}, {1, 12, 20}, {0 + 1, 1, 1}, {4, 16, 32}} {
		a, b, d := shape(c.sockets, c.cores, c.threads)
		if a*b*d != int64(c.threads) {
			t.Errorf("%+v: %d x %d x %d", c, a, b, d)
		}
	}
}

func TestTheHostKeepsSomeMemoryButNeverMoreThanAQuarter(t *testing.T) {
	for all, want := range map[int64]int64{1024: 256, 2048: 512, 4096: 512, 24000: 1200, 1 << 20: 52428} {
		if got := reserved(all); got != want {
			t.Errorf("of %d MiB: %d, want %d", all, got, want)
		}
	}
}

func TestListsOfTheKernelAreRead(t *testing.T) {
	for text, want := range map[string][]int{"": nil, "0": {0}, "0-2,5\n": {0, 1, 2, 5}, "x,3": {3}} {
		if got := List(text); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestAHostWithoutProcSaysWhatCouldNotBeRead(t *testing.T) {
	if _, err := Inventory(fstest.MapFS{}); !fault.Is(err, fault.Internal) {
		t.Errorf("got %v", err)
	}
}

func TestThisHostIsRead(t *testing.T) {
	inv, err := Inventory(os.DirFS("/"))
	if err != nil {
		t.Fatal(err)
	}
	if inv.Threads < 1 || inv.MemoryMiB < 64 || inv.MHz < 100 || inv.Threads != inv.Sockets*inv.CoresPerSocket*inv.ThreadsPerCore {
		t.Errorf("got %+v", inv)
	}
	t.Logf("%+v", inv)
}

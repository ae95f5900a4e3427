package probe

import (
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/host"
)

const cpuFolder = "sys/devices/system/cpu"

// Inventory reads what the host has.
func Inventory(files fs.FS) (host.Inventory, error) {
	memory, err := memoryMiB(files)
	if err != nil {
		return host.Inventory{}, err
	}
	inv := host.Inventory{MemoryMiB: memory, ReservedMemoryMiB: reserved(memory)}
	if err := readCPUs(files, &inv); err != nil {
		return host.Inventory{}, err
	}
	inv.NUMA = memoryNodes(files)
	if len(inv.NUMA) == 1 {
		inv.NUMA[0].MemoryMiB = memory // some kernels forget memory that was added later in the node's own figure
	}
	return inv, nil
}

// reserved is what the host keeps for itself: 512 MiB or 5 %, whichever is more, but never more
// than a quarter, so that a small host can still run something.
func reserved(memoryMiB int64) int64 {
	return min(max(512, memoryMiB/20), memoryMiB/4)
}

func memoryMiB(files fs.FS) (int64, error) {
	text, err := fs.ReadFile(files, "proc/meminfo")
	if err != nil {
		return 0, fault.New(fault.Internal, "read the size of the memory: %w", err)
	}
	if kib, ok := field(string(text), "MemTotal"); ok {
		return kibibytes(kib) / 1024, nil
	}
	return 0, fault.New(fault.Internal, "read the size of the memory: /proc/meminfo has no MemTotal")
}

func readCPUs(files fs.FS, inv *host.Inventory) error {
	info, err := fs.ReadFile(files, "proc/cpuinfo")
	if err != nil {
		return fault.New(fault.Internal, "read the processors: %w", err)
	}
	inv.CPUModel, _ = field(string(info), "model name")
	online := List(line(files, cpuFolder+"/online"))
	if len(online) == 0 {
		online = numbered(strings.Count("\n"+string(info), "\nprocessor"))
	}
	sockets, cores := map[string]bool{}, map[string]bool{}
	for _, cpu := range online {
		topology := cpuFolder + "/cpu" + strconv.Itoa(cpu) + "/topology/"
		sockets[line(files, topology+"physical_package_id")] = true
		siblings := line(files, topology+"thread_siblings_list")
		if siblings == "" {
			siblings = strconv.Itoa(cpu)
		}
		cores[siblings] = true
	}
	inv.Threads = int64(len(online))
	inv.Sockets, inv.CoresPerSocket, inv.ThreadsPerCore = shape(len(sockets), len(cores), len(online))
	inv.MHz = clock(files, string(info), online)
	return nil
}

// shape gives three factors of the number of threads. Where the host is lopsided (a processor
// is switched off, cores of two sorts), every thread counts as a core.
func shape(sockets, cores, threads int) (perHost, perSocket, perCore int64) {
	switch {
	case threads == 0:
		return 0, 0, 0
	case cores%sockets == 0 && threads%cores == 0:
		return int64(sockets), int64(cores / sockets), int64(threads / cores)
	case threads%sockets == 0:
		return int64(sockets), int64(threads / sockets), 1
	default:
		return 1, int64(threads), 1
	}
}

// clock is the rated top clock where the kernel tells it, else the fastest that is seen now.
func clock(files fs.FS, cpuinfo string, online []int) int64 {
	var best int64
	for _, cpu := range online {
		khz, _ := strconv.ParseInt(line(files, cpuFolder+"/cpu"+strconv.Itoa(cpu)+"/cpufreq/cpuinfo_max_freq"), 10, 64)
		best = max(best, khz/1000)
	}
	if best > 0 {
		return best
	}
	for l := range strings.Lines(cpuinfo) {
		if value, ok := field(l, "cpu MHz"); ok {
			mhz, _ := strconv.ParseFloat(value, 64)
			best = max(best, int64(mhz+0.5))
		}
	}
	return best
}

func memoryNodes(files fs.FS) []host.NUMANode {
	const folder = "sys/devices/system/node"
	var out []host.NUMANode
	online := List(line(files, folder+"/online"))
	for _, node := range online {
		n := folder + "/node" + strconv.Itoa(node)
		text, _ := fs.ReadFile(files, n+"/meminfo")
		kib, _ := field(string(text), "Node "+strconv.Itoa(node)+" MemTotal")
		out = append(out, host.NUMANode{Node: node, MemoryMiB: kibibytes(kib) / 1024, CPUs: List(line(files, n+"/cpulist")),
			Distances: distances(line(files, n+"/distance"), len(online))})
	}
	return out
}

// distances reads "10 21 31"; a list that does not name each node is none.
func distances(text string, nodes int) []int {
	out := make([]int, 0, nodes)
	for word := range strings.FieldsSeq(text) {
		n, err := strconv.Atoi(word)
		if err != nil {
			return nil
		}
		out = append(out, n)
	}
	if len(out) != nodes {
		return nil
	}
	return out
}

// List reads the kernel's lists of numbers: "0-3,8,10-11".
func List(text string) []int {
	var out []int
	for part := range strings.SplitSeq(text, ",") {
		from, to, isRange := strings.Cut(strings.TrimSpace(part), "-")
		first, err := strconv.Atoi(from)
		if err != nil {
			continue
		}
		last := first
		if isRange {
			if last, err = strconv.Atoi(to); err != nil {
				continue
			}
		}
		for i := first; i <= last; i++ {
			out = append(out, i)
		}
	}
	return out
}

func numbered(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// line reads a file of one line; empty where there is none.
func line(files fs.FS, name string) string {
	text, _ := fs.ReadFile(files, path.Clean(name))
	return strings.TrimSpace(string(text))
}

// field finds "key : value" in text.
func field(text, key string) (string, bool) {
	for l := range strings.Lines(text) {
		if k, v, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v), true
		}
	}
	return "", false
}

func kibibytes(text string) int64 {
	n, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(text, "kB")), 10, 64)
	return n
}

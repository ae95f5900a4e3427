package probe

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/host/numa"
)

// recorded reads a tree of the kernel's files.
func recorded(t *testing.T, name string) host.Inventory {
	t.Helper()
	archive, err := txtar.ParseFile(filepath.Join("testdata", "numa", name+".txtar"))
	if err != nil {
		t.Fatal(err)
	}
	files := fstest.MapFS{}
	for _, f := range archive.Files {
		files[f.Name] = &fstest.MapFile{Data: f.Data}
	}
	inv, err := Inventory(files)
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

// told writes parts as people do: node:vCPUs:MiB.
func told(parts []host.NUMAPart) (out []string) {
	for _, p := range parts {
		out = append(out, fmt.Sprintf("%d:%d:%d", p.Node, p.CPUs, p.MemoryMiB))
	}
	return out
}

const gib = 1024

func TestWorkloadIsPlannedOnEveryRecordedHost(t *testing.T) {
	for name, c := range map[string]struct {
		host  string
		need  numa.Size
		bound []numa.Size
		want  []string
	}{
		"one node leaves no choice":                    {"1-desktop", numa.Size{CPUs: 2, MemoryMiB: gib}, nil, nil},
		"a small one takes one node":                   {"2-xeon", numa.Size{CPUs: 8, MemoryMiB: 16 * gib}, nil, []string{"0:8:16384"}},
		"the next takes the idle one":                  {"2-xeon", numa.Size{CPUs: 8, MemoryMiB: 16 * gib}, []numa.Size{{CPUs: 8, MemoryMiB: 16 * gib}, {}}, []string{"1:8:16384"}},
		"many vCPUs take both, evenly":                 {"2-xeon", numa.Size{CPUs: 40, MemoryMiB: 16 * gib}, nil, []string{"0:20:8192", "1:20:8192"}},
		"much memory takes both, evenly":               {"2-xeon", numa.Size{CPUs: 3, MemoryMiB: 200*gib + 1}, nil, []string{"0:2:102401", "1:1:102400"}},
		"too much is not bound":                        {"2-xeon", numa.Size{CPUs: 4, MemoryMiB: 500 * gib}, nil, nil},
		"one vCPU is not split":                        {"2-xeon", numa.Size{CPUs: 1, MemoryMiB: 200 * gib}, nil, nil},
		"two parts lie in one socket":                  {"4-xeon-snc2", numa.Size{CPUs: 32, MemoryMiB: 64 * gib}, []numa.Size{{CPUs: 10, MemoryMiB: gib}, {}, {}, {}}, []string{"2:16:32768", "3:16:32768"}},
		"three parts cannot":                           {"4-xeon-snc2", numa.Size{CPUs: 60, MemoryMiB: 66 * gib}, nil, []string{"0:20:22528", "1:20:22528", "2:20:22528"}},
		"eight dies, all of them":                      {"8-epyc", numa.Size{CPUs: 128, MemoryMiB: 400 * gib}, nil, []string{"0:16:51200", "1:16:51200", "2:16:51200", "3:16:51200", "4:16:51200", "5:16:51200", "6:16:51200", "7:16:51200"}},
		"four dies, those of one socket":               {"8-epyc", numa.Size{CPUs: 64, MemoryMiB: 64 * gib}, []numa.Size{{}, {}, {CPUs: 64}, {}, {}, {}, {}, {}}, []string{"4:16:16384", "5:16:16384", "6:16:16384", "7:16:16384"}},
		"threads without memory belong to a near node": {"4-threadripper", numa.Size{CPUs: 40, MemoryMiB: 32 * gib}, nil, []string{"0:40:32768"}},
		"memory without threads is not bound to":       {"3-expansion", numa.Size{CPUs: 4, MemoryMiB: 200 * gib}, nil, nil},
		"the larger node takes what the small cannot":  {"3-expansion", numa.Size{CPUs: 4, MemoryMiB: 100 * gib}, []numa.Size{{CPUs: 12}, {}}, []string{"0:4:102400"}},
	} {
		inv := recorded(t, c.host)
		cells := numa.Cells(&inv, 400)
		if c.bound == nil {
			c.bound = make([]numa.Size, len(cells))
		}
		if got := told(numa.Plan(cells, c.bound, c.need)); !slices.Equal(got, c.want) {
			t.Errorf("%s: on %s got %v, want %v", name, c.host, got, c.want)
		}
	}
}

func TestDistancesThatDoNotNameEachNodeAreNone(t *testing.T) {
	for text, want := range map[string][]int{"10 21": {10, 21}, "10": nil, "10 x": nil, "": nil, "10 21 31": nil} {
		if got := distances(text, 2); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

package placement

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// BenchmarkPlacement decides and counts one VM with a new disk, in clouds with 10 VMs on each host,
// beside a plain look at every host.
func BenchmarkPlacement(b *testing.B) {
	for _, hosts := range []int{1000, 5000, 10000} {
		for _, plain := range []bool{false, true} {
			name := fmt.Sprintf("hosts=%d", hosts)
			if plain {
				name += "/plain"
			}
			b.Run(name, func(b *testing.B) { place(b, hosts, plain) })
		}
	}
}

func place(b *testing.B, hosts int, plain bool) {
	f := &Feed{State: cloud(hosts), claims: map[resource.ID]claimed{}, space: map[resource.ID]promised{}, reachedBy: map[int][]resource.ID{}}
	for i := range f.nodes {
		f.nodes[i].total, f.nodes[i].claimed = Demand{CPUs: 1 << 20, MemoryMiB: 1 << 30}, Demand{CPUs: 10, MemoryMiB: 10240}
	}
	r := want(1, 1024)
	r.Disks = []Disk{{Name: "root", NewMiB: 1024}}
	var took []time.Duration
	for b.Loop() {
		begun := time.Now()
		var on resource.ID
		if plain {
			best := -1
			for i := range f.nodes {
				if n := &f.nodes[i]; f.refusing(n, r) == nil && (best < 0 || f.better(n, &f.nodes[best], r)) {
					best = i
				}
			}
			on = f.nodes[best].id
		} else {
			c, err := f.Choose(r)
			if err != nil {
				b.Fatal(err)
			}
			on = c.HostID
		}
		id := resource.NewID()
		f.Reserve(id, Choice{HostID: on}, r)
		claim := &Claim{Spec: ClaimSpec{HostID: on, Demand: Demand{CPUs: r.CPUs, MemoryMiB: r.MemoryMiB}}}
		claim.ID = id
		f.Apply([]store.Delta{{New: claim}})
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "placements/s")
}

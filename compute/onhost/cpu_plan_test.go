package onhost

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/fairshare"
	"github.com/virga-cloud/virga/engine/resource"
)

// busyVM wants all it gets.
func busyVM(id, pool resource.ID, cpus, reservation, shares, limit int64) cpuVM {
	return cpuVM{id: id, pool: pool, cpus: cpus, demandMHz: fairshare.Unlimited,
		CPUPolicy: compute.CPUPolicy{CPUShares: shares, CPUReservationMHz: reservation, CPULimitMHz: limit}}
}

func idleVM(id resource.ID, shares int64) cpuVM {
	return cpuVM{id: id, cpus: 1, CPUPolicy: compute.CPUPolicy{CPUShares: shares}}
}

// tell writes groups as "name entitled/weight limit".
func tell(groups []cpuGroup) string {
	var out []string
	for _, g := range groups {
		text := fmt.Sprintf("%s %d/%d", g.name, g.entitledMHz, g.weight)
		if g.limit > 0 {
			text += " " + g.limit.String()
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

func TestProcessorsAreDividedAsInTheTextbook(t *testing.T) {
	pool := func(id, parent resource.ID, reservation, shares, limit int64) cpuPool {
		return cpuPool{id, parent, compute.CPUPolicy{CPUShares: shares, CPUReservationMHz: reservation, CPULimitMHz: limit}}
	}
	for name, c := range map[string]struct {
		facts cpuFacts
		want  string
	}{
		"one 2.8 GHz processor, all busy": {
			cpuFacts{threads: 1, mhz: 2800, vms: []cpuVM{busyVM("a", "", 1, 700, 1000, 0), busyVM("b", "", 1, 0, 2000, 0), busyVM("c", "", 1, 0, 4000, 0)}},
			"vm-a 700/5000, vm-b 700/5000, vm-c 1400/10000"},
		"C idle: it weighs what it gets when it wakes": {
			cpuFacts{threads: 1, mhz: 2800, vms: []cpuVM{busyVM("a", "", 1, 700, 1000, 0), busyVM("b", "", 1, 0, 2000, 0), idleVM("c", 4000)}},
			"vm-a 933/5000, vm-b 1866/10000, vm-c 0/7500"},
		"a limit is processor time": {
			cpuFacts{threads: 4, mhz: 2000, vms: []cpuVM{busyVM("a", "", 2, 0, 0, 1000), busyVM("b", "", 2, 0, 0, 3000)}},
			"vm-a 1000/3333 500ms, vm-b 3000/10000 1.5s"},
		"no VM gets more than its processors": {
			cpuFacts{threads: 4, mhz: 2000, vms: []cpuVM{busyVM("a", "", 1, 0, 100, 0), busyVM("b", "", 8, 0, 1, 0)}},
			"vm-a 2000/3333, vm-b 6000/10000"},
		"shares by size where nobody decided": {
			cpuFacts{threads: 3, mhz: 1000, vms: []cpuVM{busyVM("a", "", 1, 0, 0, 0), busyVM("b", "", 4, 0, 0, 0)}},
			"vm-a 600/2500, vm-b 2400/10000"},
		"pools divide what they get": {
			cpuFacts{threads: 1, mhz: 4000, pools: []cpuPool{pool("p", "", 0, 3000, 0), pool("q", "", 0, 1000, 0)},
				vms: []cpuVM{busyVM("a", "p", 1, 0, 1, 0), busyVM("b", "p", 1, 0, 2, 0), busyVM("c", "q", 1, 0, 999, 0)}},
			"pool-p 3000/10000, pool-q 1000/3333, pool-p/vm-a 1000/5000, pool-p/vm-b 2000/10000, pool-q/vm-c 1000/10000"},
		"pools in pools, and a limit around": {
			cpuFacts{threads: 2, mhz: 1000, pools: []cpuPool{pool("p", "", 0, 0, 800), pool("q", "p", 0, 0, 0)},
				vms: []cpuVM{busyVM("a", "q", 1, 0, 0, 900), busyVM("b", "", 1, 0, 0, 0)}},
			"pool-p 800/8000 800ms, vm-b 1000/10000, pool-p/pool-q 800/10000, pool-p/pool-q/vm-a 800/10000 800ms"},
		"an empty pool weighs little": {
			cpuFacts{threads: 1, mhz: 1000, pools: []cpuPool{pool("p", "", 500, 0, 0)}, vms: []cpuVM{busyVM("a", "", 1, 0, 0, 0)}},
			"pool-p 0/1, vm-a 1000/10000"},
		"a pool that is not there, and pools in a circle": {
			cpuFacts{threads: 1, mhz: 1000, pools: []cpuPool{pool("p", "q", 0, 0, 0), pool("q", "p", 0, 0, 0), pool("r", "gone", 0, 0, 0)},
				vms: []cpuVM{busyVM("a", "gone", 1, 0, 0, 0)}},
			"pool-p 0/1, pool-q 0/1, pool-r 0/1, vm-a 1000/10000"},
		"nobody there": {cpuFacts{threads: 1, mhz: 1000}, ""},
		"a clock that nobody knows": {cpuFacts{threads: 2, vms: []cpuVM{busyVM("a", "", 1, 100, 0, 100), busyVM("b", "", 1, 0, 0, 0)}},
			"vm-a 0/1, vm-b 0/1"},
	} {
		if got := tell(divideCPU(c.facts)); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, c.want)
		}
	}
}

// drawnFacts are any pools, also such that hang from nowhere or in a circle, and any VMs.
func drawnFacts(t *rapid.T) cpuFacts {
	policy := rapid.Custom(func(t *rapid.T) compute.CPUPolicy {
		return compute.CPUPolicy{CPUShares: rapid.Int64Range(0, 8000).Draw(t, "shares"),
			CPUReservationMHz: rapid.Int64Range(0, 500).Draw(t, "reservation"), CPULimitMHz: rapid.SampledFrom([]int64{0, 0, 600, 2000}).Draw(t, "limit")}
	})
	id := rapid.SampledFrom([]resource.ID{"", "p0", "p1", "p2", "p3", "gone"})
	f := cpuFacts{threads: rapid.Int64Range(1, 64).Draw(t, "threads"), mhz: rapid.Int64Range(1, 4000).Draw(t, "mhz")}
	for n := range rapid.IntRange(0, 4).Draw(t, "pools") {
		f.pools = append(f.pools, cpuPool{resource.ID(fmt.Sprint("p", n)), id.Draw(t, "parent"), policy.Draw(t, "policy")})
	}
	for n := range rapid.IntRange(0, 12).Draw(t, "vms") {
		f.vms = append(f.vms, cpuVM{id: resource.ID(fmt.Sprint("v", n)), pool: id.Draw(t, "pool"), cpus: rapid.Int64Range(1, 16).Draw(t, "cpus"),
			CPUPolicy: policy.Draw(t, "policy"), demandMHz: rapid.SampledFrom([]int64{0, 10, 1000, fairshare.Unlimited}).Draw(t, "demand")})
	}
	return f
}

func TestEveryPoolAndVMHasOneGroupThatTheKernelTakes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := drawnFacts(t)
		groups := divideCPU(f)
		if len(groups) != len(f.pools)+len(f.vms) {
			t.Fatalf("%d groups for %d pools and %d VMs: %s", len(groups), len(f.pools), len(f.vms), tell(groups))
		}
		limits, total := map[string]time.Duration{}, int64(0)
		for _, g := range groups {
			above := ""
			if cut := strings.LastIndexByte(g.name, '/'); cut >= 0 {
				above = g.name[:cut]
				if _, made := limits[above]; !made {
					t.Fatalf("%s comes before the group that holds it", g.name)
				}
			} else {
				total += g.entitledMHz
			}
			if _, twice := limits[g.name]; twice {
				t.Fatalf("two groups %s", g.name)
			}
			around := limits[above]
			if g.limit > 0 && around > 0 && g.limit > around {
				t.Fatalf("%s has the limit %v, in one of %v", g.name, g.limit, around)
			}
			limits[g.name] = g.limit
			if g.limit == 0 {
				limits[g.name] = around
			}
			if g.weight < 1 || g.weight > maxCPUWeight {
				t.Fatalf("%s weighs %d", g.name, g.weight)
			}
		}
		if total > f.threads*f.mhz {
			t.Fatalf("%d MHz are given of %d", total, f.threads*f.mhz)
		}
	})
}

func TestDivisionOfProcessorsDoesNotDependOnTheOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := drawnFacts(t)
		want := tell(divideCPU(f))
		f.pools, f.vms = slices.Clone(f.pools), slices.Clone(f.vms)
		slices.Reverse(f.pools)
		slices.Reverse(f.vms)
		if got := tell(divideCPU(f)); got != want {
			t.Fatalf("%s\nand in the other order\n%s", want, got)
		}
	})
}

func TestCPUPolicyIsChecked(t *testing.T) {
	for name, c := range map[string]struct {
		policy compute.CPUPolicy
		want   string
	}{
		"nothing said":                  {compute.CPUPolicy{}, ""},
		"all said":                      {compute.CPUPolicy{CPUShares: 2000, CPUReservationMHz: 500, CPULimitMHz: 500}, ""},
		"a reservation above the limit": {compute.CPUPolicy{CPUReservationMHz: 501, CPULimitMHz: 500}, "spec.cpuReservationMHz must not be above cpuLimitMHz"},
		"negative shares":               {compute.CPUPolicy{CPUShares: -1}, "spec.cpuShares must be 1 to 1000000"},
		"too many shares":               {compute.CPUPolicy{CPUShares: 1_000_001}, "spec.cpuShares must be 1 to 1000000"},
		"a negative reservation":        {compute.CPUPolicy{CPUReservationMHz: -1}, "spec.cpuReservationMHz must be 0 or more"},
		"a negative limit":              {compute.CPUPolicy{CPULimitMHz: -1}, "spec.cpuLimitMHz must be 0"},
	} {
		var got string
		for _, d := range c.policy.Check() {
			got += d.Field + " " + d.Message
		}
		if c.want == "" && got != "" || !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

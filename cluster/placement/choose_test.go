package placement

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/host"
)

func candidate(change func(*Candidate)) Candidate {
	c := Candidate{ID: "1", Name: "h1", Mode: host.Active, State: host.Alive, MachineType: "pc-q35-7.2", CPUs: 8, MemoryMiB: 8192}
	if change != nil {
		change(&c)
	}
	return c
}

func TestEveryRefusalSaysWhy(t *testing.T) {
	need := Need{CPUs: 2, MemoryMiB: 1024}
	for want, c := range map[string]Candidate{
		"install QEMU":                         candidate(func(c *Candidate) { c.MachineType, c.Problem = "", "install QEMU 7.2 or newer" }),
		"not told what its QEMU can":           candidate(func(c *Candidate) { c.MachineType = "" }),
		"unreachable":                          candidate(func(c *Candidate) { c.State = host.Lost }),
		"sent no heartbeat yet":                candidate(func(c *Candidate) { c.State = host.Unknown }),
		"in maintenance":                       candidate(func(c *Candidate) { c.Mode = host.Maintenance }),
		"1 of 8 vCPUs are free":                candidate(func(c *Candidate) { c.ClaimedCPUs = 7 }),
		"192 of 8192 MiB":                      candidate(func(c *Candidate) { c.ClaimedMemoryMiB = 8000 }),
		"does not reach":                       candidate(func(c *Candidate) { c.Unreached = "it does not reach datastore x" }),
		"knows machine types up to pc-q35-7.2": candidate(nil),
		"another host was asked for":           candidate(func(c *Candidate) { c.ID = "2" }),
	} {
		n := need
		if strings.HasPrefix(want, "knows") {
			n.MachineType = "pc-q35-10.0"
		}
		if strings.HasPrefix(want, "another host") {
			n.OnHost = "1"
		}
		_, refused, ok := Choose([]Candidate{c}, n)
		if ok || len(refused) != 1 || !strings.Contains(refused[0].Reason, want) {
			t.Errorf("refusal %+v, taken %v; want a reason with %q", refused, ok, want)
		}
	}
}

func TestLackOfCapacityIsExhaustedWithTheNumbers(t *testing.T) {
	_, refused, _ := Choose([]Candidate{candidate(func(c *Candidate) { c.ClaimedMemoryMiB = 8000 })}, Need{CPUs: 1, MemoryMiB: 1024})
	err := Explain("VM web", refused)
	if !fault.Is(err, fault.Exhausted) || !strings.Contains(err.Error(), "192 of 8192 MiB of memory are free, needed are 1024") {
		t.Errorf("got %v", err)
	}
	_, refused, _ = Choose([]Candidate{candidate(func(c *Candidate) { c.Mode = host.Maintenance })}, Need{CPUs: 1})
	if err := Explain("VM web", refused); !fault.Is(err, fault.Precondition) {
		t.Errorf("maintenance alone is no lack of capacity: %v", err)
	}
}

func TestAChosenHostAlwaysHasCapacityAndNoBetterOneIsLeft(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []Candidate
		for i := range rapid.IntRange(0, 6).Draw(t, "hosts") {
			all = append(all, candidate(func(c *Candidate) {
				c.ID = resource.ID(fmt.Sprint(i))
				c.Name = "h" + string(c.ID)
				c.State = rapid.SampledFrom([]host.LifeState{host.Alive, host.Lost, host.Unknown}).Draw(t, "state")
				c.ClaimedCPUs = rapid.Int64Range(0, 8).Draw(t, "cpus")
				c.ClaimedMemoryMiB = rapid.Int64Range(0, 8192).Draw(t, "memory")
			}))
		}
		need := Need{CPUs: rapid.Int64Range(1, 8).Draw(t, "need"), MemoryMiB: rapid.Int64Range(64, 8192).Draw(t, "MiB")}
		chosen, refused, ok := Choose(all, need)
		if !ok {
			if len(refused) != len(all) {
				t.Fatalf("%d hosts, %d reasons", len(all), len(refused))
			}
			return
		}
		if why, _ := refuse(chosen, need); why != "" {
			t.Fatalf("chosen %s, though %s", chosen.Name, why)
		}
		for _, c := range all {
			if why, _ := refuse(c, need); why == "" && freeAfter(c, need) > freeAfter(chosen, need) {
				t.Fatalf("%s was chosen, %s has more free capacity", chosen.Name, c.Name)
			}
		}
	})
}

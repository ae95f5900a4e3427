package cgroup

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tree makes a folder that looks like a mount.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755))
		must(t, os.WriteFile(filepath.Join(root, name), []byte(text), 0o644))
	}
	return root
}

func TestTheVersionIsThatOfTheCPUController(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  Version
	}{
		"only version 2":         {map[string]string{"cgroup.controllers": "cpuset cpu io memory"}, V2},
		"both, cpu in version 2": {map[string]string{"unified/cgroup.controllers": "cpu", "memory/cgroup.procs": ""}, V2},
		"both, cpu in version 1": {map[string]string{"unified/cgroup.controllers": "hugetlb", "cpu/cgroup.procs": "", "memory/cgroup.procs": ""}, V1},
		"no cpu controller":      {map[string]string{"memory/cgroup.procs": ""}, None},
		"nothing mounted":        {nil, None},
		"cpuset is not cpu":      {map[string]string{"cgroup.controllers": "cpuset"}, None},
	} {
		g, why := Probe(tree(t, c.files))
		if g.Version() != c.want || why == "" {
			t.Errorf("%s: version %d (%s), want %d", name, g.Version(), why, c.want)
		}
	}
}

func TestWhereNothingCanBeUsedEverythingSucceeds(t *testing.T) {
	g := new(Groups).Slice("virga")
	must(t, g.Ensure("a"))
	must(t, g.AddPID("a", 1))
	must(t, g.SetCPUWeight("a", 100))
	must(t, g.SetCPULimit("a", time.Second))
	must(t, g.SetMemoryLimit("a", 100))
	must(t, g.SetMemoryWall("a", 100))
	must(t, g.SetMemoryProtection("a", 100, 200))
	must(t, g.SetKillOrder("a", 100))
	if used, err := g.CPUTime("a"); used != 0 || err != nil {
		t.Fatal(used, err)
	}
	must(t, g.Remove("a"))
}

func TestBothVersionsAreToldTheSame(t *testing.T) {
	for _, c := range []struct {
		root                          string
		cpu, weight, limit, unlimited string
	}{
		{tree(t, map[string]string{"cgroup.controllers": "cpu"}), "virga/p/x/", "cpu.weight=200", "cpu.max=150000 100000", "cpu.max=max 100000"},
		{tree(t, map[string]string{"cpu/cgroup.procs": ""}), "cpu/virga/p/x/", "cpu.shares=2000", "cpu.cfs_quota_us=150000", "cpu.cfs_quota_us=-1"},
	} {
		g, _ := Probe(c.root)
		g = g.Slice("virga")
		must(t, g.Ensure("p/x"))
		must(t, g.Ensure("p/x"))
		says := func(want string) {
			t.Helper()
			file, value, _ := strings.Cut(want, "=")
			if data, err := os.ReadFile(filepath.Join(c.root, c.cpu, file)); err != nil || string(data) != value {
				t.Errorf("%s is %q, want %q (%v)", file, data, value, err)
			}
		}
		must(t, g.SetCPUWeight("p/x", 200))
		says(c.weight)
		must(t, g.SetCPULimit("p/x", 1500*time.Millisecond))
		says(c.limit)
		must(t, g.SetCPULimit("p/x", 0))
		says(c.unlimited)
		if all, err := g.List(""); err != nil || !slices.Equal(all, []string{"p", "p/x"}) {
			t.Errorf("%v, %v", all, err)
		}
		if none, err := g.List("nothing"); err != nil || len(none) != 0 {
			t.Errorf("%v, %v", none, err)
		}
	}
}

func TestMemoryIsHeldInBothVersions(t *testing.T) {
	for _, c := range []struct {
		root, dir             string
		limit, wall, none     string
		reserved, part, least string
	}{
		{tree(t, map[string]string{"cgroup.controllers": "cpu memory"}), "virga/x/", "memory.max=100", "memory.high=50", "memory.high=max", "memory.min=10", "memory.low=20", "memory.low=10"},
		{tree(t, map[string]string{"cpu/cgroup.procs": "", "memory/cgroup.procs": ""}), "memory/virga/x/", "memory.limit_in_bytes=100", "memory.limit_in_bytes=50", "memory.limit_in_bytes=-1",
			"memory.soft_limit_in_bytes=20", "memory.soft_limit_in_bytes=20", "memory.soft_limit_in_bytes=10"},
	} {
		g, _ := Probe(c.root)
		g = g.Slice("virga")
		must(t, g.Ensure("x"))
		says := func(want string) {
			t.Helper()
			file, value, _ := strings.Cut(want, "=")
			if data, err := os.ReadFile(filepath.Join(c.root, c.dir, file)); err != nil || string(data) != value {
				t.Errorf("%s is %q, want %q (%v)", file, data, value, err)
			}
		}
		must(t, g.SetMemoryLimit("x", 100))
		says(c.limit)
		must(t, g.SetMemoryWall("x", 50))
		says(c.wall)
		must(t, g.SetMemoryWall("x", 0))
		says(c.none)
		must(t, g.SetMemoryProtection("x", 10, 20))
		says(c.reserved)
		says(c.part)
		must(t, g.SetMemoryProtection("x", 10, 0))
		says(c.least)
	}
}

func TestEachGroupAboveHandsItsControllersDown(t *testing.T) {
	root := tree(t, map[string]string{"cgroup.controllers": "cpu memory"})
	g, _ := Probe(root)
	must(t, g.Slice("virga").Ensure("p/x"))
	for dir, want := range map[string]bool{"": true, "virga": true, "virga/p": true, "virga/p/x": false} {
		_, err := os.Stat(filepath.Join(root, dir, "cgroup.subtree_control"))
		if (err == nil) != want {
			t.Errorf("%q: %v", dir, err)
		}
	}
}

func TestProcessorTimeIsReadInBothVersions(t *testing.T) {
	v2, _ := Probe(tree(t, map[string]string{"cgroup.controllers": "cpu", "virga/x/cpu.stat": "usage_usec 1500000\nuser_usec 1\n"}))
	v1, _ := Probe(tree(t, map[string]string{"cpu/cgroup.procs": "", "cpuacct/cgroup.procs": "", "cpuacct/virga/x/cpuacct.usage": "1500000000\n"}))
	for _, g := range []*Groups{v1.Slice("virga"), v2.Slice("virga")} {
		if used, err := g.CPUTime("x"); used != 1500*time.Millisecond || err != nil {
			t.Errorf("version %d: %v, %v", g.Version(), used, err)
		}
		if _, err := g.CPUTime("y"); err == nil {
			t.Errorf("version %d: a group that is not there has a processor time", g.Version())
		}
	}
}

func TestARealGroupHoldsAProcessAndGoesWithAllBelowIt(t *testing.T) {
	g, why := Probe(Root)
	if g.Version() == None {
		t.Skip(why)
	}
	g = g.Slice(fmt.Sprintf("virga-test-%d", os.Getpid()))
	must(t, g.Ensure("pool/vm"))
	t.Cleanup(func() { must(t, g.Remove("")) })
	cmd := exec.Command("sh", "-c", "while :; do :; done")
	must(t, cmd.Start())
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	must(t, g.SetCPUWeight("pool/vm", 300))
	must(t, g.AddPID("pool/vm", cmd.Process.Pid))
	must(t, g.SetCPULimit("pool", 500*time.Millisecond))
	must(t, g.SetCPULimit("pool/vm", 400*time.Millisecond))
	must(t, g.SetMemoryLimit("pool", 128<<20))
	must(t, g.SetMemoryWall("pool/vm", 64<<20))
	must(t, g.SetMemoryProtection("pool/vm", 1<<20, 2<<20))
	must(t, g.SetMemoryWall("pool/vm", 0))
	must(t, g.SetKillOrder("pool/vm", 700))
	if data, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", cmd.Process.Pid)); err != nil || string(data) != "700\n" {
		t.Errorf("%q, %v", data, err)
	}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", cmd.Process.Pid))
	if err != nil || !strings.Contains(string(data), "/pool/vm") {
		t.Fatalf("%s %v", data, err)
	}
	for used := time.Duration(0); used < 5*time.Millisecond; used, err = g.CPUTime("pool/vm") {
		must(t, err)
	}
	if idle, all, err := g.Idle(); err != nil || idle <= 0 || all <= idle {
		t.Fatal(idle, all, err)
	}
	must(t, g.Ensure("other/vm"))
	must(t, g.AddPID("other/vm", cmd.Process.Pid)) // out of the one, into the other
	must(t, g.Remove("pool"))
	if all, err := g.List(""); err != nil || !slices.Equal(all, []string{"other", "other/vm"}) {
		t.Fatalf("%v, %v", all, err)
	}
	must(t, g.Remove("nothing"))
}

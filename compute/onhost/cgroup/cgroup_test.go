package cgroup

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
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
	g := new(Groups)
	must(t, g.Ensure("a"))
	must(t, g.AddPID("a", 1))
	must(t, g.SetCPUWeight("a", 100))
	must(t, g.SetMemoryLimit("a", 100))
	must(t, g.Remove("a"))
}

func TestWeightsKeepTheirRatioInBothVersions(t *testing.T) {
	for _, c := range []struct {
		root, file, want string
	}{
		{tree(t, map[string]string{"cgroup.controllers": "cpu"}), "x/cpu.weight", "200"},
		{tree(t, map[string]string{"cpu/cgroup.procs": ""}), "cpu/x/cpu.shares", "2000"},
	} {
		g, _ := Probe(c.root)
		must(t, g.Ensure("x"))
		must(t, g.Ensure("x"))
		must(t, g.SetCPUWeight("x", 200))
		if data, err := os.ReadFile(filepath.Join(c.root, c.file)); err != nil || string(data) != c.want {
			t.Errorf("%s: %q, %v", c.file, data, err)
		}
		if all, err := g.List("x"); err != nil || len(all) != 1 {
			t.Errorf("%v, %v", all, err)
		}
	}
}

func TestARealGroupHoldsAProcess(t *testing.T) {
	g, why := Probe(Root)
	if g.Version() == None {
		t.Skip(why)
	}
	name := fmt.Sprintf("virga-test-%d", os.Getpid())
	must(t, g.Ensure(name))
	t.Cleanup(func() { must(t, g.Remove(name)) })
	cmd := exec.Command("sleep", "60")
	must(t, cmd.Start())
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	must(t, g.SetCPUWeight(name, 300))
	must(t, g.AddPID(name, cmd.Process.Pid))
	must(t, g.SetMemoryLimit(name, 64<<20))
	must(t, g.SetMemoryLimit(name, 0))
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", cmd.Process.Pid))
	if err != nil || !strings.Contains(string(data), "/"+name) {
		t.Fatalf("%s %v", data, err)
	}
	if all, err := g.List("virga-test-"); err != nil || len(all) == 0 {
		t.Fatalf("%v, %v", all, err)
	}
	must(t, g.Remove("virga-test-nothing"))
}

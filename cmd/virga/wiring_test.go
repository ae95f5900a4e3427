package main

import (
	"os"
	"slices"
	"testing"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
	"github.com/virga-cloud/virga/sim"
)

// notSimulated says of each loop that the simulator does without why it may.
var notSimulated = map[string]string{
	"identity/project": "stories have one project, which stays",
	"compute/image":    "images are there, with their content",
	"compute/content":  "images are there, with their content",
	"network/chassis":  "it only tells OVN's southbound database, which is not simulated",
}

// The simulator wires its servers and agents itself, on drivers of its own. A loop that only the
// daemon starts would be in no story and in no walk.
func TestTheSimulatorRunsEveryLoopOfTheDaemon(t *testing.T) {
	cloud := sim.New(1)
	cloud.AddHost("h1", 4, 4096)
	server, agent := cloud.Loops()
	s, err := wired(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	a := wiredAgent(t)
	compare(t, "sim/server.go", s.runner.Loops(), server)
	compare(t, "sim/host.go", a.runner.Load().Loops(), agent)
	for name := range notSimulated {
		if !slices.Contains(s.runner.Loops(), name) {
			t.Errorf("the daemon has no loop %s any more; take it from notSimulated", name)
		}
	}
}

func compare(t *testing.T, where string, daemon, simulated []string) {
	t.Helper()
	for _, name := range daemon {
		if notSimulated[name] == "" && !slices.Contains(simulated, name) {
			t.Errorf("loop %s is not simulated: start it in %s too, or say in notSimulated why not", name, where)
		}
	}
	for _, name := range simulated {
		if notSimulated[name] != "" || !slices.Contains(daemon, name) {
			t.Errorf("%s starts loop %s, which is said not to be simulated or does not run in the daemon", where, name)
		}
	}
}

// wiredAgent is an agent with all its parts, of which none runs.
func wiredAgent(t *testing.T) *agent {
	t.Helper()
	folder, err := os.MkdirTemp("", "vw") // sockets have short names
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	a := &agent{c: &config{state: folder, run: folder, Name: "h1", Address: "127.0.0.1", HostID: resource.NewID()}}
	a.db = store.NewDB(memory.New(), catalog())
	if err := a.wire(store.NewLedger()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.close)
	return a
}

package main

import (
	"os"
	"slices"
	"testing"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
	"github.com/virga-cloud/virga/sim"
	"github.com/virga-cloud/virga/wiring"
)

// notSimulated says of each loop that the simulator does without why it may.
var notSimulated = map[string]string{
	"compute/image":             "images are there, with their content",
	"compute/content":           "images are there, with their content",
	"compute/onhost/logs":       "no simulated guest says anything",
	"compute/onhost/records":    "it keeps files, which no loop reads; people register by them",
	"compute/onhost/processors": "no simulated guest uses a processor; who divides them writes no record",
}

// The simulator runs the same parts on drivers of its own. What only the daemon starts would be in no
// story and in no walk.
func TestTheSimulatorRunsEveryLoopOfTheDaemon(t *testing.T) {
	cloud := sim.New(1)
	cloud.AddHost("h1", 4, 4096)
	server, agent := cloud.Names()
	s, err := wired(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	compare(t, s.runner.Names(), server)
	compare(t, wiredAgent(t, store.NewRegistry()).runner.Load().Names(), agent)
}

func compare(t *testing.T, daemon, simulated []string) {
	t.Helper()
	for _, name := range daemon {
		if notSimulated[name] == "" && !slices.Contains(simulated, name) {
			t.Errorf("%s is not simulated: bring it by a part, or say in notSimulated why not", name)
		}
	}
	for _, name := range simulated {
		if notSimulated[name] != "" || !slices.Contains(daemon, name) {
			t.Errorf("the simulator runs %s, which is said not to be simulated or does not run in the daemon", name)
		}
	}
}

// unwritten are the halves that nobody writes, because there is nothing to say.
var unwritten = []string{
	"project status", "token status", "session status", "user status", "jointoken status", "claim status", "cluster status", "event status", "dnszone status", "secret status",
}

// TestEveryHalfOfEveryKindHasOneWriter asks both roles: what a server may write no agent may, and
// nothing is left out.
func TestEveryHalfOfEveryKindHasOneWriter(t *testing.T) {
	l := store.NewRegistry()
	s := &server{c: &config{state: t.TempDir(), run: t.TempDir()}}
	s.db = store.NewDB(memory.New(), wiring.Catalog())
	s.led = s.db
	if err := s.wire(l); err != nil {
		t.Fatal(err)
	}
	wiredAgent(t, l)
	if err := l.Err(); err != nil {
		t.Error(err)
	}
	for _, kind := range wiring.Catalog().All() {
		for _, half := range []string{"spec", "status"} {
			right := string(kind.Kind) + " " + half
			_, given := l.Given()[right]
			if given == slices.Contains(unwritten, right) {
				t.Errorf("%s: handed out %v; take it in the part of its domain, or name it among the unwritten", right, given)
			}
		}
	}
}

// wiredAgent is an agent with all its parts, of which none runs.
func wiredAgent(t *testing.T, l *store.Registry) *agent {
	t.Helper()
	folder, err := os.MkdirTemp("", "vw") // sockets have short names
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	a := &agent{c: &config{state: folder, run: folder, Name: "h1", Address: "127.0.0.1", HostID: resource.NewID()}}
	a.db = store.NewDB(memory.New(), wiring.Catalog())
	if err := a.wire(l); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.close)
	return a
}

package sim

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/storage"
)

// What a VM may cost the store, in transactions. Each is a flush of the servers' disks, and how many
// there are decides how many VMs a cloud takes in a second.
const (
	commitsOfCreate    = 10
	commitsOfMigration = 25
)

// counting is a cloud of two hosts whose commits are counted.
type counting struct {
	*testing.T
	*teller
	seed uint64
}

func (c *counting) tells(lines ...string) {
	for _, raw := range lines {
		l, err := parseLine(0, raw)
		if err != nil {
			c.c.fail("%v", err)
		}
		c.tell(l)
	}
}

// within tells lines, lets the cloud come to rest, and holds what was committed meanwhile to a number.
func (c *counting) within(most int, counts func(store.Changes) bool, lines ...string) {
	c.tells("settle")
	before := len(c.c.truth.commits)
	c.tells(append(lines, "settle")...)
	made := slices.DeleteFunc(slices.Clone(c.c.truth.commits[before:]), func(x store.Changes) bool { return !counts(x) })
	if len(made) > most {
		c.Errorf("seed %d: %q takes %d commits, not at most %d:\n%s", c.seed, lines, len(made), most, contents(made))
	}
}

func count(t *testing.T, do func(*counting)) {
	for seed := range uint64(20) {
		c := &counting{t, &teller{c: New(seed)}, seed}
		if err := c.c.Try(func() {
			c.tells("hosts 2", "image debian", "datastore shared on h1 h2", "advance 5s")
			do(c)
		}); err != nil {
			t.Fatal(err)
		}
	}
}

func all(store.Changes) bool { return true }

// beyondFigures leaves out what is counted for many VMs at once: how much is free.
func beyondFigures(c store.Changes) bool {
	return slices.ContainsFunc(c.Events, func(e store.Event) bool {
		return !slices.Contains([]resource.Kind{storage.Devices.Kind, storage.Datastores.Kind, network.Subnets.Kind}, e.Key.Kind)
	})
}

func TestCreateAndMigrationTakeFewCommits(t *testing.T) {
	count(t, func(c *counting) {
		c.within(commitsOfCreate, beyondFigures, "vm create web image=debian", "run until vm web running")
		c.within(commitsOfMigration, all, "migrate web", "run until migration web succeeded")
	})
}

func TestManyCreatesTakeFewCommitsEachWithAllThatFollows(t *testing.T) {
	const vms = 8
	count(t, func(c *counting) {
		var lines []string
		for n := range vms {
			lines = append(lines, fmt.Sprintf("vm create web%d image=debian", n))
		}
		for n := range vms {
			lines = append(lines, fmt.Sprintf("run until vm web%d running", n))
		}
		c.within(commitsOfCreate*vms, beyondFigures, lines...) // how often figures are added up is a matter of time, not of VMs
	})
}

// contents lists commits, a line each.
func contents(commits []store.Changes) string {
	var out strings.Builder
	for _, c := range commits {
		fmt.Fprintf(&out, "%4d:", c.Revision)
		for _, e := range c.Events {
			if e.Key.Kind != store.NameKind {
				fmt.Fprintf(&out, " %s %s;", verbOf(e), e.Key.Kind)
			}
		}
		out.WriteByte('\n')
	}
	return out.String()
}

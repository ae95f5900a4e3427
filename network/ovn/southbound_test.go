package ovn

import (
	"context"
	"os/exec"
	"strings"
	"testing"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
	"github.com/virga-cloud/virga/host"
)

// TestARemovedHostLeavesNoChassisBehind: also its tunnel's end goes, whose address another host may have.
func TestARemovedHostLeavesNoChassisBehind(t *testing.T) {
	if _, err := exec.LookPath("ovn-sbctl"); err != nil {
		t.Skip("ovn-sbctl is not installed")
	}
	central := startCentral(t, CentralConfig{})
	sbctl := func(args ...string) string {
		t.Helper()
		out, err := exec.Command("ovn-sbctl", append([]string{"--db=" + central.South(), "--no-leader-only"}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("ovn-sbctl %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	for name, address := range map[string]string{"dead": "192.0.2.1", "alive": "192.0.2.2"} {
		sbctl("chassis-add", name, "geneve", address)
		sbctl("create", "Chassis_Private", "name="+name)
	}
	db, removals := store.NewDB(memory.New(), resource.NewCatalog(host.Hosts, host.Removals)), store.Specs(store.NewRegistry(), host.Removals, "test")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = db.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	r := &host.Removal{Spec: host.RemovalSpec{HostID: "dead", HostName: "h1", Cause: host.Dead}}
	r.Name = "dead"
	b := db.Begin()
	removals.Create(b, r)
	if err := db.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	south := NewSouthbound(central.South())
	defer south.Close()
	loop := NewChassisLoop(db, south)
	for range 2 { // what is gone already is no error
		if _, err := loop.Step(t.Context(), r.ID); err != nil {
			t.Fatal(err)
		}
	}
	for _, table := range []string{"Chassis", "Chassis_Private", "Encap"} {
		left := sbctl("--no-headings", "list", table)
		if strings.Contains(left, "dead") || strings.Contains(left, "192.0.2.1") || !strings.Contains(left, "alive") {
			t.Errorf("in %s is left:\n%s", table, left)
		}
	}
	sbctl("chassis-add", "anew", "geneve", "192.0.2.1")
}

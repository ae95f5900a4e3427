package ovn

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/network/ovn/nbdb"
)

func startCentral(t *testing.T, c CentralConfig) *Central {
	t.Helper()
	for _, p := range []string{"ovsdb-server", "ovn-northd", "ovsdb-tool"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is not installed", p)
		}
	}
	dir, err := os.MkdirTemp("/tmp", "vn")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	c.State, c.Run = filepath.Join(dir, "s"), filepath.Join(dir, "r")
	central := NewCentral(c)
	if err := central.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := central.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return central
}

// applied tries until ovn-northd has made the database ready.
func applied(t *testing.T, d *Database, rows []*Owned) {
	t.Helper()
	var err error
	for range 100 {
		if err = d.Apply(t.Context(), rows); err == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal(err)
}

func TestTheDatabaseTakesARealCloud(t *testing.T) {
	central := startCentral(t, CentralConfig{})
	d := NewDatabase(central.North())
	defer d.Close()
	applied(t, d, new(Compiler).Compile(someCloud()))
	if p := makePlan(d.existing(), Compile(someCloud())); !p.empty() {
		t.Errorf("a second plan is not empty: %+v", p)
	}
	their := &nbdb.LogicalSwitch{UUID: "theirs", Name: "theirs"}
	ops, err := d.client.Create(their)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.client.Transact(t.Context(), ops...); err != nil {
		t.Fatal(err)
	}
	applied(t, d, new(Compiler).Compile(Cloud{}))
	for _, table := range tables {
		for _, row := range d.existing()[table.name] {
			if ls, ok := row.(*nbdb.LogicalSwitch); ok && (ls.Name == "theirs" || ls.Name == "virga-ext") {
				continue
			}
			if lsp, ok := row.(*nbdb.LogicalSwitchPort); ok && lsp.Type == "localnet" {
				continue
			}
			if set, ok := row.(*nbdb.AddressSet); ok && set.Name == hostSet && len(set.Addresses) == 0 {
				continue
			}
			t.Errorf("%s is left in %s", keyOf(row), table.name)
		}
	}

	// The daemons go away and come back: nothing is lost, and the writer goes on.
	if err := central.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := d.Apply(t.Context(), new(Compiler).Compile(someCloud())); err == nil {
		t.Error("a write to a database that is away succeeded")
	}
	if err := central.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	applied(t, d, new(Compiler).Compile(someCloud()))
}

func asks(conn net.Conn) bool {
	_, _ = conn.Write([]byte(`{"id":1,"method":"list_dbs","params":[]}`))
	n, err := conn.Read(make([]byte, 100))
	return err == nil && n > 0
}

func TestTheDatabaseTakesWhatChangedAndLooksAtAllNowAndThen(t *testing.T) {
	central := startCentral(t, CentralConfig{})
	d := NewDatabase(central.North())
	defer d.Close()
	var k Compiler
	cloud := someCloud()
	applied(t, d, k.Compile(cloud))
	looked := d.looked
	complete := func(what string) {
		t.Helper()
		if p := makePlan(d.existing(), Compile(cloud)); !p.empty() {
			t.Errorf("%s: a look at all finds %d new, %d changed, %d gone", what, len(p.create), len(p.update), len(p.remove))
		}
	}
	step := func(what string) {
		t.Helper()
		if err := d.Apply(t.Context(), k.Compile(cloud)); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		complete(what)
	}
	cloud.Ports[1] = resource.Copy(cloud.Ports[1])
	cloud.Ports[1].Spec.SendKbps = 77
	cloud.PortBindings = append(cloud.PortBindings, aBinding("binding-two", cloud.Ports[1], "host-1", 1))
	step("a port is bound")
	whole := cloud.Networks
	cloud.Networks = whole[1:]
	step("a network goes")
	cloud.Networks = whole
	step("it comes back")
	if d.looked != looked {
		t.Error("all was compared for one change")
	}

	var switches []*nbdb.LogicalSwitch
	for _, row := range d.existing()[nbdb.LogicalSwitchTable] {
		if ls := row.(*nbdb.LogicalSwitch); ls.ExternalIDs[mark] == "switch/net-red" {
			switches = append(switches, ls)
		}
	}
	if len(switches) != 1 {
		t.Fatalf("%d switches are net-red's", len(switches))
	}
	ops, err := d.client.Where(switches[0]).Delete()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.client.Transact(t.Context(), ops...); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(5 * time.Second); makePlan(d.existing(), Compile(cloud)).empty(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a switch that somebody removed is there still")
		}
	}
	d.looked = time.Now().Add(-trust - time.Second)
	step("somebody removed a switch")
}

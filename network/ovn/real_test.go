package ovn

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

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
func applied(t *testing.T, d *Database, rows []Row) {
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
	applied(t, d, Compile(someCloud()))
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
	applied(t, d, Compile(Cloud{}))
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
	if err := d.Apply(t.Context(), Compile(someCloud())); err == nil {
		t.Error("a write to a database that is away succeeded")
	}
	if err := central.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	applied(t, d, Compile(someCloud()))
}

func asks(conn net.Conn) bool {
	_, _ = conn.Write([]byte(`{"id":1,"method":"list_dbs","params":[]}`))
	n, err := conn.Read(make([]byte, 100))
	return err == nil && n > 0
}

package ovn

import (
	"context"
	"net"
	"os"
	"path/filepath"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/network/daemon"
)

// TLS are files of the cloud's own CA, in PEM.
type TLS struct{ Key, Certificate, CA string }

// CentralConfig is where the central daemons live.
type CentralConfig struct {
	// State is the daemon's state folder, Run its run folder; ours is ovn in each.
	State, Run string
	// Listen is host:port for the hosts' ovn-controllers; empty: unix socket only.
	Listen string
	// TLS secures Listen. Without it Listen must be a loopback address.
	TLS *TLS
}

// Central is OVN's central part: both databases and ovn-northd.
type Central struct {
	config     CentralConfig
	supervisor *daemon.Supervisor
}

// NewCentral prepares it; Start starts it.
func NewCentral(c CentralConfig) *Central {
	k := &Central{config: c}
	k.supervisor = daemon.NewSupervisor(k.programs()...)
	return k
}

func (c *Central) folder() string { return filepath.Join(c.config.Run, "ovn") }
func (c *Central) file(name string) string {
	return filepath.Join(c.config.State, "ovn", name)
}

// North is the endpoint of the northbound database, for NewDatabase.
func (c *Central) North() string { return "unix:" + filepath.Join(c.folder(), "nb.sock") }

// South is the endpoint of the southbound database, for the ovn-controller of this host.
func (c *Central) South() string { return "unix:" + filepath.Join(c.folder(), "sb.sock") }

func (c *Central) programs() []daemon.Program {
	dir := c.folder()
	env := []string{"OVN_RUNDIR=" + dir, "OVS_RUNDIR=" + dir, "OVN_LOGDIR=" + dir, "OVS_LOGDIR=" + dir, "OVN_DBDIR=" + dir}
	program := func(name, path string, args ...string) daemon.Program {
		pid, control := filepath.Join(dir, name+".pid"), filepath.Join(dir, name+".ctl")
		args = append(args, "--pidfile="+pid, "--log-file="+filepath.Join(dir, name+".log"), "--unixctl="+control,
			"--detach", "--no-chdir", "-vconsole:off", "-vsyslog:off", "-vfile:warn")
		return daemon.Program{Name: name, Path: path, Args: args, Env: env, PIDFile: pid, Control: control}
	}
	south := []string{c.file("ovnsb.db"), "--remote=p" + c.South()}
	if c.config.Listen != "" {
		host, port, _ := net.SplitHostPort(c.config.Listen)
		if t := c.config.TLS; t != nil {
			south = append(south, "--remote=pssl:"+port+":"+host, "--private-key="+t.Key, "--certificate="+t.Certificate, "--ca-cert="+t.CA)
		} else {
			south = append(south, "--remote=ptcp:"+port+":"+host)
		}
	}
	return []daemon.Program{
		program("ovn-nb", "ovsdb-server", c.file("ovnnb.db"), "--remote=p"+c.North()),
		program("ovn-sb", "ovsdb-server", south...),
		program("ovn-northd", "ovn-northd", "--ovnnb-db="+c.North(), "--ovnsb-db="+c.South()),
	}
}

// Start creates the databases at the first start and starts or adopts the daemons.
func (c *Central) Start(ctx context.Context) error {
	if err := c.check(); err != nil {
		return err
	}
	for _, dir := range []string{c.folder(), filepath.Join(c.config.State, "ovn")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fault.New(fault.Unavailable, "start OVN: %w", err)
		}
	}
	programs := c.programs()
	for i, db := range []struct{ file, schema string }{
		{"ovnnb.db", "/usr/share/ovn/ovn-nb.ovsschema"}, {"ovnsb.db", "/usr/share/ovn/ovn-sb.ovsschema"},
	} {
		if programs[i].PID() != 0 {
			continue // adopted: a running server's database is its own
		}
		if err := daemon.EnsureDatabase(ctx, c.file(db.file), db.schema); err != nil {
			return err
		}
	}
	return c.supervisor.Ensure(ctx)
}

func (c *Central) check() error {
	if c.config.Listen == "" {
		return nil
	}
	host, _, err := net.SplitHostPort(c.config.Listen)
	ip := net.ParseIP(host)
	if err != nil || ip == nil {
		return fault.New(fault.Invalid, "start OVN: %q is no address:port to listen on", c.config.Listen)
	}
	if c.config.TLS == nil && !ip.IsLoopback() {
		return fault.New(fault.Invalid, "start OVN: %s is not loopback and needs certificates", c.config.Listen)
	}
	return nil
}

// Run starts again what dies, until ctx ends. The daemons live on.
func (c *Central) Run(ctx context.Context) { c.supervisor.Run(ctx) }

// Stop ends the daemons. The databases stay.
func (c *Central) Stop(ctx context.Context) error { return c.supervisor.Stop(ctx) }

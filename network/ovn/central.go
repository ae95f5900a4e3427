package ovn

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/network/daemon"
)

// CentralConfig is where the central daemons live.
type CentralConfig struct {
	// State is the daemon's state folder, Run its run folder; ours is ovn in each.
	State, Run string
	// Listen is address:port where a Gate lets the hosts' ovn-controllers in; empty: unix socket only.
	Listen string
}

// Central is OVN's central part: both databases and ovn-northd.
type Central struct {
	config     CentralConfig
	supervisor *daemon.Supervisor
	names      atomic.Pointer[names] // nil: no other host comes in
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
	env := []string{"OVN_RUNDIR=" + dir, "OVS_RUNDIR=" + dir, "OVN_LOGDIR=" + c.file(""), "OVS_LOGDIR=" + c.file(""), "OVN_DBDIR=" + dir}
	program := func(name, path string, args ...string) daemon.Program {
		pid, control, mark := filepath.Join(dir, name+".pid"), filepath.Join(dir, name+".ctl"), "--log-file="+c.file(name+".log")
		args = append(args, "--pidfile="+pid, mark, "--unixctl="+control,
			"--detach", "--no-chdir", "-vconsole:off", "-vsyslog:off", "-vfile:warn")
		return daemon.Program{Name: name, Path: path, Args: args, Env: env, Mark: mark, PIDFile: pid, Control: control}
	}
	database := func(name, endpoint, schema string, args ...string) daemon.Program {
		file := c.file(strings.Replace(name, "-", "", 1) + ".db")
		p := program(name, "ovsdb-server", append([]string{file, "--remote=p" + endpoint}, args...)...)
		p.Serves = []string{strings.TrimPrefix(endpoint, "unix:")}
		p.Prepare = func(ctx context.Context) error { return daemon.EnsureDatabase(ctx, file, schema) }
		return p
	}
	var south []string
	if c.config.Listen != "" {
		south = append(south, "--remote=db:OVN_Southbound,SB_Global,connections",
			"--private-key="+c.file(serverKeyFile), "--certificate="+c.file(serverFile), "--ca-cert="+c.file(namesFile))
	}
	return []daemon.Program{
		database("ovn-nb", c.North(), "/usr/share/ovn/ovn-nb.ovsschema"),
		database("ovn-sb", c.South(), "/usr/share/ovn/ovn-sb.ovsschema", south...),
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
	if c.config.Listen == "" {
		return c.supervisor.Ensure(ctx)
	}
	names, err := openNames(filepath.Join(c.config.State, "ovn"))
	if err == nil {
		err = c.supervisor.Ensure(ctx)
	}
	if err == nil {
		err = c.admit(ctx)
	}
	if err == nil {
		c.names.Store(names)
	}
	return err
}

// inner is where the southbound server listens for the gate: an address of this machine that is this
// state folder's alone, at the port of the gate.
func (c *Central) inner() string {
	sum := sha256.Sum256([]byte(c.config.State))
	_, port, _ := net.SplitHostPort(c.config.Listen)
	return fmt.Sprintf("127.%d.%d.%d:%s", 64+sum[0]%64, sum[1], 1+sum[2]%254, port)
}

// admit makes the server listen there for clients that are hosts, and no more than that: OVN's own
// roles keep each to the rows of the chassis that its certificate names.
func (c *Central) admit(ctx context.Context) error {
	south := NewSouthbound(c.South())
	defer south.Close()
	address, port, _ := net.SplitHostPort(c.inner())
	if err := south.listen(ctx, "pssl:"+port+":"+address); err != nil {
		return err
	}
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) { // it does so a moment later
		conn, err := net.Dial("tcp", c.inner())
		if err == nil {
			return conn.Close()
		}
		if time.Now().After(end) || ctx.Err() != nil {
			return fault.New(fault.Unavailable, "OVN's southbound database does not listen for hosts: %w", err)
		}
	}
}

func (c *Central) check() error {
	if c.config.Listen == "" {
		return nil
	}
	host, _, err := net.SplitHostPort(c.config.Listen)
	if err != nil || net.ParseIP(host) == nil {
		return fault.New(fault.Invalid, "start OVN: %q is no address:port to listen on", c.config.Listen)
	}
	return nil
}

// Run starts again what dies, until ctx ends. The daemons live on.
func (c *Central) Run(ctx context.Context) { c.supervisor.Run(ctx) }

// Stop ends the daemons. The databases stay.
func (c *Central) Stop(ctx context.Context) error { return c.supervisor.Stop(ctx) }

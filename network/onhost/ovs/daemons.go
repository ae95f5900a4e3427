package ovs

import (
	"context"
	"path/filepath"

	"github.com/virga-cloud/virga/network/daemon"
)

func (s *Switch) program(name, path string, args ...string) daemon.Program {
	dir := s.config.folder()
	pid, mark := filepath.Join(dir, name+".pid"), "--log-file="+s.config.state(name+".log")
	args = append(args, "--pidfile="+pid, mark,
		"--detach", "--no-chdir", "-vconsole:off", "-vsyslog:off", "-vfile:warn")
	// The ovn-controller of Debian 12 cannot be told where its control socket is: all use the default.
	// ovn-controller finds the switch's control sockets by OVS_RUNDIR.
	sockets := dir
	if s.source == their {
		sockets = filepath.Dir(s.socket)
	}
	env := []string{"OVS_RUNDIR=" + sockets, "OVS_DBDIR=" + s.config.state(""), "OVS_LOGDIR=" + s.config.state(""), "OVN_RUNDIR=" + dir, "OVN_LOGDIR=" + s.config.state("")}
	return daemon.Program{Name: name, Path: path, Args: args, Env: env, Mark: mark, PIDFile: pid, Control: filepath.Join(dir, name+".{pid}.ctl")}
}

func (s *Switch) database() daemon.Program {
	file := s.config.state("conf.db")
	p := s.program("ovsdb-server", "ovsdb-server", file, "--remote=punix:"+s.socket)
	p.Serves = []string{s.socket}
	p.Prepare = func(ctx context.Context) error {
		return daemon.EnsureDatabase(ctx, file, "/usr/share/openvswitch/vswitch.ovsschema")
	}
	return p
}

func (s *Switch) forwarder() daemon.Program {
	return s.program("ovs-vswitchd", "ovs-vswitchd", "unix:"+s.socket)
}

func (s *Switch) controller() daemon.Program {
	args := []string{"unix:" + s.socket}
	if t := s.config.TLS; t != nil {
		args = append(args, "--private-key="+t.Key, "--certificate="+t.Certificate, "--ca-cert="+t.CA)
	}
	return s.program("ovn-controller", "ovn-controller", args...)
}

func (s *Switch) programs() []daemon.Program {
	if s.source == their {
		return []daemon.Program{s.controller()}
	}
	return []daemon.Program{s.database(), s.forwarder(), s.controller()}
}

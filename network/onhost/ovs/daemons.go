package ovs

import (
	"path/filepath"

	"github.com/virga-cloud/virga/network/daemon"
)

func (s *Switch) program(name, path string, args ...string) daemon.Program {
	dir := s.config.folder()
	pid := filepath.Join(dir, name+".pid")
	args = append(args, "--pidfile="+pid, "--log-file="+filepath.Join(dir, name+".log"),
		"--detach", "--no-chdir", "-vconsole:off", "-vsyslog:off", "-vfile:warn")
	// The ovn-controller of Debian 12 cannot be told where its control socket is: all use the default.
	// ovn-controller finds the switch's control sockets by OVS_RUNDIR.
	sockets := dir
	if s.source == their {
		sockets = filepath.Dir(s.socket)
	}
	env := []string{"OVS_RUNDIR=" + sockets, "OVS_DBDIR=" + s.config.state(""), "OVS_LOGDIR=" + dir, "OVN_RUNDIR=" + dir, "OVN_LOGDIR=" + dir}
	return daemon.Program{Name: name, Path: path, Args: args, Env: env, PIDFile: pid, Control: filepath.Join(dir, name+".{pid}.ctl")}
}

func (s *Switch) database() daemon.Program {
	return s.program("ovsdb-server", "ovsdb-server", s.config.state("conf.db"), "--remote=punix:"+s.socket)
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

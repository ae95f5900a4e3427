package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"

	"github.com/virga-cloud/virga/engine/durable"
	"github.com/virga-cloud/virga/engine/fault"
)

// unitFolder is where an operator's own units lie.
const unitFolder = "/etc/systemd/system"

// unitName is this daemon's; one of another state folder has a name of its own.
func (c *config) unitName() string {
	if c.state == defaultState {
		return "virga.service"
	}
	return "virga-" + strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' {
			return r
		}
		return '-'
	}, c.state), "-") + ".service"
}

func (c *config) unitFile() string { return filepath.Join(unitFolder, c.unitName()) }

// installed reports whether systemd starts this daemon at boot.
func (c *config) installed() bool {
	_, err := os.Stat(c.unitFile())
	return err == nil
}

// hasSystemd reports whether this host is run by systemd.
func hasSystemd() bool {
	_, err := os.Stat("/run/systemd/system")
	return err == nil
}

// unit is the unit of the daemon. Only the daemon is killed: guests and switches are children of nobody, and
// a part of its control group until they have their own.
func (c *config) unit(program string) string {
	quote := func(path string) string {
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "%", "%%", "$", "$$").Replace(path) + `"`
	}
	return `# Written by virga up --install; removed by virga down --uninstall.
[Unit]
Description=Virga on this host
Wants=network-online.target
After=network-online.target local-fs.target remote-fs.target time-sync.target openvswitch-switch.service
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStart=` + quote(program) + ` daemon --state ` + quote(c.state) + ` --run ` + quote(c.run) + `
Restart=always
RestartSec=2
RestartPreventExitStatus=` + fmt.Sprint(fault.TooLate.ExitCode()) + `
TimeoutStartSec=300
TimeoutStopSec=60
WatchdogSec=60
KillMode=process
Delegate=yes
LimitNOFILE=1048576
LimitMEMLOCK=infinity
TasksMax=infinity
OOMScoreAdjust=-900
StandardOutput=append:` + strings.ReplaceAll(c.logFile(), "%", "%%") + `
StandardError=append:` + strings.ReplaceAll(c.logFile(), "%", "%%") + `

[Install]
WantedBy=multi-user.target
`
}

// install lets systemd start the daemon, now and at each boot.
func (c *config) install(ctx context.Context) error {
	if !hasSystemd() {
		return fault.New(fault.Precondition, "install Virga: this host is not run by systemd; let your own init call virga up at boot (without --install a small process keeps the daemon running until then)")
	}
	self, err := os.Executable()
	if err != nil {
		return fault.New(fault.Internal, "find this program: %w", err)
	}
	if err := durable.Write(c.unitFile(), []byte(c.unit(self)), 0o644); err != nil {
		return fault.New(fault.Denied, "install Virga: %w", err)
	}
	if err := systemctl(ctx, "daemon-reload"); err != nil {
		return err
	}
	return systemctl(ctx, "enable", c.unitName())
}

// uninstall removes the unit. What runs goes on.
func (c *config) uninstall(ctx context.Context) (removed bool, err error) {
	if !c.installed() {
		return false, nil
	}
	if hasSystemd() {
		err = systemctl(ctx, "disable", c.unitName())
	}
	if gone := os.Remove(c.unitFile()); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
		return false, fault.New(fault.Denied, "remove the unit of Virga: %w", gone)
	}
	if hasSystemd() {
		err = errors.Join(err, systemctl(ctx, "daemon-reload"))
	}
	return true, err
}

func systemctl(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "systemctl", args...).CombinedOutput()
	if err != nil {
		return fault.New(fault.Unavailable, "systemctl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// What starts the daemon, besides a person.
const (
	bySystemd    = "systemd"    // at boot, and when it has ended
	bySupervisor = "supervisor" // when it has died
	byNobody     = "none"
)

// serviceManager is what starts the daemon. A unit that somebody has disabled does not.
func (c *config) serviceManager(units string) string {
	if _, err := os.Stat(filepath.Join(units, "multi-user.target.wants", c.unitName())); err == nil {
		return bySystemd
	}
	if c.processIn(c.supervisorFile()) != 0 {
		return bySupervisor
	}
	return byNobody
}

// atBoot says whether the daemon starts at boot.
func (c *config) atBoot() string {
	if c.serviceManager(unitFolder) == bySystemd {
		return "It starts at boot, by " + c.unitName() + "."
	}
	return "It does not start at boot; virga up --install lets it."
}

// tellSystemd says that the daemon works, and goes on saying so while it answers: one that answers nobody for
// a minute is started again. Nothing happens where systemd has not started it.
func (c *config) tellSystemd(ctx context.Context) {
	if told, err := systemd.SdNotify(false, systemd.SdNotifyReady); err != nil {
		slog.Warn("systemd cannot be told that the daemon works", "error", err)
	} else if !told {
		return
	}
	every, err := systemd.SdWatchdogEnabled(false)
	if err != nil || every == 0 {
		return
	}
	tick := time.NewTicker(every / 4)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			_, _ = systemd.SdNotify(false, systemd.SdNotifyStopping)
			return
		case <-tick.C:
		}
		if err := c.ready(ctx); err != nil {
			slog.Warn("the daemon does not answer itself", "error", err)
			continue
		}
		_, _ = systemd.SdNotify(false, systemd.SdNotifyWatchdog)
	}
}

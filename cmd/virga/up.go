package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/virga-cloud/virga/cli"
	"github.com/virga-cloud/virga/engine/fault"
)

// The folders of a host that is alone on its hardware.
const (
	defaultState = "/var/lib/virga"
	defaultRun   = "/run/virga"

	defaultOVNPort = 6642
)

type folders struct{ state, run string }

func (f *folders) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.state, "state", defaultState, "folder of everything that must outlive a reboot")
	if cmd.Root() == cmd { // the command line's own root has it already
		cmd.Flags().StringVar(&f.run, "run", defaultRun, "folder of sockets and process numbers")
	}
}

// resolve makes the folders absolute: daemons and guests keep them for long.
func (f *folders) resolve(cmd *cobra.Command) error {
	if flag := cmd.Flag("run"); flag != nil && flag.Value.String() != "" {
		f.run = flag.Value.String()
	}
	if f.run == "" {
		f.run = defaultRun
	}
	var err error
	if f.state, err = filepath.Abs(f.state); err == nil {
		f.run, err = filepath.Abs(f.run)
	}
	if err != nil {
		return fault.New(fault.Invalid, "find the folders: %w", err)
	}
	return nil
}

// hostFlags are what can be said about a host when it first starts.
type hostFlags struct {
	folders
	name, address, listen, uplink string
	qemu                          string
	images, imageSources, backups string
	agentPort, ovnPort, auditDays int
	newCloud, install             bool
}

func (h *hostFlags) flags(cmd *cobra.Command, server bool) {
	h.folders.flags(cmd)
	cmd.Flags().StringVar(&h.name, "name", "", "name of this host in the cloud (default: the host's name)")
	cmd.Flags().StringVar(&h.address, "address", "", "address of this host for the others (default: the first that fits)")
	cmd.Flags().StringVar(&h.uplink, "uplink", "", "NIC that the overlay takes over where the switch works in user space")
	cmd.Flags().StringVar(&h.qemu, "qemu", "", "QEMU of this host, by name or path (default: qemu-system-x86_64)")
	cmd.Flags().IntVar(&h.agentPort, "agent-port", 7444, "port of this host's agent")
	if server {
		cmd.Flags().StringVar(&h.listen, "listen", ":7443", "address of the HTTPS API")
		cmd.Flags().StringVar(&h.images, "images", "", "folder of the content of images, on another disk than the records (default: images in the state folder)")
		cmd.Flags().StringVar(&h.imageSources, "image-sources", "", "networks, with commas between, that everybody's images may be fetched from although they are private")
		cmd.Flags().StringVar(&h.backups, "backups", "", "folder of the daily backups of the records (default: backup in the state folder)")
		cmd.Flags().IntVar(&h.auditDays, "audit-days", 90, "how many days the audit log is kept")
		cmd.Flags().BoolVar(&h.newCloud, "new-cloud", false, "put aside what the state folder has of another cloud, and begin a new one")
		cmd.Flags().IntVar(&h.ovnPort, "ovn-port", defaultOVNPort, "port of the virtual network's database for further hosts")
	}
}

// apply fills a config; what it has already stays, unless the flag was given.
func (h *hostFlags) apply(c *config, cmd *cobra.Command) {
	set := func(to *string, flag, value, fallback string) {
		if cmd.Flags().Changed(flag) || *to == "" {
			if value == "" {
				value = fallback
			}
			*to = value
		}
	}
	set(&c.Name, "name", h.name, hostName())
	switch {
	case cmd.Flags().Changed("address") && h.address != "":
		c.AddressBy = addressTold
	case c.Address == "":
		c.AddressBy = addressFound
	}
	set(&c.Address, "address", h.address, ownAddress())
	set(&c.Uplink, "uplink", h.uplink, "")
	set(&c.QEMU, "qemu", h.qemu, "")
	if cmd.Flags().Changed("agent-port") || c.AgentPort == 0 {
		c.AgentPort = h.agentPort
	}
}

// fill is apply, and on a server where the API listens and is reached.
func (h *hostFlags) fill(c *config, cmd *cobra.Command) error {
	h.apply(c, cmd)
	if c.Server != "yes" {
		return nil
	}
	if cmd.Flags().Changed("audit-days") || c.AuditDays == 0 {
		if h.auditDays < 1 {
			return fault.New(fault.Invalid, "--audit-days %d: 1 or more is wanted", h.auditDays)
		}
		c.AuditDays = h.auditDays
	}
	for _, folder := range []struct {
		flag, told string
		to         *string
	}{{"images", h.images, &c.Images}, {"backups", h.backups, &c.Backups}} {
		if !cmd.Flags().Changed(folder.flag) {
			continue
		}
		*folder.to = folder.told
		if folder.told != "" {
			found, err := filepath.Abs(folder.told)
			if err != nil {
				return fault.New(fault.Invalid, "find the folder of --%s: %w", folder.flag, err)
			}
			*folder.to = found
		}
	}
	if cmd.Flags().Changed("image-sources") {
		if _, err := networks(h.imageSources); err != nil {
			return err
		}
		c.ImageSources = h.imageSources
	}
	if cmd.Flags().Changed("listen") || c.Listen == "" {
		c.Listen = h.listen
	}
	if cmd.Flags().Changed("ovn-port") || c.OVNPort == 0 {
		c.OVNPort = h.ovnPort
	}
	address, port, err := net.SplitHostPort(c.Listen)
	if _, bad := strconv.Atoi(port); err != nil || bad != nil {
		return fault.New(fault.Invalid, "--listen %q is no address and port, like :7443 or 192.0.2.10:7443", c.Listen)
	}
	if ip := net.ParseIP(address); ip == nil || ip.IsUnspecified() {
		address = c.Address
	}
	c.Servers = []string{net.JoinHostPort(address, port)}
	return nil
}

func upCommand() *cobra.Command {
	var h hostFlags
	cmd := &cobra.Command{
		Use: "up", Short: "Start Virga on this host, in the background; the first time, this makes a new cloud",
		Example: "  virga up\n  virga up --name h1 --address 192.0.2.10", Args: cli.Arguments(), GroupID: cli.RunGroup,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := h.resolve(cmd); err != nil {
				return err
			}
			return up(cmd.Context(), cmd, &h)
		},
	}
	h.flags(cmd, true)
	cmd.Flags().BoolVar(&h.install, "install", false, "let systemd start it, now and at each boot")
	return cmd
}

func up(ctx context.Context, cmd *cobra.Command, h *hostFlags) error {
	if os.Geteuid() != 0 {
		return fault.New(fault.Denied, "start Virga: it runs VMs, switches and disks, so root has to; try sudo virga up")
	}
	c, found, err := loadConfig(h.state, h.run)
	if err != nil && !h.newCloud {
		return err
	}
	if c == nil {
		c = &config{state: h.state, run: h.run}
	}
	if err := c.endUnreachable(cmd.OutOrStdout()); err != nil {
		return err
	}
	if pid := c.daemonPID(); pid != 0 {
		if !found {
			return fault.New(fault.Precondition, "start Virga: a daemon of another state folder than %s runs in %s already (process %d); name another folder by --run, or end that one by virga down", c.state, c.run, pid)
		}
		if h.install && !c.installed() {
			// The one that runs is ended, and systemd starts another: guests go on.
			if err := c.install(ctx); err != nil {
				return err
			}
			if _, err := c.stopDaemon(20 * time.Second); err != nil {
				return err
			}
			if err := c.startDaemon(ctx); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "Virga is up on host %s. %s\n", c.Name, c.atBoot())
			return nil
		}
		if before := c.text(); h.fill(c, cmd) != nil || c.text() != before {
			return fault.New(fault.Precondition, "Virga runs already on host %s (process %d), and what you have said now changes nothing: first virga down", c.Name, pid)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "Virga runs already on host %s (process %d). %s\n%s", c.Name, pid, c.atBoot(), c.console(ctx))
		return nil
	}
	if h.newCloud {
		aside, err := c.putAside(time.Now())
		if err != nil {
			return err
		}
		if aside != "" {
			fmt.Fprintf(cmd.OutOrStdout(), "What was in %s lies in %s now.\n", c.state, aside)
		}
		c, found = &config{state: h.state, run: h.run}, false
	}
	if !found {
		c.Server = "yes"
	}
	if err := c.whole(found); err != nil {
		return err
	}
	if !found {
		if err := c.begin(); err != nil {
			return err
		}
	}
	moved := c.follow()
	if err := h.fill(c, cmd); err != nil {
		return err
	}
	if err := c.here(); err != nil {
		return err
	}
	fmt.Fprint(cmd.OutOrStdout(), moved)
	if err := c.diskSpace(); err != nil {
		return err
	}
	if err := c.save(); err != nil {
		return err
	}
	if h.install {
		if err := c.install(ctx); err != nil {
			return err
		}
	}
	begun := time.Now()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := c.startDaemon(ctx); err != nil {
		return err
	}
	secret := ""
	if c.Server == "yes" {
		secret = ", token " + c.in("admin.token")
	}
	fmt.Fprintf(cmd.OutOrStdout(), "Virga is up on host %s after %.1f s. API: https://%s (CA %s%s)\n%s\n%s", c.Name,
		time.Since(begun).Seconds(), c.Servers[0], c.in("ca/ca.crt"), secret, c.atBoot(), c.console(ctx))
	return nil
}

// console says where the web console is, and how root gets in. The secret is behind the #, which no browser
// sends to anybody.
func (c *config) console(ctx context.Context) string {
	if c.Server != "yes" {
		return ""
	}
	where := "https://" + c.Servers[0] + "/"
	var link signInLink
	if err := c.ask(ctx, "/local/sign-in", localRequest{}, &link); err != nil {
		return fmt.Sprintf("Console: %s (no sign-in link: %v)\n", where, err)
	}
	return fmt.Sprintf("Console: %ssign-in#%s (good once, for ten minutes; virga up shows another)\n", where, link.Secret)
}

// endUnreachable ends a daemon whose run folder was emptied, or is another: nobody can reach it there.
func (c *config) endUnreachable(out io.Writer) error {
	pid := c.daemonPID()
	if pid == 0 || c.pidInRun() != 0 {
		return nil
	}
	if _, err := c.stopDaemon(20 * time.Second); err != nil {
		return err
	}
	fmt.Fprintf(out, "The daemon of %s (process %d) had no files in %s, so that nobody could reach it there; it was ended, to start it anew.\n", c.state, pid, c.run)
	return nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/virga-cloud/virga/cli"
	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/compute/onhost/cgroup"
	"github.com/virga-cloud/virga/compute/onhost/qemu"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/network/onhost/ovs"
	"github.com/virga-cloud/virga/network/ovn"
)

// askedToStop is how long guests get to power off when everything goes down.
const askedToStop = 30 * time.Second

func downCommand() *cobra.Command {
	var f folders
	var all, force, uninstall bool
	cmd := &cobra.Command{
		Use: "down", Short: "End the daemon; VMs and their network go on, unless --all",
		Long: "End the daemon. VMs and their network go on without it, and the next virga up takes them over.\n" +
			"With --all the VMs are stopped too, and everything is removed that Virga has made outside its state folder: " +
			"processes, taps, bridges, namespaces, nft tables, control groups. Disks and records stay.",
		Example: "  virga down\n  virga down --all", Args: cli.Arguments(), GroupID: cli.RunGroup,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.resolve(cmd); err != nil {
				return err
			}
			return down(cmd, &f, all, force, uninstall)
		},
	}
	f.flags(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "stop all VMs too, and remove everything outside the state folder")
	cmd.Flags().BoolVar(&force, "force", false, "with --all: do not wait for guests to power off")
	cmd.Flags().BoolVar(&uninstall, "uninstall", false, "no longer start at boot; --all says this too")
	return cmd
}

func down(cmd *cobra.Command, f *folders, all, force, uninstall bool) error {
	c, found, err := loadConfig(f.state, f.run)
	if err != nil {
		return err
	}
	if !found {
		fmt.Fprintf(cmd.OutOrStdout(), "Nothing of Virga is in %s; another state folder is named by --state.\n", c.state)
		return nil
	}
	stopped, err := c.stopDaemon(20 * time.Second)
	if err != nil {
		return err
	}
	_ = os.Remove(c.socket())
	if all || uninstall {
		removed, err := c.uninstall(cmd.Context())
		if err != nil {
			return err
		}
		if removed {
			fmt.Fprintln(cmd.OutOrStdout(), "Virga does not start at boot any more.")
		}
	}
	if !all {
		if stopped {
			fmt.Fprintln(cmd.OutOrStdout(), "Virga is down; VMs and their network go on. virga up takes them over again.")
		} else {
			fmt.Fprintln(cmd.OutOrStdout(), "Virga was not up.")
		}
		return nil
	}
	if err := c.removeAll(cmd.Context(), force); err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "Everything of Virga on host %s is down. Disks and records stay in %s.\n", c.Name, c.state)
	return nil
}

// removeAll ends what outlives the daemon. It needs no server: what is there tells itself.
func (c *config) removeAll(ctx context.Context, force bool) error {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	err := c.stopGuests(ctx, force)
	a := &agent{c: c}
	err = errors.Join(err, a.programs().StopAll())
	if network, failed := ovs.New(a.switchConfig()); failed == nil {
		err = errors.Join(err, network.Teardown(ctx))
		network.Close()
	} else {
		err = errors.Join(err, failed)
	}
	// A host that was a server once may run it still.
	err = errors.Join(err, ovn.NewCentral(ovn.CentralConfig{State: c.state, Run: c.run}).Stop(ctx))
	if err != nil {
		return fault.Wrap(err, "end everything of Virga")
	}
	return os.RemoveAll(c.run)
}

// stopGuests asks every guest to power off, waits, and then forces.
func (c *config) stopGuests(ctx context.Context, force bool) error {
	groups, _ := cgroup.Probe(cgroup.Root)
	groups = groups.Slice(c.slice())
	driver, err := qemu.New(qemu.Config{RunDir: c.guests(), LogDir: c.in("serial"), Groups: groups})
	if err != nil {
		return err
	}
	defer driver.Close()
	guests, err := driver.List(ctx)
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(askedToStop); !force && time.Now().Before(deadline); time.Sleep(time.Second) {
		waiting := 0
		for _, g := range guests {
			now, err := driver.Look(ctx, g.ID)
			if err != nil || now.State != onhost.Running {
				continue
			}
			waiting++
			_ = driver.Ask(ctx, g.ID)
		}
		if waiting == 0 {
			break
		}
	}
	for _, g := range guests {
		err = errors.Join(err, driver.Remove(ctx, g.ID))
	}
	return errors.Join(err, groups.Remove(""))
}

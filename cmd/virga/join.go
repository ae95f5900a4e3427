package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/virga-cloud/virga/cli"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/identity/ca"
)

func joinCommand() *cobra.Command {
	var h hostFlags
	var cluster string
	cmd := &cobra.Command{
		Use: "join TOKEN", Short: "Join this host to an existing cloud; the token comes from virga host token",
		Example: "  virga join virga-join.eyJhZGRyZXNz...\n  virga join virga-join.eyJhZGRyZXNz... --cluster edge", Args: cli.Arguments("TOKEN"), GroupID: cli.RunGroup,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := h.resolve(cmd); err != nil {
				return err
			}
			return join(cmd.Context(), cmd, &h, args[0], cluster)
		},
	}
	h.flags(cmd, false)
	cmd.Flags().StringVar(&cluster, "cluster", "", "the cluster that the host goes into (default: default)")
	return cmd
}

func join(ctx context.Context, cmd *cobra.Command, h *hostFlags, token, cluster string) error {
	if os.Geteuid() != 0 {
		return fault.New(fault.Denied, "join a cloud: a host runs VMs, switches and disks, so root has to; try sudo virga join")
	}
	c, found, err := loadConfig(h.state, h.run)
	if err != nil {
		return err
	}
	again := c.HostID
	switch {
	case found && again != "" && c.Server == "yes":
		return fault.New(fault.Precondition, "this host is %s of a cloud already, and has its server; start it by virga up, or end it by virga down --all and move %s away", c.Name, c.state)
	case found && again != "" && c.daemonPID() != 0:
		return fault.New(fault.Precondition, "this host is %s of a cloud already, and its daemon runs; to join again, first virga down", c.Name)
	}
	invitation, err := ca.ParseInvitation(token)
	if err != nil {
		return err
	}
	h.apply(c, cmd)
	c.Server, c.Servers = "no", invitation.Addresses
	if invitation.Network == "" {
		return fault.New(fault.Precondition, "the cloud's first host is alone on 127.0.0.1 and cannot be joined; start it by virga up --address with an address that others reach")
	}
	c.OVNRemote = "ssl:" + invitation.Network
	// QEMU processes, which are other users, pass through the state folder to their disks; nobody passes to the keys.
	err = os.MkdirAll(c.state, 0o711)
	if err == nil {
		err = os.MkdirAll(c.in("ca"), 0o700)
	}
	if err != nil {
		return fault.New(fault.Internal, "make the state folder: %w", err)
	}
	id, err := ca.Join(ctx, c.in("ca"), token, c.Name, cluster)
	if err != nil {
		return err
	}
	c.HostID = id
	if err := c.save(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := c.startDaemon(ctx); err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "Host %s has joined the cloud of %s. `virga host list` there shows it.\n", c.Name, c.Servers[0])
	return nil
}

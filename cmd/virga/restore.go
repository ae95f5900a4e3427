package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/virga-cloud/virga/cli"
	"github.com/virga-cloud/virga/engine/durable"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/etcd"
)

type restoreFlags struct {
	folders
	force, settle, inPlace bool
}

func restoreCommand() *cobra.Command {
	var f restoreFlags
	cmd := &cobra.Command{
		Use: "restore FILE", Short: "Bring back the records of the cloud from a backup", GroupID: cli.RunGroup,
		Long: "Bring back the records, the config and the keys of a server from a backup. Nothing that runs is ended, and no disk is\n" +
			"touched. What was made after the backup has no record any more, and stays on its host until somebody has looked and says\n" +
			"virga restore --settle. Records that are there are put aside with --force.\n\n" +
			"Where no backup is left and only the log of the records is damaged, --in-place takes what their database has.",
		Example: "  virga restore /mnt/safe/cloud.tar\n  virga up\n  virga restore --settle", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.resolve(cmd); err != nil {
				return err
			}
			if os.Geteuid() != 0 {
				return fault.New(fault.Denied, "bring back the records: the state folder is root's; try sudo")
			}
			if f.settle {
				return f.settleNow(cmd, args)
			}
			if (len(args) == 0) == !f.inPlace {
				return fault.New(fault.Invalid, "bring back the records: name the FILE of a backup, or say --in-place")
			}
			return f.restore(cmd, args)
		},
	}
	f.flags(cmd)
	cmd.Flags().BoolVar(&f.force, "force", false, "put aside the records that are there")
	cmd.Flags().BoolVar(&f.settle, "settle", false, "say that what hosts have without a record may be removed again")
	cmd.Flags().BoolVar(&f.inPlace, "in-place", false, "take the records that are there, without their log")
	return cmd
}

func (f *restoreFlags) settleNow(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fault.New(fault.Invalid, "bring back the records: --settle is said after the start, without a file")
	}
	c, err := f.server()
	if err != nil {
		return err
	}
	if c.daemonPID() == 0 {
		return fault.New(fault.Precondition, "settle the records: the daemon does not run; start it by virga up, look at what each host has, and say it then")
	}
	if err := c.ask(cmd.Context(), "/local/settle", localRequest{}, nil); err != nil {
		return err
	}
	fmt.Fprintln(cmd.OutOrStdout(), "The records are taken as they are: each host that is reached removes what has no record.")
	return nil
}

// restore does it. Whenever we die, the old records or the new ones are there, or none, and then a start
// is refused; it is done again.
func (f *restoreFlags) restore(cmd *cobra.Command, args []string) error {
	if pid := (&config{state: f.state, run: f.run}).daemonPID(); pid != 0 {
		return fault.New(fault.Precondition, "bring back the records: the daemon runs (process %d); end it first by virga down: VMs go on", pid)
	}
	if err := os.MkdirAll(f.state, 0o711); err != nil {
		return fault.New(fault.Internal, "make the state folder: %w", err)
	}
	unlock, err := lockFolder(f.state)
	if err != nil {
		return err
	}
	defer unlock()
	from := filepath.Join(f.state, ".restore")
	if err := os.RemoveAll(from); err != nil {
		return fault.New(fault.Internal, "remove what an earlier attempt has left: %w", err)
	}
	defer os.RemoveAll(from)
	m, err := f.source(args, from)
	if err != nil {
		return err
	}
	c := &config{state: f.state, run: f.run}
	if !f.inPlace {
		if c, err = f.files(m, from); err != nil {
			return err
		}
	}
	if err := f.records(cmd.Context(), c, m, from); err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "The records are those of %s (%d entries). Start by virga up. What was made since has no record and stays on its host until virga restore --settle.\n",
		m.Made.Local().Format("2006-01-02 15:04:05"), m.Entries)
	return nil
}

// source unpacks the backup, or takes the database that is there for one.
func (f *restoreFlags) source(args []string, to string) (manifest, error) {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return manifest{}, fault.New(fault.Internal, "make a folder for the backup: %w", err)
	}
	if !f.inPlace {
		return unpack(args[0], to)
	}
	c, found, err := loadConfig(f.state, f.run)
	if err == nil && !found {
		err = fault.New(fault.Precondition, "take the records that are there: %s has no config.json, and nobody knows which host this is", f.state)
	}
	if err != nil {
		return manifest{}, err
	}
	if err := etcd.CopyOf(c.in("store"), filepath.Join(to, recordsName)); err != nil {
		return manifest{}, err
	}
	entries, revision, err := etcd.ReadSnapshot(filepath.Join(to, recordsName))
	f.force = true
	return manifest{Made: time.Now(), Entries: len(entries), Revision: revision, Life: lifeOf(entries), HostID: c.HostID}, err
}

// files puts back what a server has beside its records. A config that is there and of the same host is newer.
func (f *restoreFlags) files(m manifest, from string) (*config, error) {
	c, found, err := loadConfig(f.state, f.run)
	same := err == nil && found && c.HostID == m.HostID
	if err == nil && found && c.HostID != "" && !same && !f.force {
		return nil, fault.New(fault.Precondition, "bring back the records: %s is that of host %s, and the backup is of host %s (%s); name another folder by --state, or say --force", f.state, c.Name, m.Host, m.HostID)
	}
	for _, e := range m.Files {
		if e.Name == recordsName || e.Name == "incarnation.json" || e.Name == "config.json" && same {
			continue
		}
		if err := putBack(filepath.Join(from, e.Name), filepath.Join(f.state, e.Name)); err != nil {
			return nil, fault.New(fault.Internal, "bring back %s: %w", e.Name, err)
		}
	}
	c, _, err = loadConfig(f.state, f.run)
	return c, err
}

// putBack writes a file as it was; another that is in its place is kept beside.
func putBack(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if there, err := os.ReadFile(to); err == nil {
		if bytes.Equal(there, data) {
			return nil
		}
		if err := durable.Rename(to, to+".before-restore"); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	mode := os.FileMode(0o600)
	if filepath.Ext(to) == ".crt" {
		mode = 0o644
	}
	return durable.Write(to, data, mode)
}

// records makes the store, and lets this host doubt what has no record.
func (f *restoreFlags) records(ctx context.Context, c *config, m manifest, from string) error {
	now := time.Now().UTC()
	fresh, place := filepath.Join(f.state, "store.new"), filepath.Join(f.state, "store")
	if etcd.Exists(place) && !f.force {
		return fault.New(fault.Precondition, "bring back the records: there are some in %s already; look at them by virga check, or put them aside by --force", place)
	}
	if err := os.RemoveAll(fresh); err != nil {
		return fault.New(fault.Internal, "remove what an earlier attempt has left: %w", err)
	}
	if err := etcd.Restore(ctx, fresh, filepath.Join(from, recordsName), m.Made, now); err != nil {
		return err
	}
	known := f.acquaintance()
	if known.Known == "" {
		known.Known = "what was before a backup was brought back"
		if m.Life != "" {
			known.Known = m.Life
		}
	}
	if err := f.acquaint(known); err != nil {
		return err
	}
	if _, err := os.Stat(place); err == nil {
		if err := durable.Rename(place, place+".before-"+now.Format("20060102T150405Z")); err != nil {
			return fault.New(fault.Internal, "put the records aside: %w", err)
		}
	}
	return errors.Join(fault.Wrap(durable.Rename(fresh, place), "put the records in their place"), os.RemoveAll(c.seenFile()), c.begun())
}

// acquaintanceFile is what a host keeps of the lives of the records that it has heard of.
func (f *folders) acquaintanceFile() string { return filepath.Join(f.state, "incarnation.json") }

func (f *folders) acquaintance() (a store.Acquaintance) {
	data, err := os.ReadFile(f.acquaintanceFile())
	if err == nil {
		_ = json.Unmarshal(data, &a)
	}
	return a
}

func (f *folders) acquaint(a store.Acquaintance) error {
	data, err := json.Marshal(a)
	if err != nil {
		return err
	}
	return durable.Write(f.acquaintanceFile(), append(data, '\n'), 0o600)
}

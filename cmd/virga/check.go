package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/virga-cloud/virga/cli"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/etcd"
	"github.com/virga-cloud/virga/wiring"
)

func checkCommand() *cobra.Command {
	var f folders
	var repair bool
	cmd := &cobra.Command{
		Use: "check [FILE]", Short: "Check the records of the cloud, or a backup of them", GroupID: cli.RunGroup,
		Long: "Check that each record can be read, that ids and names are held once and by whom they should be, and that what is\n" +
			"referred to is there; of a backup also each checksum. With --repair what is safe is put right: names that nobody holds\n" +
			"any more are freed, names that a record has lost are taken again.",
		Example: "  virga check\n  virga check --repair\n  virga check /mnt/safe/cloud.tar", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.resolve(cmd); err != nil {
				return err
			}
			found, err := f.check(cmd, args, repair)
			if err != nil {
				return err
			}
			return tellFindings(cmd, found, repair)
		},
	}
	f.flags(cmd)
	cmd.Flags().BoolVar(&repair, "repair", false, "put right what is safe to")
	return cmd
}

func (f *folders) check(cmd *cobra.Command, args []string, repair bool) (found []finding, err error) {
	if len(args) > 0 {
		if repair {
			return nil, fault.New(fault.Invalid, "check a backup: --repair is for the records themselves; bring the backup back first")
		}
		return checkBackup(args[0])
	}
	c, err := f.server()
	if err != nil {
		return nil, err
	}
	if c.daemonPID() != 0 {
		in := localRequest{}
		if repair {
			in.Repair = "yes"
		}
		return found, c.ask(cmd.Context(), "/local/check", in, &found)
	}
	err = c.offline(cmd.Context(), func(s *etcd.Store) (err error) {
		found, err = examine(cmd.Context(), s, repair)
		return err
	})
	return found, err
}

func checkBackup(path string) ([]finding, error) {
	dir, err := os.MkdirTemp("", "virga-")
	if err != nil {
		return nil, fault.New(fault.Internal, "make a folder for the backup: %w", err)
	}
	defer os.RemoveAll(dir)
	if _, err := unpack(path, dir); err != nil {
		return nil, err
	}
	entries, _, err := etcd.ReadSnapshot(filepath.Join(dir, recordsName))
	if err != nil {
		return nil, err
	}
	out := []finding{}
	for _, f := range store.Examine(wiring.Catalog(), entries) {
		said := finding{Record: f.Key.String(), Wrong: f.Wrong}
		if f.Harmless {
			said.Harmless = "yes"
		}
		out = append(out, said)
	}
	return out, nil
}

// tellFindings prints them, and fails if something is wrong.
func tellFindings(cmd *cobra.Command, found []finding, repaired bool) error {
	wrong, possible := 0, 0
	for _, f := range found {
		note := ""
		switch {
		case f.Repair == "done":
			note = " (repaired)"
		case f.Harmless == "yes":
			note = " (harmless)"
		default:
			wrong++
			if f.Repair == "possible" {
				possible++
				note = " (virga check --repair puts it right)"
			}
		}
		if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s: %s%s\n", f.Record, f.Wrong, note); err != nil {
			return err
		}
	}
	if wrong > 0 {
		return fault.New(fault.Precondition, "check the records: %d are not as they must be, of which %d can be put right by virga check --repair; what is left may be brought back by virga restore FILE", wrong, possible)
	}
	_, err := fmt.Fprintln(cmd.OutOrStdout(), "The records are sound.")
	return err
}

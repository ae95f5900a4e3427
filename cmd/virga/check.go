package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/virga-cloud/virga/cli"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/etcd"
	"github.com/virga-cloud/virga/wiring"
)

// checkOptions are what virga check is told besides its folders.
type checkOptions struct {
	repair bool
	remove string // a record that is given up, as kind/id
	output string
}

func checkCommand() *cobra.Command {
	var f folders
	var o checkOptions
	cmd := &cobra.Command{
		Use: "check [FILE]", Short: "Check the records of the cloud, or a backup of them", GroupID: cli.RunGroup,
		Long: "Check that each record can be read, that ids and names are held once and by whom they should be, and that what is\n" +
			"referred to is there; of a backup also each checksum. With --repair what is safe is put right: names that nobody holds\n" +
			"any more are freed, names that a record has lost are taken again. A record that cannot be read, and that no backup\n" +
			"has, is deleted by --delete, with the names and addresses it holds. The table shows the first of each kind of\n" +
			"finding, -o json all.",
		Example: "  virga check\n  virga check --repair\n  virga check -o json\n  virga check /mnt/safe/cloud.tar", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.resolve(cmd); err != nil {
				return err
			}
			if o.output != "table" && o.output != "json" {
				return fault.New(fault.Invalid, "check the records: there is no output format %q; there is table, json", o.output)
			}
			if o.remove != "" {
				return f.giveUp(cmd, args, o)
			}
			found, err := f.check(cmd, args, o.repair)
			if err != nil {
				return err
			}
			return tellFindings(cmd.OutOrStdout(), found, o.output)
		},
	}
	f.flags(cmd)
	cmd.Flags().BoolVar(&o.repair, "repair", false, "put right what is safe to")
	cmd.Flags().StringVar(&o.remove, "delete", "", "delete a record that cannot be read, named as kind/id")
	cmd.Flags().StringVarP(&o.output, "output", "o", "table", "output format: table, json")
	return cmd
}

// giveUp deletes a record that cannot be read.
func (f *folders) giveUp(cmd *cobra.Command, args []string, o checkOptions) error {
	if len(args) > 0 || o.repair {
		return fault.New(fault.Invalid, "delete the record %s: say this alone, of the records themselves", o.remove)
	}
	c, err := f.server()
	if err != nil {
		return err
	}
	if c.daemonPID() != 0 {
		err = c.ask(cmd.Context(), "/local/check", localRequest{Delete: o.remove}, nil)
	} else {
		err = c.offline(cmd.Context(), func(s *etcd.Store) error { return deleteUnreadable(cmd.Context(), s, o.remove) })
	}
	if err == nil {
		fmt.Fprintf(cmd.OutOrStdout(), "The record %s is deleted.\n", o.remove)
	}
	return err
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
		out = append(out, said(f))
	}
	return out, nil
}

// shownOfEach is how many findings of one kind the table names.
const shownOfEach = 5

// group is what findings have in common that are told together.
type group struct{ class, note string }

// noteOf says what becomes of a finding.
func noteOf(f finding) string {
	switch {
	case f.Repair == "done":
		return "repaired"
	case f.Harmless == "yes":
		return "harmless"
	case f.Repair == "possible":
		return "virga check --repair puts it right"
	case f.Class == string(store.Unreadable):
		return "virga check --delete KIND/ID gives it up"
	}
	return ""
}

// tellFindings prints them, those first that somebody must look at, and fails if something is wrong.
func tellFindings(w io.Writer, found []finding, output string) error {
	wrong, possible := 0, 0
	of := map[group][]finding{}
	var order []group
	for _, f := range found {
		g := group{f.Class, noteOf(f)}
		if of[g] == nil {
			order = append(order, g)
		}
		of[g] = append(of[g], f)
		if f.Repair != "done" && f.Harmless != "yes" {
			wrong++
			if f.Repair == "possible" {
				possible++
			}
		}
	}
	slices.SortStableFunc(order, func(a, b group) int {
		return cmp.Compare(slices.Index([]string{"harmless", "repaired"}, a.note), slices.Index([]string{"harmless", "repaired"}, b.note))
	})
	var text bytes.Buffer
	if output == "json" {
		data, err := json.MarshalIndent(found, "", "  ")
		if err != nil {
			return err
		}
		text.Write(append(data, '\n'))
	} else {
		for _, g := range order {
			tellGroup(&text, g, of[g])
		}
		if wrong == 0 {
			text.WriteString("The records are sound.\n")
		}
	}
	if _, err := w.Write(text.Bytes()); err != nil {
		return err
	}
	if wrong > 0 {
		return fault.New(fault.Precondition, "check the records: %d are not as they must be, of which %d can be put right by virga check --repair; what is left may be brought back by virga restore FILE", wrong, possible)
	}
	return nil
}

// tellGroup prints the findings of one kind: how many, and the first of them.
func tellGroup(w io.Writer, g group, found []finding) {
	note := g.note
	if note != "" {
		note = " (" + note + ")"
	}
	fmt.Fprintf(w, "%s: %d%s\n", strings.ToUpper(g.class[:1])+g.class[1:], len(found), note)
	for _, f := range found[:min(len(found), shownOfEach)] {
		record := f.Record
		if f.Name != "" {
			record += " (" + f.Name + ")"
		}
		fmt.Fprintf(w, "  %s: %s\n", record, f.Wrong)
	}
	if more := len(found) - shownOfEach; more > 0 {
		fmt.Fprintf(w, "  and %d more; -o json names all\n", more)
	}
}

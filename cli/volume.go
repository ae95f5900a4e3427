package cli

import (
	"github.com/spf13/cobra"

	"github.com/virga-cloud/virga/client"
)

func volumes() *noun {
	return &noun{api: client.As[record](client.Volumes), aliases: []string{"disk", "disks"}, group: groupStorage, sample: "data", short: "Virtual disks",
		long:  "A volume lives on a datastore; one that names none is placed where it is first needed. The disks\nof a VM are volumes too and go with it.",
		verbs: everyVerb, commands: volumeCommands, states: []string{"unbound", "creating", "failed"},
		columns: []column{
			state("State"), sized("Size", at(&volumeOf.Spec.SizeMiB)), sized("Used", at(&volumeOf.Status.UsedMiB)), name("Datastore", "datastore", at(&volumeOf.Status.DatastoreID), at(&volumeOf.Spec.DatastoreID)),
			computed("VM", func(s *lookup, r *record) string { return userText(s, r, "disks", "volumeID") }), field("Base", at(&volumeOf.Spec.Base.Digest)).only(), trouble(),
		}}
}

// userText is the VM that has a volume among its disks, or a port among its NICs, also one that was made by itself.
func userText(s *lookup, r *record, devices, id string) string {
	all, _ := s.listOnce(s.ctx, "vm", r.Project)
	for _, vm := range all {
		for _, d := range vm.list("status." + devices) {
			if member(d, id) == r.ID {
				return vm.Name
			}
		}
	}
	return ""
}

func volumeCommands(s *session, n *noun) []*cobra.Command {
	return []*cobra.Command{s.volumeCreate(n), s.volumeResize(n)}
}

func (s *session) volumeCreate(n *noun) *cobra.Command {
	var wanted sizeFlag
	var datastore string
	c := &cobra.Command{Use: "create NAME --size SIZE", Short: "Create an empty volume", Args: exactly("NAME"), ValidArgsFunction: cobra.NoFileCompletions,
		Example: "  virga volume create data --size 10GiB\n  virga volume create data --size 1TiB --datastore fast --wait"}
	c.Flags().Var(&wanted, "size", "how large, for example 10GiB")
	c.Flags().StringVar(&datastore, "datastore", "", "where it lives (default: where it is first needed)")
	s.completeFlag(c, "datastore", "datastore")
	m := addMaking(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if wanted.mib == 0 {
			return refuse("%s: say --size, for example --size 10GiB", called(cmd))
		}
		spec := map[string]any{key(&volumeOf.Spec.SizeMiB): wanted.mib}
		if datastore != "" {
			spec[key(&volumeOf.Spec.DatastoreID)] = datastore // the server knows names, also those that a member may not list
		}
		return s.create(cmd, n, args[0], spec, m)
	}
	return c
}

func (s *session) volumeResize(n *noun) *cobra.Command {
	var wanted sizeFlag
	c := &cobra.Command{Use: "resize NAME --size SIZE", Short: "Grow a volume, also while its VM runs", Args: exactly("NAME"), ValidArgsFunction: s.completeNames(n, 1),
		Long: "Grow a volume. A VM that runs sees it at once; its partitions and file systems are the guest's to grow.\n" +
			"A disk does not shrink.", Example: "  virga volume resize data --size 20GiB\n  virga volume resize web-disk0 --size 20GiB --wait"}
	c.Flags().Var(&wanted, "size", "how large, for example 20GiB")
	addDryRun(c)
	p := addPatience(c, "it is as large as specified")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if wanted.mib == 0 {
			return refuse("%s: say --size, for example --size 20GiB", called(cmd))
		}
		if err := s.patch(cmd, n, args[0], map[string]any{"spec": map[string]any{key(&volumeOf.Spec.SizeMiB): wanted.mib}}, "is to have "+size(wanted.mib)); err != nil || !p.wait || c.Flags().Changed("dry-run") {
			return err
		}
		r, err := s.get(cmd.Context(), n, s.project, args[0])
		if err == nil {
			_, err = s.ready(cmd, n, r, p.limit)
		}
		return err
	}
	return c
}

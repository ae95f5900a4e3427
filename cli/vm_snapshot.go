package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/virga-cloud/virga/client"
)

func vmSnapshots() *noun {
	return &noun{api: client.As[record](client.VMSnapshots), typed: "vm-snapshot", says: "snapshot", aliases: []string{"vm-snapshots"}, group: groupVMs, sample: "monday",
		short: "What all disks of a VM held at one moment", long: "A snapshot is taken of a VM that is stopped, of all its disks at one moment. The VM goes back to it any\n" +
			"number of times. It goes with its VM. virga snapshot tree shows those of each disk.",
		verbs: everyVerb, commands: vmSnapshotCommands, states: []string{"pending"},
		columns: []column{state("State"), name("VM", "vm", at(&vmSnapshotOf.Spec.VMID)),
			computed("Disks", func(_ *lookup, r *record) string { return fmt.Sprint(len(r.list(at(&vmSnapshotOf.Status.Disks)))) }), trouble()}}
}

func vmSnapshotCommands(s *session, n *noun) []*cobra.Command {
	var of string
	create := &cobra.Command{Use: "create NAME --vm VM", Short: "Take a snapshot of all disks of a VM", Args: exactly("NAME"), ValidArgsFunction: cobra.NoFileCompletions,
		Long: "Take a snapshot of all disks of a VM at one moment. The VM must be stopped.", Example: "  virga vm-snapshot create monday --vm web --wait"}
	create.Flags().StringVar(&of, "vm", "", "the VM whose disks are kept")
	s.completeFlag(create, "vm", "vm")
	m := addMaking(create)
	create.RunE = func(cmd *cobra.Command, args []string) error {
		if of == "" {
			return refuse("%s: say --vm, for example --vm web", called(cmd))
		}
		return s.create(cmd, n, args[0], map[string]any{key(&vmSnapshotOf.Spec.VMID): of}, m)
	}
	return []*cobra.Command{create, s.vmRevert(n)}
}

func (s *session) vmRevert(n *noun) *cobra.Command {
	c := &cobra.Command{Use: "revert NAME", Short: "Give the disks of a VM the content of a snapshot again", Args: exactly("NAME"), ValidArgsFunction: s.completeNames(n, 1),
		Long: "Give the disks of a VM the content of a snapshot again. What was written since its last snapshot is given\n" +
			"up; all snapshots stay. Disks that the VM was given since stay as they are. The VM must be stopped.",
		Example: "  virga vm-snapshot revert monday --wait"}
	p := addPatience(c, "all disks have that content")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := s.get(cmd.Context(), n, s.project, args[0])
		if err != nil {
			return err
		}
		vm := &record{}
		path := s.path(vms(), r.Project, r.text(at(&vmSnapshotOf.Spec.VMID))) + "/revert"
		if err := s.do(cmd.Context(), client.Call{Method: "POST", Path: path, In: client.VMRevertRequest{SnapshotID: r.ID}, Out: vm}); err != nil {
			return err
		}
		if !p.wait {
			fmt.Fprintf(cmd.OutOrStdout(), "VM %s goes back to snapshot %s\n", vm.Name, r.Name)
			return nil
		}
		for _, d := range r.list(at(&vmSnapshotOf.Status.Disks)) {
			v, err := s.get(cmd.Context(), volumes(), r.Project, member(d, "volumeID"))
			if err == nil {
				_, err = s.ready(cmd, volumes(), v, p.limit)
			}
			if err != nil {
				return err
			}
		}
		fmt.Fprintf(cmd.OutOrStdout(), "VM %s has the content of snapshot %s again\n", vm.Name, r.Name)
		return nil
	}
	return c
}

package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/virga-cloud/virga/client"
)

func tasks() *noun {
	return &noun{api: client.As[record](client.Tasks), group: groupCloud, sample: "0199-…", short: "Tasks: finite work of one host",
		long: "The conversion of an image is a task: a program of one host, with progress, which outlives the daemon.\nOne that has ended is kept for a day.", verbs: []string{"list", "show"}, commands: taskCommands,
		order: func(a, b *record) int { return b.Created.Compare(a.Created) },
		columns: []column{field("Type", at(&taskOf.Spec.Type)), computed("Target", targetText), state("State"), computed("Progress", taskProgressText),
			name("Host", "host", at(&taskOf.Spec.HostID)).wide(), field("By", at(&taskOf.Spec.By)).wide(), computed("Took", tookText).wide(),
			field("Why", at(&taskOf.Status.Why)).only(), computed("Problem", whyText).inTable()}}
}

// taskProgressText is how far a task is; it is asked of its host.
func taskProgressText(s *lookup, r *record) string {
	if r.state() != "running" {
		return "-"
	}
	var now struct{ Words string }
	path := "/v1/projects/" + r.Project + "/tasks/" + r.ID + "/progress"
	if s.do(s.ctx, client.Call{Method: "GET", Path: path, Out: &now}) != nil || now.Words == "" {
		return "-"
	}
	return now.Words
}

func taskCommands(s *session, n *noun) []*cobra.Command {
	cancel := &cobra.Command{Use: "cancel NAME", Short: "Stop a task, and remove what it has half made", Args: exactly("NAME"), ValidArgsFunction: s.completeNames(n, 1),
		Example: "  virga task cancel 0199-…"}
	cancel.RunE = func(cmd *cobra.Command, args []string) error {
		if err := s.do(cmd.Context(), client.Call{Method: "POST", Path: s.path(n, s.project, args[0], "cancel"), In: map[string]any{}}); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "task %s is asked to stop\n", args[0])
		return nil
	}
	return []*cobra.Command{cancel, s.workWait(n, "a task")}
}

package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/virga-cloud/virga/client"
)

func operations() *noun {
	return &noun{api: client.As[record](client.Operations), aliases: []string{"op"}, group: groupCloud, sample: "0199-…", short: "Operations: work under way or ended",
		long: "A migration or an import is an operation: it has steps, and a way back until its point of no return.", verbs: []string{"list", "show"}, commands: operationCommands,
		order: func(a, b *record) int { return b.Created.Compare(a.Created) },
		columns: []column{field("Type", at(&operationOf.Spec.Type)), computed("Target", targetText), state("State"), computed("Step", stepText),
			field("By", at(&operationOf.Spec.By)).wide(), computed("Also works on", alsoText).only(), field("Deadline", at(&operationOf.Spec.Deadline)).only(), field("Point of no return passed", at(&operationOf.Status.Committed)).only(), computed("Took", tookText).wide(),
			computed("Steps", journalText).only(), field("Why", at(&operationOf.Status.Why)).only(), computed("Problem", whyText).inTable()}}
}

// targetText says what an operation works on.
func targetText(s *lookup, r *record) string {
	kind := r.text(at(&operationOf.Spec.Target.Kind))
	return kind + "/" + s.nameOf(s.ctx, kind, r.text(at(&operationOf.Spec.Target.ProjectID)), r.text(at(&operationOf.Spec.Target.ID)))
}

// alsoText lists the other records that it works on.
func alsoText(s *lookup, r *record) string {
	var out []string
	for _, t := range r.list(at(&operationOf.Spec.Also)) {
		kind := member(t, "kind")
		out = append(out, kind+"/"+s.nameOf(s.ctx, kind, member(t, "project"), member(t, "id")))
	}
	return strings.Join(out, "\n")
}

// whyText is why an operation failed or was cancelled, or what it cannot get past, cut short.
func whyText(s *lookup, r *record) string {
	if why := r.text(at(&operationOf.Status.Why)); why != "" {
		return cut(why, 60)
	}
	return trouble().value(s, r)
}

func stepText(_ *lookup, r *record) string {
	journal := r.list(at(&operationOf.Status.Journal))
	if len(journal) == 0 {
		return "-"
	}
	last := journal[len(journal)-1]
	return member(last, "step") + " " + member(last, "state")
}

func journalText(s *lookup, r *record) string {
	var out []string
	for _, e := range r.list(at(&operationOf.Status.Journal)) {
		out = append(out, fmt.Sprintf("%s %s", member(e, "step"), member(e, "state")))
	}
	return strings.Join(out, "\n")
}

func tookText(s *lookup, r *record) string {
	begin, end := r.time(at(&operationOf.Status.StartedAt)), r.time(at(&operationOf.Status.EndedAt))
	if end.IsZero() {
		end = s.now()
	}
	return age(begin, end)
}

func operationCommands(s *session, n *noun) []*cobra.Command {
	cancel := &cobra.Command{Use: "cancel NAME", Short: "Cancel an operation before its point of no return", Args: exactly("NAME"), ValidArgsFunction: s.completeNames(n, 1),
		Example: "  virga operation cancel 0199-…"}
	cancel.RunE = func(cmd *cobra.Command, args []string) error {
		if err := s.do(cmd.Context(), client.Call{Method: "POST", Path: s.path(n, s.project, args[0], "cancel"), In: map[string]any{}}); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "operation %s is asked to undo what it did\n", args[0])
		return nil
	}
	return []*cobra.Command{cancel, s.workWait(n, "an operation")}
}

// workWait is the verb that waits for an operation or a task.
func (s *session) workWait(n *noun, one string) *cobra.Command {
	noun := strings.Fields(one)[1]
	wait := &cobra.Command{Use: "wait NAME", Short: "Wait until " + one + " has ended", Args: exactly("NAME"), ValidArgsFunction: s.completeNames(n, 1),
		Long: "Wait until " + one + " has ended. The exit code is that of the fault it failed with.", Example: "  virga " + noun + " wait 0199-… --timeout 5m"}
	f, p := addFormat(wait), addPatience(wait, "it has ended (this verb always waits)")
	_ = wait.Flags().MarkHidden("wait")
	wait.RunE = func(cmd *cobra.Command, args []string) error {
		op, err := s.get(cmd.Context(), n, s.project, args[0])
		if err != nil {
			return err
		}
		p.wait = true
		return s.said(cmd, op, p, *f, noun+" "+op.Name+" has succeeded", "")
	}
	return wait
}

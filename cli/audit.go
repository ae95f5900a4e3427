package cli

import (
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/virga-cloud/virga/client"
)

func (s *session) auditCommand() *cobra.Command {
	c := &cobra.Command{Use: "audit", Short: "Who asked for what, and what became of it", GroupID: groupCloud,
		Long: "The audit log has one entry for each request that would change something, also of those that were refused.\nNobody can change or remove entries; they go after the time that virga up --audit-days sets."}
	requireVerb(c)
	c.AddCommand(s.auditListCommand())
	return c
}

func (s *session) auditListCommand() *cobra.Command {
	var user, action, project, about, outcome, since string
	var limit int
	c := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "List the entries of the audit log, the newest first", Args: exactly(),
		Example: "  virga audit list --since 1h\n  virga audit list --user mel --action delete-vm\n  virga audit list --outcome refused --in-project shop"}
	f := addFormat(c)
	c.Flags().StringVar(&user, "user", "", "only what this person or program asked for")
	c.Flags().StringVar(&action, "action", "", "only this operation, for example delete-vm")
	c.Flags().StringVar(&project, "in-project", "", "only what was asked in this project")
	c.Flags().StringVar(&about, "about", "", "only what was asked about the record of this name or id")
	c.Flags().StringVar(&outcome, "outcome", "", "only what ended so: done, refused, failed")
	c.Flags().StringVar(&since, "since", "", "only since so long ago, for example 1h or 7d")
	c.Flags().IntVar(&limit, "limit", 50, "the newest so many")
	fixed(c, "outcome", "done", "refused", "failed")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		q := url.Values{}
		for k, v := range map[string]string{"user": user, "action": action, "project": project, "about": about, "outcome": outcome} {
			if v != "" {
				q.Set(k, v)
			}
		}
		if since != "" {
			d, err := parseLife(since)
			if err != nil {
				return err
			}
			q.Set("since", s.now().Add(-d).UTC().Format(time.RFC3339))
		}
		if limit < 1 {
			return refuse("--limit %d: 1 or more is wanted", limit)
		}
		found, err := s.audited(cmd, q, limit)
		if err != nil {
			return err
		}
		if !f.forPeople() {
			return f.value(cmd.OutOrStdout(), found)
		}
		s.tellAudit(cmd, found)
		return nil
	}
	return c
}

// audited reads pages until there are enough entries.
func (s *session) audited(cmd *cobra.Command, q url.Values, limit int) ([]client.Audited, error) {
	found := []client.Audited{}
	for {
		q.Set("limit", strconv.Itoa(min(limit-len(found), 1000)))
		var page client.AuditPage
		if err := s.do(cmd.Context(), client.Call{Method: "GET", Path: "/v1/audit", Query: q, Out: &page}); err != nil {
			return nil, err
		}
		found = append(found, page.Items...)
		if page.NextPage == "" || len(found) >= limit {
			return found, nil
		}
		q.Set("page", page.NextPage)
	}
}

func (s *session) tellAudit(cmd *cobra.Command, found []client.Audited) {
	if len(found) == 0 {
		fmt.Fprintln(cmd.ErrOrStderr(), "no entries")
		return
	}
	var rows [][]string
	for _, e := range found {
		outcome := string(e.Outcome)
		if e.Why != "" {
			outcome += ": " + e.Why
		}
		rows = append(rows, []string{age(e.At, s.now()) + " ago", e.User, e.Shown, e.From, e.Action, e.Project, e.Name, outcome})
	}
	printRows(cmd.OutOrStdout(), []string{"When", "User", "Shown", "From", "Action", "Project", "Name", "Outcome"}, rows)
}

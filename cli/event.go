package cli

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/virga-cloud/virga/client"
)

func events() *noun {
	return &noun{api: client.As[record](client.Events), group: groupCloud, sample: "0199-…", short: "What happened",
		long: "Events tell what happened to records, and who did it or saw it.", verbs: []string{"show"}, commands: eventCommands,
		columns: []column{since("When", at(&eventOf.Spec.At)), field("Severity", at(&eventOf.Spec.Severity)), computed("About", aboutText), field("Reason", at(&eventOf.Spec.Reason)),
			field("By", at(&eventOf.Spec.By)), name("Seen by", "host", at(&eventOf.Spec.HostID)).only(), field("Message", at(&eventOf.Spec.Message))}}
}

func aboutText(_ *lookup, r *record) string {
	return r.text(at(&eventOf.Spec.About.Kind)) + "/" + r.text(at(&eventOf.Spec.Subject))
}

func eventCommands(s *session, n *noun) []*cobra.Command {
	var about, reason, severity, last string
	var limit int
	var all bool
	c := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "List what happened, oldest first", Args: exactly(),
		Example: "  virga event list --last 1h\n  virga event list --about vm/web\n  virga event list --all-projects --severity error"}
	f := addFormat(c)
	c.Flags().StringVar(&about, "about", "", "only what happened to this record: NOUN/NAME, a name or an id")
	c.Flags().StringVar(&reason, "reason", "", "only this reason, for example crashed")
	c.Flags().StringVar(&severity, "severity", "", "only this severity: info, warning, error")
	c.Flags().StringVar(&last, "last", "", "only since so long ago, for example 1h")
	c.Flags().IntVar(&limit, "limit", 50, "the newest so many")
	c.Flags().BoolVarP(&all, "all-projects", "A", false, "also of other projects, and of the cloud itself")
	fixed(c, "severity", "info", "warning", "error")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		q := url.Values{"limit": {strconv.Itoa(limit)}}
		kind, subject, named := strings.Cut(about, "/")
		if !named {
			kind, subject = "", about
		}
		for k, v := range map[string]string{"about": subject, "reason": reason, "severity": severity} {
			if v != "" {
				q.Set(k, v)
			}
		}
		about := nounOf(kind)
		if named && about == nil {
			return refuse("--about %s/%s: there is no noun %q", kind, subject, kind)
		}
		if !all && (about == nil || about.api.InProject) {
			q.Set("project", s.project)
		}
		if last != "" {
			d, err := parseLife(last)
			if err != nil {
				return err
			}
			q.Set("since", s.now().Add(-d).UTC().Format(time.RFC3339))
		}
		var page struct{ Items []*record }
		if err := s.do(cmd.Context(), client.Call{Method: "GET", Path: "/v1/eventlog", Query: q, Out: &page}); err != nil {
			return err
		}
		found := slices.DeleteFunc(page.Items, func(r *record) bool { return about != nil && r.text(at(&eventOf.Spec.About.Kind)) != about.api.Name })
		slices.Reverse(found)
		return s.tell(cmd, *f, found)
	}
	return []*cobra.Command{c}
}

// tell prints events.
func (s *session) tell(cmd *cobra.Command, f format, found []*record) error {
	if !f.forPeople() {
		return f.data(cmd.OutOrStdout(), found, true)
	}
	if len(found) == 0 {
		fmt.Fprintln(cmd.ErrOrStderr(), "no events")
		return nil
	}
	header := []string{"When", "Severity", "About", "Reason", "By", "Message"}
	var rows [][]string
	for _, r := range found {
		rows = append(rows, []string{age(r.time(at(&eventOf.Spec.At)), s.now()) + " ago", r.text(at(&eventOf.Spec.Severity)), aboutText(nil, r),
			r.text(at(&eventOf.Spec.Reason)), r.text(at(&eventOf.Spec.By)), r.text(at(&eventOf.Spec.Message))})
	}
	printRows(cmd.OutOrStdout(), header, rows)
	return nil
}

package cli

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/virga-cloud/virga/client"
)

func (n *noun) listCommand(s *session) *cobra.Command {
	var all, watch bool
	var labels []string
	c := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "List " + n.many(), Args: exactly(),
		Example: fmt.Sprintf("  virga %s list\n  virga %s list -l role=db -o json", n.word(), n.word())}
	l := addListing(c)
	c.Flags().BoolVarP(&watch, "watch", "w", false, "go on with every change, until Ctrl-C")
	c.Flags().StringArrayVarP(&labels, "label", "l", nil, "only those with this label: k=v, k!=v or k; may be repeated")
	if n.api.InProject {
		c.Flags().BoolVarP(&all, "all-projects", "A", false, "those of all projects")
	}
	keep := func(_ context.Context, records []*record) ([]*record, error) { return records, nil }
	if n.filter != nil {
		keep = n.filter(s, c)
	}
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		project := s.project
		if all || !n.api.InProject {
			project = ""
		}
		l.projects = all
		columns, err := l.chosen(n)
		if err != nil {
			return err
		}
		if watch {
			w := &watchedList{listing: l, s: s, cmd: cmd, noun: n, columns: columns, wanted: func(ctx context.Context, r *record) (bool, error) {
				kept, err := keep(ctx, []*record{r})
				return len(kept) > 0 && matches(r, labels), err
			}}
			return w.run(project)
		}
		view := &lookup{s, cmd.Context()}
		records, err := s.list(cmd.Context(), n, project, labels...)
		if err == nil {
			records, err = keep(cmd.Context(), records)
		}
		if err == nil {
			err = l.arrange(view, n, records)
		}
		if err != nil {
			return err
		}
		if *l.format == "csv" {
			return l.write(cmd.OutOrStdout(), view, columns, records)
		}
		if !l.format.forPeople() {
			return l.format.data(cmd.OutOrStdout(), records, true)
		}
		if len(records) == 0 {
			where := ""
			if project != "" {
				where = " in project " + project
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "no %s%s\n", n.many(), where)
			return nil
		}
		return l.write(cmd.OutOrStdout(), view, columns, records)
	}
	return c
}

func (n *noun) less(a, b *record) int {
	if n.order != nil {
		return n.order(a, b)
	}
	return strings.Compare(a.Project+"/"+a.Name, b.Project+"/"+b.Name)
}

func (n *noun) showCommand(s *session) *cobra.Command {
	c := &cobra.Command{Use: "show NAME", Aliases: []string{"get"}, Short: "Show " + n.article() + " " + n.one() + ", by name or id", Args: exactly("NAME"),
		Example:           fmt.Sprintf("  virga %s show %s\n  virga %s show %s -o yaml", n.word(), n.sample, n.word(), n.sample),
		ValidArgsFunction: s.completeNames(n, 1)}
	f := addFormat(c)
	p := addPatience(c, "it is ready, or cannot become ready")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := s.get(cmd.Context(), n, s.project, args[0])
		if err == nil && p.wait {
			r, err = s.ready(cmd, n, r, p.limit)
		}
		if err != nil {
			return err
		}
		if !f.forPeople() {
			return f.data(cmd.OutOrStdout(), []*record{r}, false)
		}
		describe(cmd.OutOrStdout(), &lookup{s, cmd.Context()}, n, r)
		return nil
	}
	return c
}

func (n *noun) labelCommand(s *session) *cobra.Command {
	c := &cobra.Command{Use: "label NAME KEY=VALUE|KEY-...", Short: "Set and remove labels of " + n.article() + " " + n.one(), Args: atLeast("NAME"),
		Example:           fmt.Sprintf("  virga %s label %s role=db tier-", n.word(), n.sample),
		ValidArgsFunction: s.completeNames(n, 1)}
	addDryRun(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		labels := map[string]any{}
		for _, word := range args[1:] {
			key, value, set := strings.Cut(word, "=")
			var wanted any = value
			if !set && strings.HasSuffix(word, "-") {
				key, wanted = strings.TrimSuffix(word, "-"), nil
			} else if !set {
				key = ""
			}
			if key == "" {
				return refuse("%q is no label; write key=value to set and key- to remove", word)
			}
			if before, there := labels[key]; there && before != wanted {
				return refuse("label %q is there twice; say it once", key)
			}
			labels[key] = wanted
		}
		if len(labels) == 0 {
			return refuse("%s: no label is named; write key=value to set and key- to remove", called(cmd))
		}
		return s.patch(cmd, n, args[0], map[string]any{"labels": labels}, "labelled")
	}
	return c
}

func (n *noun) renameCommand(s *session) *cobra.Command {
	c := &cobra.Command{Use: "rename NAME NEWNAME", Short: "Give " + n.article() + " " + n.one() + " another name", Args: exactly("NAME", "NEWNAME"),
		Example: fmt.Sprintf("  virga %s rename %s %s-old", n.word(), n.sample, n.sample), ValidArgsFunction: s.completeNames(n, 1)}
	addDryRun(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		to := n.spelled(args[1])
		return s.patch(cmd, n, args[0], map[string]any{"name": to}, "is the name of what was "+args[0])
	}
	return c
}

// patch changes a record by a merge patch.
func (s *session) patch(cmd *cobra.Command, n *noun, name string, change map[string]any, done string) error {
	r := &record{}
	dry, query := dryRun(cmd)
	if err := s.do(cmd.Context(), client.Call{Method: "PATCH", Path: s.path(n, s.project, n.spelled(name)), Query: query, In: change, Out: r}); err != nil {
		return err
	}
	if dry {
		done = "would be changed"
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s %s %s\n", n.one(), r.Name, done)
	return nil
}

func (n *noun) deleteCommand(s *session) *cobra.Command {
	c := &cobra.Command{Use: "delete NAME...", Aliases: []string{"rm"}, Short: "Delete " + n.many(), Args: atLeast("NAME"),
		Example:           fmt.Sprintf("  virga %s delete %s\n  virga %s delete %s --wait", n.word(), n.sample, n.word(), n.sample),
		ValidArgsFunction: s.completeNames(n, -1)}
	p := addPatience(c, "everything of it is gone")
	addDryRun(c)
	ask := func(context.Context, *record) (bool, error) { return false, nil }
	if n.removal != nil {
		ask = n.removal(s, c)
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		return each(cmd, args, func(name string) error {
			r, err := s.get(cmd.Context(), n, s.project, name)
			asked := false
			if err == nil {
				asked, err = ask(cmd.Context(), r)
			}
			if err == nil {
				err = s.remove(cmd, n, r, p, asked)
			}
			return err
		})
	}
	return c
}

// remove deletes a record by its id: another one that took the name meanwhile is safe. One whose
// deletion was asked for already is only waited for.
func (s *session) remove(cmd *cobra.Command, n *noun, r *record, p *patience, asked bool) error {
	path := s.path(n, s.project, r.ID) // not the record's: what another project lends is not to be deleted
	query := url.Values{}
	if forced := cmd.Flags().Lookup("force"); forced != nil && forced.Value.String() == "true" {
		query.Set("force", "true")
	}
	if dry, _ := dryRun(cmd); dry {
		query.Set("dryRun", "true")
		if err := s.do(cmd.Context(), client.Call{Method: "DELETE", Path: path, Query: query}); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s %s would be deleted\n", n.one(), r.Name)
		return nil
	}
	if !p.wait {
		if asked {
			fmt.Fprintf(cmd.OutOrStdout(), "%s %s is being deleted\n", n.one(), r.Name)
			return nil
		}
		if err := s.do(cmd.Context(), client.Call{Method: "DELETE", Path: path, Query: query}); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s %s is being deleted\n", n.one(), r.Name)
		return nil
	}
	defer s.follow(cmd, n, r)()
	first := !asked
	err := s.patiently(cmd.Context(), p.limit, func(step time.Duration) error {
		query.Set("wait", "gone")
		query.Set("timeout", step.String())
		err := s.do(cmd.Context(), client.Call{Method: "DELETE", Path: path, Query: query})
		if !first && client.IsKind(err, "not-found") {
			return nil
		}
		first = false
		return err
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s %s is deleted\n", n.one(), r.Name)
	return nil
}

// making are the flags of every create.
type making struct {
	labels []string
	format *format
	*patience
}

func addMaking(c *cobra.Command) *making {
	m := &making{format: addFormat(c), patience: addPatience(c, "it is ready, or cannot become ready")}
	c.Flags().StringArrayVarP(&m.labels, "label", "l", nil, "a label, k=v; may be repeated")
	addDryRun(c)
	return m
}

// body makes the request for a new record.
func (m *making) body(name string, spec any) (map[string]any, error) {
	out := map[string]any{"name": name, "spec": said(spec)}
	labels := map[string]string{}
	for _, l := range m.labels {
		k, v, ok := strings.Cut(l, "=")
		if !ok || k == "" {
			return nil, refuse("--label %q: write key=value", l)
		}
		if before, there := labels[k]; there && before != v {
			return nil, refuse("--label: %q is there twice; say it once", k)
		}
		labels[k] = v
	}
	if len(labels) > 0 {
		out["labels"] = labels
	}
	return out, nil
}

// create makes a record, waits if that is wanted, and says what became of it.
func (s *session) create(cmd *cobra.Command, n *noun, name string, spec any, m *making) error {
	r, err := s.post(cmd, n, name, spec, m)
	if err != nil {
		return err
	}
	return s.made(cmd, n, r, m)
}

func (s *session) post(cmd *cobra.Command, n *noun, name string, spec any, m *making) (*record, error) {
	body, err := m.body(name, spec)
	if err != nil {
		return nil, err
	}
	r := &record{}
	_, query := dryRun(cmd)
	return r, s.do(cmd.Context(), client.Call{Method: "POST", Path: s.path(n, s.project), Query: query, In: body, Out: r, Once: true})
}

// made waits for a new record, if that is wanted, and says it.
func (s *session) made(cmd *cobra.Command, n *noun, r *record, m *making) (err error) {
	word := "is created"
	dry, _ := dryRun(cmd)
	if dry {
		word = "would be created"
	}
	if m.wait && !dry {
		if r, err = s.ready(cmd, n, r, m.limit); err != nil {
			return err
		}
		var is string
		if r, is, err = s.more(cmd, n, r, m.patience); err != nil {
			return err
		}
		if is != "is -" {
			word = is
		}
	}
	if !m.format.forPeople() {
		return m.format.data(cmd.OutOrStdout(), []*record{r}, false)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s %s %s\n", n.one(), r.Name, word)
	return nil
}

package cli

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/virga-cloud/virga/client"
)

func (s *session) explainCommand() *cobra.Command {
	c := &cobra.Command{Use: "explain NOUN NAME", Short: "Say in words why something is not as specified", GroupID: groupCloud,
		Long:    "Walk over everything that a record waits for, what is wrong with it and who still holds it, and say\nit in words, the most important first.",
		Example: "  virga explain vm web\n  virga explain host h1"}
	f := addFormat(c)
	c.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 && strings.Contains(args[0], "/") {
			return nil
		}
		return exactly("NOUN", "NAME")(cmd, args)
	}
	c.ValidArgsFunction = func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		var out []string
		switch len(args) {
		case 0:
			for _, n := range nouns() {
				out = append(out, n.word())
			}
		case 1:
			if n := nounOf(args[0]); n != nil {
				return s.namesOf(cmd, n, typed)
			}
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 {
			kind, name, _ := strings.Cut(args[0], "/")
			args = []string{kind, name}
		}
		kind, name := args[0], args[1]
		q := url.Values{"project": {s.project}}
		if n := nounOf(kind); n != nil {
			kind, name = n.api.Name, n.spelled(name)
		}
		var answer struct {
			Lines []struct {
				Depth int
				Text  string
			}
		}
		var whole record
		path := "/v1/explain/" + url.PathEscape(kind) + "/" + url.PathEscape(name)
		if err := s.do(cmd.Context(), client.Call{Method: "GET", Path: path, Query: q, Out: &whole}); err != nil {
			return err
		}
		if !f.forPeople() && *f != "name" {
			return f.data(cmd.OutOrStdout(), []*record{&whole}, false)
		}
		if err := decode(whole.raw, &answer); err != nil {
			return err
		}
		for _, line := range answer.Lines {
			fmt.Fprintln(cmd.OutOrStdout(), strings.Repeat("  ", line.Depth)+oneLine(line.Text))
		}
		return nil
	}
	return c
}

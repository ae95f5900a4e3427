package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/virga-cloud/virga/client"
)

func tokens() *noun {
	return &noun{api: client.As[record](client.Tokens), group: groupCloud, sample: "ci", short: "Rights to use the API",
		long: "A token has a secret that is shown once, when it is made. Roles: admin may do everything, member\neverything inside one project, viewer may read inside one project.", verbs: []string{"list", "show", "delete"}, commands: tokenCommands,
		columns: []column{field("User", at(&tokenOf.Spec.User)), field("Role", at(&tokenOf.Spec.Role)), name("Project", "project", at(&tokenOf.Spec.ProjectID)), computed("Expires", expiry)}}
}

func expiry(s *lookup, r *record) string {
	end := r.time(at(&tokenOf.Spec.Expires))
	switch {
	case end.IsZero():
		return "never"
	case end.Before(s.now()):
		return "expired"
	}
	return "in " + age(s.now(), end)
}

func tokenCommands(s *session, n *noun) []*cobra.Command {
	var role, user, life string
	c := &cobra.Command{Use: "create NAME --role ROLE", Short: "Make a token and print its secret once", Args: exactly("NAME"), ValidArgsFunction: cobra.NoFileCompletions,
		Example: "  virga token create ci --role member --project shop --expires 30d\n  export VIRGA_TOKEN=$(virga token create me --role admin)"}
	c.Flags().StringVar(&role, "role", "", "what it may do: admin, member, viewer; member and viewer in --project")
	c.Flags().StringVar(&user, "user", "", "the person or program that it stands for (default: NAME)")
	c.Flags().StringVar(&life, "expires", "", "how long it is good for, for example 30d (default: for ever)")
	fixed(c, "role", "admin", "member", "viewer")
	f := addFormat(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if role == "" {
			return refuse("%s: say --role: admin, member or viewer", called(cmd))
		}
		in := client.TokenRequest{Name: args[0], Role: client.TokenRequestRole(role), User: args[0]}
		if user != "" {
			in.User = user
		}
		if role != "admin" {
			in.ProjectID = s.project
		}
		if life != "" {
			d, err := parseLife(life)
			if err != nil {
				return err
			}
			in.Expires = s.now().Add(d).UTC().Truncate(time.Second)
		}
		made := map[string]any{}
		// No Idempotency-Key: a secret is told once.
		if err := s.do(cmd.Context(), client.Call{Method: "POST", Path: s.path(n, ""), In: in, Out: &made}); err != nil {
			return err
		}
		switch {
		case *f == "name":
			fmt.Fprintln(cmd.OutOrStdout(), args[0])
		case !f.forPeople():
			return f.value(cmd.OutOrStdout(), made)
		default:
			fmt.Fprintf(cmd.ErrOrStderr(), "the secret of token %s; it is not shown again:\n", args[0])
			fmt.Fprintln(cmd.OutOrStdout(), secretOf(made))
		}
		return nil
	}
	return []*cobra.Command{c}
}

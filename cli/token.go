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

func sessions() *noun {
	return &noun{api: client.As[record](client.Sessions), group: groupCloud, sample: "session-3f0c5de1a9b2", short: "Browsers that are signed in to the console",
		long: "A session is begun by a sign-in link or a token, and lasts twelve hours at most. One that is deleted ends at once.", verbs: []string{"list", "show", "delete"},
		columns: []column{field("User", at(&sessionOf.Spec.User)), field("Role", at(&sessionOf.Spec.Role)), name("Project", "project", at(&sessionOf.Spec.ProjectID)),
			field("From", at(&sessionOf.Spec.From)), computed("Ends", func(s *lookup, r *record) string { return ends(s, r, at(&sessionOf.Spec.Expires)) })}}
}

func expiry(s *lookup, r *record) string { return ends(s, r, at(&tokenOf.Spec.Expires)) }

func ends(s *lookup, r *record, when string) string {
	end := r.time(when)
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
	var signIn bool
	c := &cobra.Command{Use: "create NAME --role ROLE", Short: "Make a token and print its secret once", Args: exactly("NAME"), ValidArgsFunction: cobra.NoFileCompletions,
		Example: "  virga token create ci --role member --project shop --expires 30d\n  export VIRGA_TOKEN=$(virga token create me --role admin)"}
	c.Flags().StringVar(&role, "role", "", "what it may do: admin, member, viewer; member and viewer in --project")
	c.Flags().StringVar(&user, "user", "", "the person or program that it stands for (default: NAME)")
	c.Flags().StringVar(&life, "expires", "", "how long it is good for, for example 30d (default: for ever)")
	c.Flags().BoolVar(&signIn, "sign-in", false, "make a link by which a browser begins one session of the console, within ten minutes or --expires")
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
		if signIn {
			in.Purpose = client.TokenRequestPurposeSignIn
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
		case signIn:
			fmt.Fprintf(cmd.ErrOrStderr(), "the console, at the address of any server; the link is good once:\n")
			fmt.Fprintln(cmd.OutOrStdout(), "/sign-in#"+secretOf(made))
		default:
			fmt.Fprintf(cmd.ErrOrStderr(), "the secret of token %s; it is not shown again:\n", args[0])
			fmt.Fprintln(cmd.OutOrStdout(), secretOf(made))
		}
		return nil
	}
	return []*cobra.Command{c}
}

package cli

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/virga-cloud/virga/client"
)

func users() *noun {
	return &noun{api: client.As[record](client.Users), group: groupCloud, sample: "ann", short: "People who sign in to the console by a password",
		long: "A user signs in by the name and a password. Roles are as of tokens: admin may do everything, member\neverything inside one project, viewer may read inside one project.", verbs: everyVerb, commands: userCommands,
		columns: []column{field("Role", at(&userOf.Spec.Role)), name("Project", "project", at(&userOf.Spec.ProjectID)), field("Description", at(&userOf.Spec.Description))}}
}

func userCommands(s *session, n *noun) []*cobra.Command {
	var role, description string
	create := &cobra.Command{Use: "create NAME --role ROLE", Short: "Make a user, whose password is read from standard input", Args: exactly("NAME"), ValidArgsFunction: cobra.NoFileCompletions,
		Example: "  virga user create ann --role member --project shop"}
	create.Flags().StringVar(&role, "role", "", "what they may do: admin, member, viewer; member and viewer in --project")
	create.Flags().StringVar(&description, "description", "", "for people")
	fixed(create, "role", "admin", "member", "viewer")
	m := addMaking(create)
	create.RunE = func(cmd *cobra.Command, args []string) error {
		if role == "" {
			return refuse("%s: say --role: admin, member or viewer", called(cmd))
		}
		password, err := readPassword(cmd)
		if err != nil {
			return err
		}
		spec := client.UserSpec{Role: client.UserSpecRole(role), Description: description, Password: password}
		if role != "admin" {
			spec.ProjectID = s.project
		}
		return s.create(cmd, n, args[0], spec, m)
	}
	set := &cobra.Command{Use: "set-password NAME", Short: "Give a user another password, read from standard input; their sessions end", Args: exactly("NAME"), ValidArgsFunction: s.completeNames(n, 1),
		Example: "  virga user set-password ann"}
	set.RunE = func(cmd *cobra.Command, args []string) error {
		password, err := readPassword(cmd)
		if err != nil {
			return err
		}
		return s.patch(cmd, n, args[0], map[string]any{"spec": map[string]any{key(&userOf.Spec.Password): password}}, "has a new password")
	}
	return []*cobra.Command{create, set}
}

// readPassword reads the first line of standard input: no argument, which others on this host would see.
func readPassword(cmd *cobra.Command) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(cmd.InOrStdin(), 4<<10)).ReadString('\n')
	if err != nil && err != io.EOF {
		return "", fmt.Errorf("read the password: %w", err)
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", refuse("%s: the password is read from standard input, and nothing came; virga user create ann --role admin", called(cmd))
	}
	return line, nil
}

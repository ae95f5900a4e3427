package cli

import (
	"bufio"
	"cmp"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/virga-cloud/virga/client"
)

func (s *session) loginCommand() *cobra.Command {
	var name string
	c := &cobra.Command{Use: "login SERVER", Short: "Keep a server and a token, and use them from now on", GroupID: groupHelp, Args: exactly("SERVER"),
		Long: "Try a server with a token, and keep both as a context, in a file that only you may read. Commands use it\n" +
			"until `virga context use` chooses another; flags and the environment win over it. The token is that of\n" +
			"--token or $VIRGA_TOKEN, or is asked for, or read from standard input. --ca names the certificate of the\n" +
			"cloud's authority, which is kept too; --project the project to work in.",
		Example: "  virga login cloud.example.org --ca cloud.crt\n  virga login 192.0.2.7:7443 --ca cloud.crt --name test --project web", ValidArgsFunction: cobra.NoFileCompletions}
	c.Flags().StringVar(&name, "name", "", "what the context is called (default: the host of the server)")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		x, err := s.newContext(cmd, name, args[0])
		if err != nil {
			return err
		}
		s.settled, s.server, s.token = true, x.Server, x.Token
		if err := s.do(cmd.Context(), client.Call{Method: "GET", Path: "/v1/status", Out: &map[string]any{}}); err != nil {
			return err
		}
		all, err := readContexts()
		if err != nil {
			return err
		}
		all.put(x)
		all.Current = x.Name
		if err := all.write(); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "logged in to %s; context %s is used from now on\n", x.Server, x.Name)
		return nil
	}
	return c
}

// newContext makes a context of what was said, and asks for the token where it was not.
func (s *session) newContext(cmd *cobra.Command, name, server string) (serverContext, error) {
	x := serverContext{Token: s.token}
	var err error
	if x.Server, err = client.Address(server); err != nil {
		return x, err
	}
	u, _ := url.Parse(x.Server)
	if x.Name = cmp.Or(name, u.Hostname()); x.Name == local {
		return x, refuse("%q is the server on this host; call the context something else by --name", local)
	}
	if s.root.PersistentFlags().Changed("project") {
		x.Project = s.project
	}
	if s.ca != "" {
		pem, err := os.ReadFile(s.ca)
		if err != nil {
			return x, refuse("read the certificate of the cloud's authority: %v", err)
		}
		x.CA = string(pem)
	}
	if x.Token == "" {
		if x.Token, err = askToken(cmd); err != nil {
			return x, err
		}
	}
	if x.Token == "" {
		return x, refuse("login: no token is given; --token, $VIRGA_TOKEN or standard input gives it (virga token create makes one)")
	}
	return x, nil
}

func askToken(cmd *cobra.Command) (string, error) {
	if f, ok := cmd.InOrStdin().(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprint(cmd.ErrOrStderr(), "token: ")
		secret, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(cmd.ErrOrStderr())
		if err != nil {
			return "", fail("internal", "read the token: %v", err)
		}
		return strings.TrimSpace(string(secret)), nil
	}
	line, _ := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	return strings.TrimSpace(line), nil
}

func (s *session) contextCommand() *cobra.Command {
	c := &cobra.Command{Use: "context", Short: "Servers that you have logged in to", GroupID: groupHelp,
		Long: "Servers that you have logged in to.\n\nA context is a server, a token and a project. `virga login` makes one; local is the server on this host."}
	requireVerb(c)
	c.AddCommand(s.contextList(), s.contextShow(), s.contextUse(), s.contextDelete())
	return c
}

func completeContexts(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	all, err := readContexts()
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	out := []string{local}
	for _, x := range all.Contexts {
		out = append(out, x.Name)
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

func (s *session) contextList() *cobra.Command {
	return &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "List the servers that you have logged in to", Args: exactly(), Example: "  virga context list",
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := readContexts()
			if err != nil {
				return err
			}
			current := cmp.Or(all.Current, local)
			var rows [][]string
			for _, x := range append([]serverContext{{Name: local, Server: "the server on this host"}}, all.Contexts...) {
				used := ""
				if x.Name == current {
					used = "yes"
				}
				rows = append(rows, []string{x.Name, used, x.Server, x.Project})
			}
			printRows(cmd.OutOrStdout(), []string{"Name", "Used", "Server", "Project"}, rows)
			return nil
		}}
}

// contextNamed finds a context that somebody named.
func contextNamed(name string) (*contexts, *serverContext, error) {
	all, err := readContexts()
	if err != nil {
		return nil, nil, err
	}
	if x := all.find(name); x != nil {
		return all, x, nil
	}
	return nil, nil, fail("not-found", "there is no context %q; `virga context list` shows them, `virga login` makes one", name)
}

func (s *session) contextShow() *cobra.Command {
	return &cobra.Command{Use: "show NAME", Short: "Show a context, without its token", Args: exactly("NAME"), Example: "  virga context show test", ValidArgsFunction: completeContexts,
		RunE: func(cmd *cobra.Command, args []string) error {
			_, x, err := contextNamed(args[0])
			if err != nil {
				return err
			}
			authority := "the system's"
			if x.CA != "" {
				authority = "the cloud's, kept here"
			}
			fmt.Fprintf(cmd.OutOrStdout(), "Name       %s\nServer     %s\nProject    %s\nAuthority  %s\n", x.Name, x.Server, cmp.Or(x.Project, "default"), authority)
			return nil
		}}
}

func (s *session) contextUse() *cobra.Command {
	return &cobra.Command{Use: "use NAME", Short: "Use a server from now on; local is the one on this host", Args: exactly("NAME"), Example: "  virga context use test\n  virga context use local", ValidArgsFunction: completeContexts,
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := readContexts()
			if args[0] != local && err == nil {
				all, _, err = contextNamed(args[0])
			}
			if err != nil {
				return err
			}
			if all.Current = args[0]; args[0] == local {
				all.Current = ""
			}
			if err := all.write(); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "context %s is used from now on\n", args[0])
			return nil
		}}
}

func (s *session) contextDelete() *cobra.Command {
	return &cobra.Command{Use: "delete NAME", Aliases: []string{"rm"}, Short: "Forget a server and its token", Args: exactly("NAME"), Example: "  virga context delete test", ValidArgsFunction: completeContexts,
		Long: "Forget a server and its token. The token is good as before; `virga token delete` ends it.",
		RunE: func(cmd *cobra.Command, args []string) error {
			all, x, err := contextNamed(args[0])
			if err != nil {
				return err
			}
			kept := &contexts{Current: all.Current}
			if kept.Current == x.Name {
				kept.Current = ""
			}
			for _, other := range all.Contexts {
				if other.Name != x.Name {
					kept.Contexts = append(kept.Contexts, other)
				}
			}
			if err := kept.write(); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "context %s is forgotten\n", args[0])
			return nil
		}}
}

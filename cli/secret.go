package cli

import (
	"encoding/base64"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/virga-cloud/virga/client"
)

func secrets() *noun {
	return &noun{api: client.As[record](client.Secrets), group: groupCloud, sample: "db-password", short: "Values that others must not see",
		long: "A secret is kept encrypted. Its value is shown by show --reveal alone, to who has the action\nsecret.reveal, and the audit log tells of it.", verbs: []string{"list", "delete"}, commands: secretCommands,
		columns: []column{field("Description", at(&ofSecret.Spec.Description))}}
}

// secretValue is where the value of a secret comes from.
type secretValue struct {
	file, text string
	stdin      bool
}

func addSecretValue(c *cobra.Command) *secretValue {
	v := &secretValue{}
	c.Flags().StringVar(&v.file, "from-file", "", "a file whose bytes are the value, as they are")
	c.Flags().BoolVar(&v.stdin, "from-stdin", false, "read the value, as it is, from standard input")
	c.Flags().StringVar(&v.text, "value", "", "the value itself; others on this host can see it while the command runs")
	c.MarkFlagsMutuallyExclusive("from-file", "from-stdin", "value")
	return v
}

// spec reads the value; a new secret needs one.
func (v *secretValue) spec(cmd *cobra.Command, needed bool) (map[string]any, error) {
	var value []byte
	var err error
	switch {
	case v.file != "":
		value, err = os.ReadFile(v.file)
	case v.stdin:
		value, err = io.ReadAll(cmd.InOrStdin())
	case v.text != "":
		value = []byte(v.text)
	case needed:
		return nil, refuse("%s: where is the value? say --from-file, --from-stdin or --value", called(cmd))
	default:
		return map[string]any{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", called(cmd), err)
	}
	if len(value) == 0 {
		return nil, refuse("%s: the value is empty", called(cmd))
	}
	return map[string]any{key(&ofSecret.Spec.Value): base64.StdEncoding.EncodeToString(value)}, nil
}

func secretCommands(s *session, n *noun) []*cobra.Command {
	var description string
	create := &cobra.Command{Use: "create NAME", Short: "Keep a value", Args: exactly("NAME"), ValidArgsFunction: cobra.NoFileCompletions,
		Example: "  virga secret create db-password --from-file password.txt\n  head -c 32 /dev/urandom | virga secret create session-key --from-stdin"}
	create.Flags().StringVar(&description, "description", "", "for people")
	value, m := addSecretValue(create), addMaking(create)
	create.RunE = func(cmd *cobra.Command, args []string) error {
		spec, err := value.spec(cmd, true)
		if err != nil {
			return err
		}
		if description != "" {
			spec[key(&ofSecret.Spec.Description)] = description
		}
		return s.create(cmd, n, args[0], spec, m)
	}
	update := &cobra.Command{Use: "update NAME", Short: "Replace the value of a secret", Args: exactly("NAME"), ValidArgsFunction: s.completeNames(n, 1),
		Example: "  virga secret update db-password --from-file new.txt"}
	fresh := addSecretValue(update)
	addDryRun(update)
	update.RunE = func(cmd *cobra.Command, args []string) error {
		spec, err := fresh.spec(cmd, true)
		if err != nil {
			return err
		}
		return s.patch(cmd, n, args[0], map[string]any{"spec": spec}, "has a new value")
	}
	return []*cobra.Command{secretShow(s, n), create, update, secretRotate(s)}
}

// secretShow is show, which gives the bare value if that is asked for.
func secretShow(s *session, n *noun) *cobra.Command {
	var reveal bool
	c := n.showCommand(s)
	c.Example += "\n  virga secret show db-password --reveal"
	c.Flags().BoolVar(&reveal, "reveal", false, "write the value alone, as it is")
	record := c.RunE
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if !reveal {
			return record(cmd, args)
		}
		var out struct {
			Value []byte `json:"value"`
		}
		if err := s.do(cmd.Context(), client.Call{Method: "POST", Path: s.path(n, s.project, n.spelled(args[0]), "reveal"), In: map[string]any{}, Out: &out}); err != nil {
			return err
		}
		_, err := cmd.OutOrStdout().Write(out.Value)
		return err
	}
	return c
}

func secretRotate(s *session) *cobra.Command {
	return &cobra.Command{Use: "rotate-key", Short: "Make a new key for the secrets of the cloud", Args: cobra.NoArgs,
		Long:    "New values use the key at once. What older keys wrap is wrapped anew within minutes, and then the\nolder keys go. No value changes. For administrators.",
		Example: "  virga secret rotate-key",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var out struct {
				KeyID string `json:"keyID"`
			}
			if err := s.do(cmd.Context(), client.Call{Method: "POST", Path: "/v1/secretkeys/rotate", In: nil, Out: &out}); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "key %s wraps secrets from now on\n", out.KeyID)
			return nil
		}}
}

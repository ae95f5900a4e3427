package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Document writes the reference of all commands as markdown.
func Document(root *cobra.Command, w io.Writer) error {
	out := &strings.Builder{}
	fmt.Fprintf(out, "# Command line\n\nMade from the program; do not edit.\n\n```\n%s\n```\n\n## Flags of every command\n\n", root.Long)
	flagTable(out, root.PersistentFlags())
	for _, g := range root.Groups() {
		fmt.Fprintf(out, "\n## %s\n", strings.TrimSuffix(g.Title, ":"))
		for _, c := range root.Commands() {
			if c.GroupID == g.ID && c.IsAvailableCommand() {
				documentCommand(out, c)
			}
		}
	}
	_, err := io.WriteString(w, out.String())
	return err
}

func documentCommand(out *strings.Builder, c *cobra.Command) {
	depth := 2 + strings.Count(c.CommandPath(), " ")
	fmt.Fprintf(out, "\n%s %s\n\n", strings.Repeat("#", depth), c.CommandPath())
	text := c.Long
	if text == "" {
		text = c.Short + "."
	}
	fmt.Fprintln(out, strings.ReplaceAll(text, "<", "\\<"))
	if !c.HasAvailableSubCommands() {
		fmt.Fprintf(out, "\n```\n%s\n\n%s\n```\n", c.UseLine(), c.Example)
	}
	if local := c.NonInheritedFlags(); local.HasAvailableFlags() {
		fmt.Fprintln(out)
		flagTable(out, local)
	}
	for _, verb := range c.Commands() {
		if verb.IsAvailableCommand() {
			documentCommand(out, verb)
		}
	}
}

func flagTable(out *strings.Builder, flags *pflag.FlagSet) {
	rows := 0
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" || f.Name == "version" {
			return
		}
		if rows++; rows == 1 {
			fmt.Fprint(out, "| flag | meaning |\n|---|---|\n")
		}
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		kind, usage := pflag.UnquoteUsage(f)
		if kind != "" {
			name += " " + kind
		}
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" && f.DefValue != "[]" {
			usage += " (default " + f.DefValue + ")"
		}
		fmt.Fprintf(out, "| `%s` | %s |\n", name, strings.ReplaceAll(usage, "|", "\\|"))
	})
}

package cli

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/virga-cloud/virga/client"
)

// noun is a kind of records on the command line.
type noun struct {
	api     client.Kind[record]
	typed   string // what people type for it; empty: the kind
	says    string // what sentences call one of it; empty: the kind
	aliases []string
	group   string
	short   string // one line for the help
	long    string
	sample  string // a name for examples
	columns []column
	// verbs are the general ones that the noun has, of list, show, label, delete.
	verbs    []string
	inner    bool                          // what the cloud makes for itself: shown by `virga inspect`
	states   []string                      // words of its state that it may be waited for to be in
	life     func(*lookup, *record) string // its state, where that is not the phase
	own      []goal                        // what else it may be waited for to be
	goalHelp string                        // says it in sentences
	commands func(*session, *noun) []*cobra.Command
	// spell makes a record's name of what people write.
	spell func(string) string
	// order puts a list into the order that people want; none: by name.
	order func(a, b *record) int
	// filter adds flags to list that narrow it.
	filter func(*session, *cobra.Command) func(context.Context, []*record) ([]*record, error)
	// removal adds flags to delete by which it is asked for in another way; it says whether it was.
	removal func(*session, *cobra.Command) func(context.Context, *record) (asked bool, err error)
}

// The groups of the help.
const (
	groupVMs     = "vms"
	groupNetwork = "network"
	groupStorage = "storage"
	groupCloud   = "cloud"
	groupHelp    = "help"
	// RunGroup is the group of the commands that start and end the daemon.
	RunGroup = "run"
)

var everyVerb = []string{"list", "show", "label", "delete"}

// nouns are all of them, in the order of the help.
func nouns() []*noun {
	return []*noun{vms(), vmSnapshots(), images(), instances(), affinityRules(), networks(), subnets(), ports(), securityGroups(), volumes(), snapshots(), datastores(), storages(), devices(),
		hosts(), clusters(), pools(), projects(), users(), tokens(), sessions(), secrets(), operations(), tasks(), events(), claims(), livenesses(), evacuations(), removals(),
		attachments(), allocations(), imageCopies(), portBindings(), dnsZones()}
}

// nounOf finds a noun by its kind, its plural or an alias.
func nounOf(word string) *noun {
	if word == "" { // a noun that is typed as its kind is called has no other word
		return nil
	}
	for _, n := range nouns() {
		if n.api.Name == word || n.typed == word || n.api.Plural == word || slices.Contains(n.aliases, word) {
			return n
		}
	}
	return nil
}

func (n *noun) spelled(name string) string {
	if n.spell != nil {
		return n.spell(name)
	}
	return name
}

// word is what people type for it.
func (n *noun) word() string { return cmp.Or(n.typed, n.api.Name) }

// one and many are what sentences call it.
func (n *noun) one() string { return cmp.Or(n.says, n.api.Name) }

func (n *noun) many() string {
	if n.says != "" {
		return n.says + "s"
	}
	return n.api.Plural
}

// article is "a" or "an".
func (n *noun) article() string {
	if strings.ContainsRune("aeio", rune(n.one()[0])) {
		return "an"
	}
	return "a"
}

func (n *noun) has(verb string) bool { return slices.Contains(n.verbs, verb) }

// command makes the noun's command with all of its verbs.
func (n *noun) command(s *session) *cobra.Command {
	c := &cobra.Command{Use: n.word(), Aliases: append([]string{n.api.Plural}, n.aliases...), GroupID: n.group,
		Short: n.short, Long: sentence(n.short) + "\n\n" + n.long}
	requireVerb(c)
	add := func(verbs ...string) {
		for _, verb := range verbs {
			if n.has(verb) {
				c.AddCommand(n.general(s, verb))
			}
		}
	}
	add("list", "show")
	if n.commands != nil {
		c.AddCommand(n.commands(s, n)...)
	}
	add("label")
	if n.has("delete") {
		c.AddCommand(n.renameCommand(s), n.editCommand(s), n.waitCommand(s))
	}
	add("delete")
	return c
}

// general is a verb that all nouns have in the same way.
func (n *noun) general(s *session, verb string) *cobra.Command {
	switch verb {
	case "list":
		return n.listCommand(s)
	case "show":
		return n.showCommand(s)
	case "label":
		return n.labelCommand(s)
	}
	return n.deleteCommand(s)
}

// sentence begins with a capital letter and ends with a full stop.
func sentence(text string) string { return strings.ToUpper(text[:1]) + text[1:] + "." }

// requireVerb makes a command that only has verbs: alone it shows its help, an unknown verb is refused.
func requireVerb(c *cobra.Command) {
	c.SuggestionsMinimumDistance = 2
	c.Args = cobra.ArbitraryArgs
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		return unknownWord(cmd, args)
	}
}

// unknownWord refuses a command that is not there, and says which ones are near it.
func unknownWord(cmd *cobra.Command, words []string) error {
	word := words[0]
	var there []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			there = append(there, c.Name())
		}
	}
	near := sameHere(cmd, word)
	if len(near) == 0 {
		near = cmd.SuggestionsFor(word)
	}
	if !cmd.HasParent() && len(words) > 1 { // the verb first, as some have it
		if n, _, err := cmd.Find(words[1:2]); err == nil && n != cmd && n.HasSubCommands() {
			return refuse("there is no %q; the noun comes first: %s %s", word, n.CommandPath(), word)
		}
	}
	what, help := called(cmd)+" has no", cmd.CommandPath()+" --help"
	if !cmd.HasParent() {
		what = "there is no"
	}
	switch {
	case len(near) > 0:
		return refuse("%s %q; did you mean %s?", what, word, strings.Join(near, " or "))
	case len(there) <= 14:
		return refuse("%s %q; it has %s", what, word, strings.Join(there, ", "))
	}
	return refuse("%s %q; `%s` lists what there is", what, word, help)
}

// called is a command without the program's name, which every complaint begins with.
func called(cmd *cobra.Command) string {
	_, rest, _ := strings.Cut(cmd.CommandPath(), " ")
	return rest
}

// Arguments is exactly, for the commands that start and end the daemon.
func Arguments(names ...string) cobra.PositionalArgs { return exactly(names...) }

// exactly wants n arguments, and says which.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < len(names) {
			return refuse("%s: %s is missing; see `%s --help`", called(cmd), names[len(args)], cmd.CommandPath())
		}
		if len(args) > len(names) {
			return refuse("%s: %q is too much; see `%s --help`", called(cmd), args[len(names)], cmd.CommandPath())
		}
		return nil
	}
}

func atLeast(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return refuse("%s: %s is missing; see `%s --help`", called(cmd), name, cmd.CommandPath())
		}
		return nil
	}
}

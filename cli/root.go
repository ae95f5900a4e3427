package cli

import (
	"context"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const overview = `Virga runs virtual machines, networks and disks on one host or on many.

  virga up                                        start a cloud on this host
  virga image build tiny --wait                   a Linux that boots in seconds
  virga vm create web --image tiny --wait         a VM
  virga vm console web                            its console; leave with Ctrl-]
  virga explain vm web                            why it is as it is

Sizes have a unit: 512MiB, 10GiB. Exit codes: 0 done, 2 invalid, 3 unauthenticated, 4 denied,
5 not found, 6 exists, 7 changed meanwhile, 8 not in the needed state, 9 no capacity,
10 unavailable, 11 too late, 12 stale, 1 anything else, 130 interrupted.`

const usage = `Usage:
  {{if .HasAvailableSubCommands}}{{.CommandPath}} {{if .HasParent}}VERB{{else}}NOUN VERB{{end}}{{else}}{{.UseLine}}{{end}}{{if gt (len .Aliases) 0}}

Also:
  {{.NameAndAliases}}{{end}}{{if .HasExample}}

Examples:
{{.Example}}{{end}}{{if .HasAvailableSubCommands}}{{$all := .Commands}}{{if eq (len .Groups) 0}}

Verbs:{{range $all}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{else}}{{range $group := .Groups}}{{if hasCommands $all .ID}}

{{.Title}}{{range $all}}{{if and (eq .GroupID $group.ID) (or .IsAvailableCommand (eq .Name "help"))}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}{{end}}{{end}}{{end}}{{if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}{{if .HasAvailableInheritedFlags}}

Flags of every command:
{{.InheritedFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}{{if .HasAvailableSubCommands}}

{{if .HasParent}}{{.CommandPath}} VERB --help says more of a verb.{{else}}virga NOUN --help lists the verbs of a noun, virga NOUN VERB --help says more of a verb.{{end}}{{end}}
`

// hasCommands keeps empty groups out of the help.
func hasCommands(all []*cobra.Command, group string) bool {
	for _, c := range all {
		if c.GroupID == group && (c.IsAvailableCommand() || c.Name() == "help") {
			return true
		}
	}
	return false
}

// New makes the program without the commands that start and end the daemon.
func New(version string) *cobra.Command { return assemble(&session{now: time.Now}, version) }

func assemble(s *session, version string) *cobra.Command {
	root := &cobra.Command{Use: "virga", Short: "A cloud operating system", Long: overview, Version: version,
		SilenceErrors: true, SilenceUsage: true}
	cobra.EnableCommandSorting = false
	cobra.AddTemplateFunc("hasCommands", hasCommands)
	root.SetUsageTemplate(usage)
	s.root = root
	root.SetVersionTemplate("virga {{.Version}}\n")
	requireVerb(root)
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		watchOutput(root)
		return s.settleFor(cmd)
	}
	s.addFlags(root)
	s.completeFlag(root, "project", "project")
	root.SetFlagErrorFunc(flagError)
	for _, g := range []cobra.Group{{ID: RunGroup, Title: "This host:"}, {ID: groupVMs, Title: "VMs:"}, {ID: groupNetwork, Title: "Networks:"},
		{ID: groupStorage, Title: "Disks and storage:"}, {ID: groupCloud, Title: "The cloud:"}, {ID: groupHelp, Title: "This program:"}} {
		root.AddGroup(&g)
	}
	root.AddCommand(s.auditCommand())
	inspect := &cobra.Command{Use: "inspect", Short: "What the cloud makes for itself, to look at", GroupID: groupCloud,
		Long: "What the cloud makes for itself, to look at.\n\nThese records stand between what people write and what hosts do; nobody writes them by hand."}
	requireVerb(inspect)
	for _, n := range nouns() {
		c := n.command(s)
		if root.AddCommand(c); n.inner {
			c.Hidden = true // the short way for those who know the word
			c = n.command(s)
			c.GroupID = ""
			inspect.AddCommand(c)
		}
	}
	root.AddCommand(inspect)
	root.AddCommand(s.statusCommand(), s.explainCommand(), s.applyCommand(), s.loginCommand(), s.contextCommand())
	root.SetHelpCommandGroupID(groupHelp)
	root.SetCompletionCommandGroupID(groupHelp)
	takeOnce(root)
	return root
}

// Run executes the program and gives its exit code.
func Run(root *cobra.Command) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := root.ExecuteContext(ctx)
	if err == nil {
		err = lostOutput(root)
	}
	if err != nil {
		complain(root.ErrOrStderr(), err)
	}
	return exitCode(err)
}

var badValue = regexp.MustCompile(`^invalid argument ("(?:[^"\\]|\\.)*") for "(?:-\w, )?(--[a-z-]+)" flag: (.*)$`)

// flagError says what is wrong with a flag, and which one may have been meant.
func flagError(cmd *cobra.Command, err error) error {
	if words := cmd.Flags().Args(); cmd.HasSubCommands() && len(words) > 0 { // the flag is one of a verb that is not there
		return unknownWord(cmd, words)
	}
	if unknown, ok := strings.CutPrefix(err.Error(), "unknown flag: --"); ok {
		word, _, _ := strings.Cut(unknown, "=")
		near := nearest(cmd, word)
		if near == "" {
			return refuse("%s has no flag --%s; see `%s --help`", called(cmd), word, cmd.CommandPath())
		}
		return refuse("%s has no flag --%s; did you mean --%s?", called(cmd), word, near)
	}
	if m := badValue.FindStringSubmatch(err.Error()); m != nil {
		if strings.Contains(m[3], "strconv.") {
			m[3] = "it is no whole number"
		}
		if strings.HasPrefix(m[3], "time: ") {
			m[3] = "it is no length of time, for example 30s or 5m"
		}
		if strings.HasPrefix(m[3], m[1]) || strings.HasPrefix(m[3], "it is empty;") || strings.HasPrefix(m[3], "it is given twice") {
			return refuse("%s: %s", m[2], m[3]) // perhaps a secret: it is not repeated
		}
		return refuse("%s %s: %s", m[2], m[1], m[3])
	}
	return refuse("%s: %v; see `%s --help`", called(cmd), err, cmd.CommandPath())
}

// nearest finds the flag whose name is nearly the word.
func nearest(cmd *cobra.Command, word string) (name string) {
	best := max(2, len(word)/3) + 1
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		d := distance(word, f.Name)
		if len(word) > 1 && strings.HasPrefix(f.Name, word) {
			d = 0
		}
		if !f.Hidden && d < best {
			best, name = d, f.Name
		}
	})
	return name
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := diagonal
			if a[i-1] != b[j-1] {
				change++
			}
			diagonal = row[j]
			row[j] = min(change, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}

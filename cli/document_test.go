package cli

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// verbs lists all commands that do something.
func verbs(c *cobra.Command) []*cobra.Command {
	if !c.HasSubCommands() {
		return []*cobra.Command{c}
	}
	var out []*cobra.Command
	for _, x := range c.Commands() {
		out = append(out, verbs(x)...)
	}
	return out
}

func TestEveryVerbIsExplainedAndHasAnExampleThatItUnderstands(t *testing.T) {
	all := verbs(New("test"))
	if len(all) < 70 {
		t.Errorf("only %d verbs", len(all))
	}
	for _, c := range all {
		path := c.CommandPath()
		if c.Short == "" || c.Example == "" {
			t.Errorf("%s: no short description or no example", path)
		}
		if strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: the short description ends with a full stop", path)
		}
		if c.Args == nil {
			t.Errorf("%s does not say which arguments it takes", path)
		}
		understood(t, c)
	}
}

// understood checks that the examples of a verb name commands, flags and arguments that are there.
func understood(t *testing.T, c *cobra.Command) {
	t.Helper()
	for line := range strings.SplitSeq(strings.ReplaceAll(c.Example, "\\\n", " "), "\n") {
		words := strings.Fields(strings.NewReplacer("'", "", "$(", "", ")", "", "export VIRGA_TOKEN=", "").Replace(line))
		if len(words) == 0 || words[0] != "virga" {
			continue
		}
		for i, w := range words {
			if w == "|" {
				words = words[:i]
				break
			}
		}
		root := New("test")
		found, rest, err := root.Find(words[1:])
		if err == nil {
			err = found.ParseFlags(rest)
		}
		if err == nil {
			err = found.ValidateArgs(found.Flags().Args())
		}
		if err != nil || found.HasSubCommands() {
			t.Errorf("%s: the example %q is not understood: %v", c.CommandPath(), strings.TrimSpace(line), err)
		}
	}
}

func TestTheReferenceHasEveryVerb(t *testing.T) {
	var out strings.Builder
	root := New("test")
	if err := Document(root, &out); err != nil {
		t.Fatal(err)
	}
	for _, c := range verbs(root) {
		if c.Parent().Hidden {
			continue // it is there below virga inspect
		}
		if !strings.Contains(out.String(), "# "+c.CommandPath()+"\n") {
			t.Errorf("%s is not in the reference", c.CommandPath())
		}
	}
	if again := new(strings.Builder); Document(New("test"), again) != nil || again.String() != out.String() {
		t.Error("the reference is another one the second time")
	}
}

func TestSizesAreSaidInTheLargestUnitThatFits(t *testing.T) {
	for mib, want := range map[int64]string{0: "-", 1: "1MiB", 1023: "1023MiB", 1024: "1GiB", 1536: "1.5GiB", 1 << 20: "1TiB", 24064: "23.5GiB"} {
		if got := size(mib); got != want {
			t.Errorf("%d MiB: %s, wanted %s", mib, got, want)
		}
	}
}

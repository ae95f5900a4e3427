package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

type completer = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// completeNames offers the names of the records that are there, for the first few arguments; -1: for all.
func (s *session) completeNames(n *noun, arguments int) completer {
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if arguments >= 0 && len(args) >= arguments {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return s.namesOf(cmd, n, typed)
	}
}

func (s *session) namesOf(cmd *cobra.Command, n *noun, typed string) ([]string, cobra.ShellCompDirective) {
	ctx := cmd.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if s.settle() != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	records, err := s.list(ctx, n, s.project)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	for _, r := range records {
		if strings.HasPrefix(r.Name, typed) {
			out = append(out, r.Name)
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// choice is the value of a flag that is one of a few words.
type choice struct {
	pflag.Value
	words []string
}

func (c *choice) Set(text string) error {
	if !slices.Contains(c.words, text) {
		return refuse("there is %s", strings.Join(c.words, ", "))
	}
	return c.Value.Set(text)
}

// completeFlag offers the names of records as the value of a flag.
func (s *session) completeFlag(c *cobra.Command, flag, kind string) {
	_ = c.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		return s.namesOf(cmd, nounOf(kind), typed)
	})
}

// fixed makes a flag take one of a few words only, and offers them.
func fixed(c *cobra.Command, flag string, words ...string) {
	f := c.Flags().Lookup(flag)
	f.Value = &choice{Value: f.Value, words: words}
	_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/virga-cloud/virga/client"
)

// goal is something that people wait for a record to be.
type goal struct {
	word string // what they write
	says string // what is said while it is not so, after "waits"
	done string // what is said when it is so
	// reached reports whether it is so; an error is why it never will be.
	reached func(context.Context, *session, *record) (bool, error)
}

// The goals of every noun.
const (
	ready   = "ready"
	deleted = "deleted"
)

// goals are what one may wait for a noun to be, beside ready and deleted: its states, and its own.
func (n *noun) goals() []goal {
	var out []goal
	for _, word := range n.states {
		out = append(out, goal{word: word, says: "until it is " + word, done: "is " + word,
			reached: func(ctx context.Context, s *session, r *record) (bool, error) {
				return n.stateOf(&lookup{s, ctx}, r) == word, nil
			}})
	}
	return append(out, n.own...)
}

// stateOf is the word for how a record is.
func (n *noun) stateOf(s *lookup, r *record) string {
	if n.life != nil {
		return n.life(s, r)
	}
	return r.state()
}

func (n *noun) goalWords() []string {
	out := []string{ready, deleted}
	for _, g := range n.goals() {
		out = append(out, g.word)
	}
	return out
}

func (n *noun) waitCommand(s *session) *cobra.Command {
	var what string
	c := &cobra.Command{Use: "wait NAME...", Short: "Wait until " + n.many() + " are ready, deleted, or in a state", Args: atLeast("NAME"),
		Long: "Wait until " + n.many() + " are what --for says: " + strings.Join(n.goalWords(), ", ") + ".\n" + n.goalHelp +
			"What is not so when --timeout is over ends the command with exit code 10.",
		Example:           fmt.Sprintf("  virga %s wait %s\n  virga %s wait %s --for deleted --timeout 5m", n.word(), n.sample, n.word(), n.sample),
		ValidArgsFunction: s.completeNames(n, -1)}
	c.Flags().StringVar(&what, "for", ready, "what is waited for: "+strings.Join(n.goalWords(), ", "))
	limit := c.Flags().Duration("timeout", 10*time.Minute, "how long to wait at most")
	fixed(c, "for", n.goalWords()...)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		return each(cmd, args, func(name string) error {
			word, err := s.waitFor(cmd, n, name, what, *limit)
			if err == nil {
				fmt.Fprintf(cmd.OutOrStdout(), "%s %s %s\n", n.one(), name, word)
			}
			return err
		})
	}
	return c
}

// waitFor waits for one record, and says in words what it is then.
func (s *session) waitFor(cmd *cobra.Command, n *noun, name, what string, limit time.Duration) (word string, err error) {
	r, err := s.get(cmd.Context(), n, s.project, name)
	switch {
	case what == deleted && client.IsKind(err, "not-found"):
		return "is deleted", nil
	case err != nil:
		return "", err
	case what == ready:
		r, err = s.ready(cmd, n, r, limit)
		return "is " + strings.Replace(n.stateOf(&lookup{s, cmd.Context()}, r), "-", ready, 1), err
	case what == deleted:
		gone := goal{word: deleted, says: "until it is deleted", reached: func(context.Context, *session, *record) (bool, error) { return false, nil }}
		if _, err = s.until(cmd, n, r, gone, limit); client.IsKind(err, "not-found") {
			return "is deleted", nil
		}
		return "", err
	}
	g := n.goals()[slices.IndexFunc(n.goals(), func(g goal) bool { return g.word == what })]
	_, err = s.until(cmd, n, r, g, limit)
	return g.done, err
}

// until looks again and again until a record is what is wanted, also while its server is started anew.
func (s *session) until(cmd *cobra.Command, n *noun, r *record, g goal, limit time.Duration) (*record, error) {
	ctx, begin := cmd.Context(), time.Now()
	p := newProgress(cmd)
	defer p.end()
	for {
		s.forget()
		fresh, err := s.get(ctx, n, r.Project, r.ID)
		if err == nil {
			r = fresh
			var done bool
			if done, err = g.reached(ctx, s, r); done {
				return r, nil
			}
		}
		if err != nil && !client.IsKind(err, "unavailable") {
			return r, err
		}
		if time.Since(begin) >= limit {
			return r, fail("unavailable", "%s %s: waited %s %s (%s); `virga explain %s %s` says more", n.one(), r.Name, limit, g.says, doing(r, ""), n.word(), r.Name)
		}
		p.say(fmt.Sprintf("%s %s: %s; waits %s (%s)", n.one(), r.Name, s.underWay(ctx, r), g.says, age(begin, time.Now())))
		select {
		case <-ctx.Done():
			return r, ctx.Err()
		case <-time.After(min(500*time.Millisecond, max(limit-time.Since(begin), time.Millisecond))):
		}
	}
}

// forget drops what was remembered of other records.
func (s *session) forget() { s.known, s.lists = nil, nil }

// addWaitFor lets a command wait for more than that its record is ready.
func addWaitFor(c *cobra.Command, n *noun, p *patience) {
	words := []string{ready}
	for _, g := range n.own {
		words = append(words, g.word)
	}
	c.Flags().Var(&waiting{p}, "wait-for", "wait, and for more than --wait does: "+strings.Join(words, ", "))
	fixed(c, "wait-for", words...)
}

// waiting is the flag --wait-for, which waits as --wait does.
type waiting struct{ p *patience }

func (w *waiting) String() string { return "" }
func (w *waiting) Type() string   { return "what" }
func (w *waiting) Set(word string) error {
	w.p.wait, w.p.until = true, word
	return nil
}

// more waits for what --wait-for asks beyond ready, and says what is so then.
func (s *session) more(cmd *cobra.Command, n *noun, r *record, p *patience) (*record, string, error) {
	word := "is " + r.state()
	for _, g := range n.own {
		if g.word == p.until {
			now, err := s.until(cmd, n, r, g, p.limit)
			return now, word + ", and " + g.done, err
		}
	}
	return r, word, nil
}

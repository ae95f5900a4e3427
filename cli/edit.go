package cli

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/virga-cloud/virga/client"
)

func (n *noun) editCommand(s *session) *cobra.Command {
	return &cobra.Command{Use: "edit NAME", Short: "Change " + n.article() + " " + n.one() + " in an editor", Args: exactly("NAME"), ValidArgsFunction: s.completeNames(n, 1),
		Long: "Open labels and spec of " + n.article() + " " + n.one() + " in the editor of $VISUAL or $EDITOR, and send what was changed.\n" +
			"What the server refuses is shown in the editor, with what was typed. What others change meanwhile stays,\n" +
			"unless it is the same field: then it is shown too.",
		Example: fmt.Sprintf("  virga %s edit %s\n  EDITOR=nano virga %s edit %s", n.word(), n.sample, n.word(), n.sample),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := s.get(cmd.Context(), n, s.project, args[0])
			if err != nil {
				return err
			}
			e := &editing{session: s, cmd: cmd, noun: n, r: r, text: writable(r)}
			return e.run()
		}}
}

// editing is one person's change of one record.
type editing struct {
	*session
	cmd  *cobra.Command
	noun *noun
	r    *record // that the text was made of
	text string  // as the editor shows it, without remarks
	why  error   // why the last attempt was refused
}

// run opens the editor until what was typed is taken, or nothing more is typed.
func (e *editing) run() error {
	for {
		typed, err := e.open()
		if err != nil {
			return e.kept(err)
		}
		if typed == e.text {
			if e.why != nil {
				return e.kept(e.why)
			}
			fmt.Fprintf(e.cmd.OutOrStdout(), "%s %s is unchanged\n", e.noun.one(), e.r.Name)
			return nil
		}
		e.text = typed
		change, err := e.change()
		if err == nil {
			err = e.send(change)
		}
		switch {
		case err == nil:
			return nil
		case client.IsKind(err, "unavailable"), client.IsKind(err, "denied"), client.IsKind(err, "not-found"), e.cmd.Context().Err() != nil:
			return e.kept(err) // the editor would not help
		}
		e.why = err
	}
}

// change is what was typed as a merge patch of what it was made of.
func (e *editing) change() (map[string]any, error) {
	var want map[string]any
	data, err := yaml.YAMLToJSONStrict([]byte(e.text))
	if err == nil {
		d := json.NewDecoder(bytes.NewReader(data))
		d.UseNumber()
		err = d.Decode(&want)
	}
	if err != nil {
		return nil, refuse("what was typed is no YAML: %v", err)
	}
	return mergePatch(halves(e.r), want), nil
}

// send sends a change, also when others have changed something else since.
func (e *editing) send(change map[string]any) error {
	for attempt := 0; ; attempt++ {
		after := &record{}
		err := e.do(e.cmd.Context(), client.Call{Method: "PATCH", Path: e.path(e.noun, e.r.Project, e.r.ID), In: change, Out: after, IfMatch: e.r.Revision})
		if err == nil {
			word := "changed"
			if len(change) == 0 {
				word = "unchanged"
			}
			fmt.Fprintf(e.cmd.OutOrStdout(), "%s %s is %s\n", e.noun.one(), after.Name, word)
			return nil
		}
		if !client.IsKind(err, "stale") || attempt == 20 {
			return err
		}
		fresh, err := e.get(e.cmd.Context(), e.noun, e.r.Project, e.r.ID)
		if err != nil {
			return err
		}
		theirs := mergePatch(halves(e.r), halves(fresh))
		e.r = fresh
		if same := overlap("", theirs, change); len(same) > 0 {
			// Theirs stays where only they changed, and what was typed where both did: the person decides.
			out, err := yaml.Marshal(merged(halves(fresh), change))
			if err == nil {
				e.text = string(out)
			}
			return fail("stale", "somebody has changed %s meanwhile: %s; what you typed is below, and is taken when it is saved again", strings.Join(same, ", "), plain(theirs))
		}
	}
}

// open lets the person type, and gives it without remarks.
func (e *editing) open() (string, error) {
	f, err := os.CreateTemp("", "virga-"+e.noun.word()+"-*.yaml")
	if err != nil {
		return e.text, fail("internal", "make a file for the editor: %v", err)
	}
	defer os.Remove(f.Name())
	remarks := "# " + e.noun.one() + " " + oneLine(e.r.Name) + ": change it, save, and leave the editor. Lines that begin with # are remarks.\n"
	if e.why != nil {
		for line := range strings.SplitSeq(harmless(e.why.Error()), "\n") {
			remarks += "# REFUSED: " + line + "\n"
		}
		remarks += "# To give up, leave without a change.\n"
	}
	_, err = f.WriteString(remarks + e.text)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return e.text, fail("internal", "write the file for the editor: %v", err)
	}
	editor := cmp.Or(os.Getenv("VISUAL"), os.Getenv("EDITOR"), "vi")
	run := exec.CommandContext(e.cmd.Context(), "sh", "-c", editor+` "$@"`, editor, f.Name()) // it may have arguments
	run.Stdin, run.Stdout, run.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := run.Run(); err != nil {
		return e.text, fail("invalid", "the editor %s failed: %v; $VISUAL or $EDITOR names another", editor, err)
	}
	data, err := os.ReadFile(f.Name())
	if err != nil {
		return e.text, fail("internal", "read what was typed: %v", err)
	}
	var out strings.Builder
	for line := range strings.Lines(string(data)) {
		if !strings.HasPrefix(line, "#") {
			out.WriteString(line)
		}
	}
	return out.String(), nil
}

// kept writes what was typed where it can be found, before the command fails.
func (e *editing) kept(err error) error {
	if e.text == writable(e.r) {
		return err
	}
	f, cannot := os.CreateTemp("", "virga-"+e.noun.word()+"-kept-*.yaml")
	if cannot == nil {
		_, cannot = f.WriteString(e.text)
		_ = f.Close()
	}
	if cannot != nil {
		return err
	}
	return fmt.Errorf("%w; what you typed is kept in %s", err, f.Name())
}

// mergePatch is what makes b of a, by RFC 7396.
func mergePatch(a, b map[string]any) map[string]any {
	out := map[string]any{}
	for key := range a {
		if _, there := b[key]; !there {
			out[key] = nil
		}
	}
	for key, v := range b {
		x, isMap := a[key].(map[string]any)
		y, becomesMap := v.(map[string]any)
		if isMap && becomesMap {
			if inner := mergePatch(x, y); len(inner) > 0 {
				out[key] = inner
			}
		} else if !reflect.DeepEqual(a[key], v) {
			out[key] = v
		}
	}
	return out
}

// merged is a with a merge patch on top.
func merged(a, patch map[string]any) map[string]any {
	out := maps.Clone(a)
	if out == nil {
		out = map[string]any{}
	}
	for key, v := range patch {
		inner, isMap := v.(map[string]any)
		x, _ := a[key].(map[string]any)
		switch {
		case v == nil:
			delete(out, key)
		case isMap:
			out[key] = merged(x, inner)
		default:
			out[key] = v
		}
	}
	return out
}

// overlap names the fields that two patches both change.
func overlap(at string, a, b map[string]any) []string {
	var out []string
	for key, v := range a {
		w, both := b[key]
		if !both || reflect.DeepEqual(v, w) {
			continue
		}
		x, isMap := v.(map[string]any)
		y, alsoMap := w.(map[string]any)
		if isMap && alsoMap {
			out = append(out, overlap(at+key+".", x, y)...)
		} else {
			out = append(out, at+key)
		}
	}
	slices.Sort(out)
	return out
}

// addDryRun lets a command ask what would be.
func addDryRun(c *cobra.Command) {
	c.Flags().Bool("dry-run", false, "let the server judge it, and change nothing")
}

// dryRun reports whether a command only asks what would be, and how it says so to the server.
func dryRun(cmd *cobra.Command) (bool, url.Values) {
	if f := cmd.Flags().Lookup("dry-run"); f == nil || f.Value.String() != "true" {
		return false, nil
	}
	return true, url.Values{"dryRun": {"true"}}
}

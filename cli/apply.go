package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/virga-cloud/virga/client"
)

// wanted is one document of a file: a record as somebody wants it.
type wanted struct {
	noun          *noun
	name, project string
	change        map[string]any // labels and spec, what is named of them
}

func (s *session) applyCommand() *cobra.Command {
	var file string
	var dry bool
	c := &cobra.Command{Use: "apply -f FILE", Short: "Create or change what a file says", GroupID: groupCloud, Args: exactly(),
		Long: "Create the records that a file describes, and change those that are there already to what it says. What a\n" +
			"document does not name stays as it is; null takes a field away. The file is YAML or JSON, with one document or\n" +
			"many, in the order in which they are to be made; what `show -o yaml` and `list -o yaml` print is understood,\n" +
			"without what the cloud itself says in it. Names are good where the API has ids.\n\n" +
			"With --dry-run the server judges each document by itself, and what would change is shown.",
		Example: "  virga apply -f web.yaml --wait\n  virga apply -f web.yaml --dry-run\n  virga network show lan -o yaml | virga --project other apply -f -"}
	c.Flags().StringVarP(&file, "file", "f", "", "the file; - is standard input")
	c.Flags().BoolVar(&dry, "dry-run", false, "show what would change, and change nothing")
	p := addPatience(c, "everything is ready, or cannot become ready")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if file == "" {
			return refuse("apply: say which file by -f; -f - is standard input")
		}
		data, err := readBytes(cmd.InOrStdin(), file)
		if err != nil {
			return refuse("apply: %v", err)
		}
		all, err := s.documents(data)
		if err != nil {
			return fmt.Errorf("apply %s: %w", file, err)
		}
		if dry {
			return s.applyDry(cmd, all)
		}
		var made []*record
		for i, w := range all {
			r, word, err := s.apply(cmd, w, nil)
			if err != nil {
				if left := len(all) - i - 1; left > 0 {
					err = fmt.Errorf("%w (%d more in the file after it: not applied)", err, left)
				}
				return fmt.Errorf("apply %s %s: %w", w.noun.one(), w.name, err)
			}
			made = append(made, r)
			fmt.Fprintf(cmd.OutOrStdout(), "%s %s is %s\n", w.noun.one(), w.name, word)
		}
		for i := 0; p.wait && i < len(made); i++ {
			if _, err := s.ready(cmd, all[i].noun, made[i], p.limit); err != nil {
				return err
			}
		}
		return nil
	}
	return c
}

// applyDry asks the server of each document, and shows what it would change.
func (s *session) applyDry(cmd *cobra.Command, all []wanted) (first error) {
	for _, w := range all {
		old := ""
		before, err := s.get(cmd.Context(), w.noun, w.project, w.name)
		if err == nil {
			old = writable(before)
		}
		r, word, err := s.apply(cmd, w, url.Values{"dryRun": {"true"}})
		if err != nil {
			err = fmt.Errorf("apply %s %s: %w", w.noun.one(), w.name, err)
			if first == nil {
				first = err
			} else {
				complain(cmd.ErrOrStderr(), err)
			}
			continue
		}
		if word == "unchanged" {
			fmt.Fprintf(cmd.OutOrStdout(), "%s %s is unchanged\n", w.noun.one(), w.name)
			continue
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s %s would be %s\n", w.noun.one(), w.name, word)
		_, lines, _ := bytes.Cut(diff.Diff("as it is", []byte(old), "as it would be", []byte(writable(r))), []byte("\n"))
		fmt.Fprintf(cmd.OutOrStdout(), "%s", lines)
	}
	return first
}

// apply makes one record, or changes it, and says which.
func (s *session) apply(cmd *cobra.Command, w wanted, query url.Values) (*record, string, error) {
	ctx := cmd.Context()
	before, err := s.get(ctx, w.noun, w.project, w.name)
	after := &record{}
	switch {
	case client.IsKind(err, "not-found"):
		in := maps.Clone(w.change)
		in["name"] = w.name
		err = s.do(ctx, client.Call{Method: "POST", Path: s.path(w.noun, w.project), Query: query, In: in, Out: after, Once: true})
		return after, "created", err
	case err != nil:
		return nil, "", err
	case before.Deleting != nil:
		return nil, "", fail("precondition", "it is being deleted; apply again when it is gone")
	}
	if err := s.do(ctx, client.Call{Method: "PATCH", Path: s.path(w.noun, w.project, before.ID), Query: query, In: w.change, Out: after}); err != nil {
		return nil, "", err
	}
	if writable(before) == writable(after) {
		return after, "unchanged", nil
	}
	return after, "changed", nil
}

// writable is what people may write of a record, as YAML.
func writable(r *record) string {
	out, err := yaml.Marshal(halves(r))
	if err != nil {
		return ""
	}
	return string(out)
}

func halves(r *record) map[string]any {
	out := map[string]any{}
	for _, half := range []string{"labels", "spec"} {
		if v, ok := r.tree[half].(map[string]any); ok && len(v) > 0 {
			out[half] = v
		}
	}
	return out
}

// documents reads a file: documents with lines of three dashes between them, each a record or a list of them.
func (s *session) documents(data []byte) ([]wanted, error) {
	var out []wanted
	for i, part := range splitDocuments(data) {
		text, err := yaml.YAMLToJSONStrict(part)
		if err != nil {
			return nil, refuse("document %d is neither YAML nor JSON: %v", i+1, err)
		}
		var v any
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		if err := d.Decode(&v); err != nil && err != io.EOF {
			return nil, refuse("document %d: %v", i+1, err)
		}
		items, isList := v.([]any)
		if v != nil && !isList {
			items = []any{v}
		}
		for _, item := range items {
			w, err := s.wantedOf(item)
			if err != nil {
				return nil, fmt.Errorf("document %d: %w", i+1, err)
			}
			if slices.ContainsFunc(out, func(x wanted) bool {
				return x.noun.api.Name == w.noun.api.Name && x.name == w.name && x.project == w.project
			}) {
				return nil, refuse("document %d: %s %s is there already; describe it once", i+1, w.noun.one(), w.name)
			}
			out = append(out, w)
		}
	}
	if len(out) == 0 {
		return nil, refuse("there is no document in it")
	}
	return out, nil
}

// splitDocuments cuts YAML where a document begins (---) or ends (...). Both stand at the beginning of a
// line, also within quotes and texts, and something may follow in the line.
func splitDocuments(data []byte) [][]byte {
	var out [][]byte
	var part []byte
	for line := range bytes.Lines(data) {
		mark := min(len(line), 3)
		alone := len(line) == mark || strings.ContainsRune(" \t\r\n", rune(line[mark]))
		if word := string(line[:mark]); alone && (word == "---" || word == "...") {
			out, part = append(out, part), nil
			line = line[mark:]
		}
		part = append(part, line...)
	}
	return slices.DeleteFunc(append(out, part), func(p []byte) bool {
		p = bytes.TrimSpace(p)
		return len(p) == 0 || p[0] == '%' // what says of which YAML it is
	})
}

// said are the members of a record that the cloud itself writes; a file that has them was read from it.
var saidByCloud = []string{"id", "projectID", "generation", "revision", "created", "deleting", "holders", "owner", "status"}

func (s *session) wantedOf(item any) (wanted, error) {
	w := wanted{project: s.project, change: map[string]any{}}
	m, ok := item.(map[string]any)
	if !ok {
		return w, refuse("a record is written as kind, name and spec, not as %s", cut(plain(item), 40))
	}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		text, isText := m[key].(string)
		_, isMap := m[key].(map[string]any)
		switch {
		case slices.Contains(saidByCloud, key):
		case slices.Contains([]string{"kind", "name", "project"}, key) && !isText, slices.Contains([]string{"labels", "spec"}, key) && !isMap && m[key] != nil:
			return w, refuse("%s is not what belongs there: kind, name and project are texts, labels and spec have members", key)
		case key == "kind":
			if w.noun = nounOf(text); w.noun == nil {
				return w, refuse("there is no kind %q; there are %s", text, strings.Join(creatable(), ", "))
			}
		case key == "name":
			w.name = text
		case key == "project" && text != "":
			w.project = text
		case key == "project", m[key] == nil:
		case key == "labels" || key == "spec":
			w.change[key] = m[key]
		default:
			return w, refuse("a record has no %q; it has kind, name, project, labels and spec", key)
		}
	}
	if w.noun == nil || strings.TrimSpace(w.name) == "" {
		return w, refuse("kind and name are needed, and one of them is missing")
	}
	if w.change["spec"] == nil {
		w.change["spec"] = map[string]any{}
	}
	w.name = w.noun.spelled(w.name)
	return w, nil
}

// creatable are the kinds that people make.
func creatable() []string {
	var out []string
	for _, n := range nouns() {
		if n.has("delete") {
			out = append(out, n.api.Name)
		}
	}
	return out
}

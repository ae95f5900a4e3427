package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"
)

var formats = []string{"table", "wide", "json", "yaml", "name"}

// format is the flag -o.
type format string

func (f *format) String() string { return string(*f) }
func (f *format) Type() string   { return "format" }
func (f *format) Set(text string) error {
	if path, ok := strings.CutPrefix(text, pathPrefix); ok {
		*f = format(text)
		_, err := parsePath(path)
		return err
	}
	if !slices.Contains(formats, text) {
		return refuse("there is %s, %sPATH", strings.Join(formats, ", "), pathPrefix)
	}
	*f = format(text)
	return nil
}

func addFormat(cmd *cobra.Command) *format {
	f := format("table")
	cmd.Flags().VarP(&f, "output", "o", "output format: "+strings.Join(formats, ", ")+", "+pathPrefix+"PATH")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	return &f
}

// forPeople reports whether sentences and tables are wanted rather than data.
func (f format) forPeople() bool { return f == "table" || f == "wide" }

// data writes records for programs: one alone, or a list.
func (f format) data(w io.Writer, records []*record, list bool) error {
	if f == "name" {
		for _, r := range records {
			fmt.Fprintln(w, r.Name)
		}
		return nil
	}
	if path, ok := strings.CutPrefix(string(f), pathPrefix); ok {
		for _, r := range records {
			if err := writePath(w, path, r.tree); err != nil {
				return err
			}
		}
		return nil
	}
	raws := make([]json.RawMessage, len(records))
	for i, r := range records {
		raws[i] = r.raw
	}
	if list {
		return f.value(w, raws)
	}
	return f.value(w, raws[0])
}

// value writes anything as JSON or YAML.
func (f format) value(w io.Writer, v any) error {
	out, err := json.MarshalIndent(v, "", "  ")
	if path, ok := strings.CutPrefix(string(f), pathPrefix); ok && err == nil {
		var tree any
		if err := json.Unmarshal(out, &tree); err != nil {
			return fail("internal", "write the answer: %v", err)
		}
		return writePath(w, path, tree)
	}
	// What YAML would print as it is, JSON writes in letters, and JSON is YAML.
	if err == nil && f == "yaml" && harmless(string(out)) == string(out) {
		out, err = yaml.JSONToYAML(out)
	}
	if err != nil {
		return fail("internal", "write the answer: %v", err)
	}
	_, err = fmt.Fprintln(w, strings.TrimSuffix(string(out), "\n"))
	return err
}

// printRows writes aligned columns. A column that is empty everywhere is left out.
func printRows(w io.Writer, header []string, rows [][]string) {
	t := table.NewWriter()
	t.SetStyle(table.Style{Box: table.BoxStyle{PaddingRight: "  "}, Format: table.FormatOptions{Header: text.FormatUpper}})
	t.SuppressTrailingSpaces()
	used := func(i int) bool {
		return slices.ContainsFunc(rows, func(row []string) bool { return row[i] != "" })
	}
	line := func(cells []string) table.Row {
		var out table.Row
		for i, cell := range cells {
			if used(i) || header[i] != "Problem" && header[i] != "Labels" {
				if cell = oneLine(cell); cell == "" {
					cell = "-"
				}
				out = append(out, cell)
			}
		}
		return out
	}
	t.AppendHeader(line(header))
	for _, row := range rows {
		t.AppendRow(line(row))
	}
	fmt.Fprintln(w, t.Render())
}

// describe writes one record with everything that people want to know of it.
func describe(w io.Writer, s *lookup, n *noun, r *record) {
	type pair struct{ key, value string }
	pairs := []pair{{"Name", r.Name}, {"ID", r.ID}}
	if n.api.InProject {
		pairs = append(pairs, pair{"Project", r.Project})
	}
	for _, c := range n.columns {
		if c.when == inTable {
			continue
		}
		if v := c.value(s, r); v != "" && v != "-" {
			pairs = append(pairs, pair{c.title, v})
		}
	}
	if len(r.Labels) > 0 {
		pairs = append(pairs, pair{"Labels", labelText(r.Labels)})
	}
	pairs = append(pairs, pair{"Created", r.Created.Local().Format("2006-01-02 15:04:05") + ", " + age(r.Created, s.now()) + " ago"})
	if r.Deleting != nil {
		pairs = append(pairs, pair{"Deleting", "since " + age(*r.Deleting, s.now()) + ", held by " + strings.Join(r.Holders, ", ")})
	}
	width := 0
	for _, p := range pairs {
		width = max(width, len(p.key))
	}
	for _, p := range pairs {
		lines := strings.Split(p.value, "\n")
		fmt.Fprintf(w, "%-*s  %s\n", width, p.key, lines[0])
		for _, more := range lines[1:] {
			fmt.Fprintf(w, "%-*s  %s\n", width, "", more)
		}
	}
	problems := r.problems()
	if len(problems) == 0 {
		return
	}
	fmt.Fprintln(w, "Problems")
	for _, p := range problems {
		fmt.Fprintf(w, "  %s (%s, for %s)\n", p.Message, p.Kind, age(p.Since, s.now()))
	}
	fmt.Fprintf(w, "  `virga explain %s %s` says more\n", n.word(), r.Name)
}

func labelText(labels map[string]string) string {
	var out []string
	for k, v := range labels {
		out = append(out, k+"="+v)
	}
	slices.Sort(out)
	return strings.Join(out, ",")
}

package cli

import (
	"cmp"
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// listing is how a list is shown.
type listing struct {
	format    *format
	noHeaders bool
	columns   []string // those that are wanted; none: the noun's own choice
	sort      string
	projects  bool // of all projects: the project is a column
}

func addListing(c *cobra.Command) *listing {
	l := &listing{format: addFormat(c)}
	c.Flags().Lookup("output").Value = &listFormat{l.format}
	c.Flags().Lookup("output").Usage += "; csv: a table with commas"
	c.Flags().BoolVar(&l.noHeaders, "no-headers", false, "a table without its first line")
	c.Flags().StringSliceVar(&l.columns, "columns", nil, "these columns, by their titles, or by paths such as spec.cpus")
	c.Flags().StringVar(&l.sort, "sort", "", "sort by a column; with - before it the other way round")
	return l
}

// listFormat is -o of a list, which can also be csv.
type listFormat struct{ *format }

func (f *listFormat) Set(text string) error {
	if text == "csv" {
		*f.format = "csv"
		return nil
	}
	return f.format.Set(text)
}

// offered are all columns that a table of the noun can have.
func (l *listing) offered(n *noun) []column {
	out := []column{computed("Name", func(_ *lookup, r *record) string { return r.Name })}
	if n.api.InProject {
		project := computed("Project", func(_ *lookup, r *record) string { return r.Project })
		if !l.projects {
			project = project.only()
		}
		out = slices.Insert(out, 0, project)
	}
	out = append(out, n.columns...)
	return append(out, computed("Age", func(s *lookup, r *record) string { return age(r.Created, s.now()) }),
		computed("ID", func(_ *lookup, r *record) string { return r.ID }).only(),
		computed("Labels", func(_ *lookup, r *record) string { return labelText(r.Labels) }).only(),
		computed("Created", func(_ *lookup, r *record) string { return r.Created.UTC().Format("2006-01-02T15:04:05Z") }).only())
}

// chosen are the columns of this list.
func (l *listing) chosen(n *noun) ([]column, error) {
	all := l.offered(n)
	if len(l.columns) == 0 {
		wide := *l.format == "wide" || *l.format == "csv"
		return slices.DeleteFunc(all, func(c column) bool { return c.when == inShow || c.when == inWide && !wide }), nil
	}
	var out []column
	for _, word := range l.columns {
		c, err := columnNamed(all, word)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

// columnNamed finds a column by its title, in any letters and with dashes for spaces, or makes one of a path.
func columnNamed(all []column, word string) (column, error) {
	form := func(text string) string { return strings.NewReplacer(" ", "", "-", "").Replace(strings.ToLower(text)) }
	var titles []string
	for _, c := range all {
		if form(c.title) == form(word) {
			return c, nil
		}
		titles = append(titles, strings.ReplaceAll(strings.ToLower(c.title), " ", "-"))
	}
	if strings.Contains(word, ".") {
		return field(word, strings.TrimPrefix(word, ".")), nil
	}
	return column{}, refuse("there is no column %q; there are %s, and paths such as spec.%s", word, strings.Join(titles, ", "), word)
}

// arrange sorts records as is wanted.
func (l *listing) arrange(s *lookup, n *noun, records []*record) error {
	slices.SortStableFunc(records, n.less)
	word, reverse := strings.CutPrefix(l.sort, "-")
	if word == "" {
		return nil
	}
	c, err := columnNamed(l.offered(n), word)
	if err != nil {
		return err
	}
	values := map[*record]string{}
	for _, r := range records {
		values[r] = c.value(s, r)
	}
	slices.SortStableFunc(records, func(a, b *record) int {
		order := compareValues(values[a], values[b])
		if c.title == "Age" {
			order = b.Created.Compare(a.Created)
		}
		if reverse {
			return -order
		}
		return order
	})
	return nil
}

// compareValues compares two cells as people do: numbers and sizes by what they are worth.
func compareValues(a, b string) int {
	x, isNumber := worth(a)
	y, alsoNumber := worth(b)
	if isNumber && alsoNumber {
		return cmp.Compare(x, y)
	}
	return strings.Compare(a, b)
}

func worth(text string) (float64, bool) {
	if n, err := strconv.ParseFloat(text, 64); err == nil {
		return n, true
	}
	units := []struct {
		unit string
		is   float64
	}{{"MiB", 1}, {"GiB", 1 << 10}, {"TiB", 1 << 20}}
	for _, u := range units {
		if number, ok := strings.CutSuffix(text, u.unit); ok {
			n, err := strconv.ParseFloat(number, 64)
			return n * u.is, err == nil
		}
	}
	return 0, false
}

// rows are the cells of a list.
func rowsOf(s *lookup, columns []column, records []*record) (header []string, rows [][]string) {
	for _, c := range columns {
		header = append(header, c.title)
	}
	for _, r := range records {
		var row []string
		for _, c := range columns {
			row = append(row, c.value(s, r))
		}
		rows = append(rows, row)
	}
	return header, rows
}

// write shows records as a table or with commas.
func (l *listing) write(w io.Writer, s *lookup, columns []column, records []*record) error {
	header, rows := rowsOf(s, columns, records)
	if *l.format != "csv" {
		printTable(w, header, rows, !l.noHeaders)
		return nil
	}
	out := csv.NewWriter(w)
	if !l.noHeaders {
		_ = out.Write(header)
	}
	if err := out.WriteAll(rows); err != nil {
		return fail("internal", "write the list: %v", err)
	}
	return nil
}

// matches reports whether a record has the labels that are wanted, as the server selects them.
func matches(r *record, labels []string) bool {
	for _, word := range labels {
		key, value, equal := strings.Cut(word, "=")
		key, not := strings.CutSuffix(key, "!")
		got, there := r.Labels[key]
		if equal && not == (there && got == value) || !equal && !there {
			return false
		}
	}
	return true
}

// printTable writes aligned columns, with or without titles.
func printTable(w io.Writer, header []string, rows [][]string, titles bool) {
	var text strings.Builder
	printRows(&text, header, rows)
	out := text.String()
	if !titles {
		_, out, _ = strings.Cut(out, "\n")
	}
	fmt.Fprint(w, out)
}

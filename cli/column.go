package cli

import (
	"context"
	"strings"
)

// When a column is shown.
const (
	always  = iota // in every table
	inWide         // in wide tables and in show
	inShow         // in show only
	inTable        // in every table, not in show
)

// column is one value of a record for people.
type column struct {
	title string
	when  int
	value func(*lookup, *record) string
}

// lookup is what a column may ask beside the record.
type lookup struct {
	*session
	ctx context.Context
}

func (c column) wide() column    { c.when = inWide; return c }
func (c column) inTable() column { c.when = inTable; return c }
func (c column) only() column    { c.when = inShow; return c }

func field(title, path string) column {
	return column{title: title, value: func(_ *lookup, r *record) string { return r.text(path) }}
}

func sized(title, path string) column {
	return column{title: title, value: func(_ *lookup, r *record) string { return size(r.number(path)) }}
}

func state(title string) column {
	return column{title: title, value: func(_ *lookup, r *record) string { return r.state() }}
}

// since is how long ago the moment at a path was.
func since(title, path string) column {
	return column{title: title, value: func(s *lookup, r *record) string { return age(r.time(path), s.now()) }}
}

// name resolves an id, or several, to the names of records of a kind.
func name(title, kind string, paths ...string) column {
	return column{title: title, value: func(s *lookup, r *record) string {
		var out []string
		for _, path := range paths {
			v := r.at(path)
			if _, isList := v.([]any); !isList {
				v = []any{v}
			}
			for _, id := range v.([]any) {
				if id := plain(id); id != "" {
					out = append(out, s.nameOf(s.ctx, kind, r.Project, id))
				}
			}
			if len(out) > 0 {
				break
			}
		}
		return strings.Join(out, ", ")
	}}
}

// computed is a column with a function of its own.
func computed(title string, value func(*lookup, *record) string) column {
	return column{title: title, value: value}
}

// trouble is the first problem, cut short.
func trouble() column {
	return column{title: "Problem", when: inTable, value: func(_ *lookup, r *record) string {
		problems := r.problems()
		if len(problems) == 0 {
			return ""
		}
		return cut(problems[0].Message, 60)
	}}
}

func cut(text string, length int) string {
	if letters := []rune(text); len(letters) > length {
		return string(letters[:length-1]) + "…"
	}
	return text
}

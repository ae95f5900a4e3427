package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/virga-cloud/virga/client"
)

// watchedList is a list that goes on: first what is there, then a line for each change.
type watchedList struct {
	*listing
	s       *session
	cmd     *cobra.Command
	noun    *noun
	columns []column
	wanted  func(context.Context, *record) (bool, error)
	there   []*record // before it is complete
	synced  bool
	shown   map[string]string // the last line of each record, without its age
	width   []int
}

func (l *watchedList) run(project string) error {
	c, err := l.s.connection()
	if err != nil {
		return err
	}
	ctx := l.cmd.Context()
	l.shown = map[string]string{}
	err = l.noun.api.Watch(ctx, c, project, func(change client.Change[record]) error {
		if change.Synced {
			l.synced = true
			return l.begin()
		}
		if change.Gone {
			change.Record.gone = true
		}
		ok, err := l.wanted(ctx, change.Record)
		if err != nil || !ok {
			return err
		}
		if !l.synced {
			l.there = append(l.there, change.Record)
			return nil
		}
		return l.tell(change.Record)
	})
	if ctx.Err() != nil {
		return nil // to leave is how watching ends
	}
	return l.s.absent(err)
}

// begin shows what is there.
func (l *watchedList) begin() error {
	view := &lookup{l.s, l.cmd.Context()}
	if err := l.arrange(view, l.noun, l.there); err != nil {
		return err
	}
	if l.format.forPeople() {
		header, rows := rowsOf(view, l.columns, l.there)
		l.width = make([]int, len(header))
		for _, row := range append([][]string{header}, rows...) {
			for i, cell := range row {
				l.width[i] = max(l.width[i], utf8.RuneCountInString(oneLine(cell)))
			}
		}
		if !l.noHeaders {
			for i := range header {
				header[i] = strings.ToUpper(header[i])
			}
			l.line(header)
		}
	} else if *l.format == "csv" && !l.noHeaders {
		if err := l.write(l.cmd.OutOrStdout(), view, l.columns, nil); err != nil {
			return err
		}
	}
	for _, r := range l.there {
		if err := l.tell(r); err != nil {
			return err
		}
	}
	l.there = nil
	return nil
}

// tell shows one record, unless nothing of what is shown has changed.
func (l *watchedList) tell(r *record) error {
	l.s.forget()
	w, view := l.cmd.OutOrStdout(), &lookup{l.s, l.cmd.Context()}
	switch {
	case l.format.forPeople(), *l.format == "csv":
		_, rows := rowsOf(view, slices.DeleteFunc(slices.Clone(l.columns), func(c column) bool { return c.title == "Age" }), []*record{r})
		if line := strings.Join(rows[0], "\x00"); l.shown[r.ID] == line {
			return nil
		} else if l.shown[r.ID] = line; r.gone {
			delete(l.shown, r.ID)
		}
		if *l.format == "csv" {
			quiet := *l.listing
			quiet.noHeaders = true
			return quiet.write(w, view, l.columns, []*record{r})
		}
		_, rows = rowsOf(view, l.columns, []*record{r})
		l.line(rows[0])
	case *l.format == "json":
		kind := "put"
		if r.gone {
			kind = "delete"
		}
		var out bytes.Buffer
		if err := json.Compact(&out, r.raw); err != nil {
			return fail("internal", "write a change: %v", err)
		}
		fmt.Fprintf(w, "{\"type\":%q,\"object\":%s}\n", kind, out.String())
	case *l.format == "yaml":
		fmt.Fprintln(w, "---")
		return l.format.data(w, []*record{r}, false)
	default:
		return l.format.data(w, []*record{r}, false)
	}
	return nil
}

// line writes a row under the others.
func (l *watchedList) line(cells []string) {
	var out strings.Builder
	for i, cell := range cells {
		if cell = oneLine(cell); cell == "" {
			cell = "-"
		}
		out.WriteString(cell + strings.Repeat(" ", max(0, l.width[i]-utf8.RuneCountInString(cell))+2))
	}
	fmt.Fprintln(l.cmd.OutOrStdout(), strings.TrimRight(out.String(), " "))
}

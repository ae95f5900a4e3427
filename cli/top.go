package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/virga-cloud/virga/client"
)

// sheet is a table of figures that is shown in place, as top does.
type sheet struct {
	s       *session
	path    func() (path string, query url.Values)
	columns []figure
}

// figure is a column of a sheet.
type figure struct {
	title string
	text  func(line map[string]any) string
}

// shown is a column of a word.
func shown(title, field string) figure {
	return figure{title, func(line map[string]any) string { return dash(plain(line[field])) }}
}

// numbered is a column of a number; below 0 it is not known.
func numbered(title, field string) figure {
	return figure{title, func(line map[string]any) string {
		if n, ok := line[field].(json.Number); ok {
			if i, err := n.Int64(); err == nil && i >= 0 {
				return strconv.FormatInt(i, 10)
			}
		}
		return "-"
	}}
}

// bounded is a column of a limit, of which 0 is none.
func bounded(title, field string) figure {
	return figure{title, func(line map[string]any) string {
		if text := numbered("", field).text(line); text != "0" {
			return text
		}
		return "-"
	}}
}

// ofMemory is a column of the memory of a line, in MiB; nobody may have looked at that.
func ofMemory(title, field string) figure {
	return figure{title, func(line map[string]any) string {
		memory, ok := line["memory"].(map[string]any)
		if !ok {
			return "-"
		}
		return numbered("", field).text(memory)
	}}
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// processorFigures and memoryFigures are those of VMs and of pools alike.
var (
	processorFigures = []figure{numbered("Entitled", "cpuEntitledMHz"), numbered("Demand", "cpuDemandMHz"), numbered("Used", "cpuUsedMHz"), numbered("Ready", "cpuReadyMillis")}
	memoryFigures    = []figure{ofMemory("Memory entitled", "entitledMiB"), ofMemory("Active", "activeMiB"), ofMemory("Ballooned", "balloonedMiB"),
		ofMemory("Swapped", "swappedMiB"), ofMemory("Shared", "sharedMiB")}
)

// topCommand shows a sheet until it is ended, or once.
func (s *session) topCommand(c *cobra.Command, of func(names []string) sheet) *cobra.Command {
	var once bool
	every := 2 * time.Second
	c.Flags().BoolVar(&once, "once", false, "show it once; so it is too where nobody looks at a terminal")
	c.Flags().DurationVar(&every, "interval", every, "how long between two looks, at least 1s")
	f := addFormat(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if every < time.Second {
			return refuse("--interval %s: it is at least 1s; hosts look once a second", every)
		}
		t := of(args)
		screen, ok := plainOut(cmd).(*os.File)
		if once || !f.forPeople() || !ok || !term.IsTerminal(int(screen.Fd())) {
			return t.print(cmd, *f)
		}
		return t.stay(cmd, screen, every)
	}
	return c
}

// plainOut is where a command writes, below whatever looks at its output.
func plainOut(cmd *cobra.Command) io.Writer { return bytesOut(cmd) }

// read asks for the figures as they are now.
func (t *sheet) read(ctx context.Context) (items []map[string]any, raw json.RawMessage, err error) {
	path, query := t.path()
	if err := t.s.do(ctx, client.Call{Method: "GET", Path: path, Query: query, Out: &raw}); err != nil {
		return nil, nil, err
	}
	var answer struct{ Items json.RawMessage }
	if err := json.Unmarshal(raw, &answer); err != nil {
		return nil, nil, fail("internal", "read the answer: %v", err)
	}
	d := json.NewDecoder(bytes.NewReader(answer.Items))
	d.UseNumber()
	if err := d.Decode(&items); err != nil {
		return nil, nil, fail("internal", "read the answer: %v", err)
	}
	return items, answer.Items, nil
}

func (t *sheet) print(cmd *cobra.Command, f format) error {
	items, raw, err := t.read(cmd.Context())
	if err != nil {
		return err
	}
	switch {
	case f == "name":
		for _, line := range items {
			fmt.Fprintln(cmd.OutOrStdout(), plain(line["name"]))
		}
		return nil
	case !f.forPeople():
		return f.value(cmd.OutOrStdout(), raw)
	}
	fmt.Fprint(cmd.OutOrStdout(), t.text(items, 0))
	return nil
}

// text is the table, at most so many lines of it; 0: all. A column that says nothing is left out.
func (t *sheet) text(items []map[string]any, lines int) string {
	if len(items) == 0 {
		return "nothing is told by any host\n"
	}
	if lines > 0 {
		items = items[:min(lines, len(items))]
	}
	var titles []string
	rows := make([][]string, len(items))
	for _, c := range t.columns {
		cells := make([]string, len(items))
		said := false
		for i, line := range items {
			cells[i] = c.text(line)
			said = said || cells[i] != "-"
		}
		if !said {
			continue
		}
		titles = append(titles, c.title)
		for i := range rows {
			rows[i] = append(rows[i], cells[i])
		}
	}
	var out bytes.Buffer
	printRows(&out, titles, rows)
	return out.String()
}

// stay shows the figures in place until it is interrupted. The screen that was there comes back.
func (t *sheet) stay(cmd *cobra.Command, screen *os.File, every time.Duration) error {
	fmt.Fprint(screen, "\x1b[?1049h\x1b[?25l")
	defer fmt.Fprint(screen, "\x1b[?25h\x1b[?1049l")
	for {
		items, _, err := t.read(cmd.Context())
		if cmd.Context().Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		width, height, err := term.GetSize(int(screen.Fd()))
		if err != nil {
			width, height = 80, 24
		}
		head := fmt.Sprintf("%s   processors in MHz, ready in ms of a second, memory in MiB; every %s, Ctrl-C ends it", t.s.now().Format("15:04:05"), every)
		fmt.Fprint(screen, "\x1b[H"+narrow(harmless(head+"\n\n"+t.text(items, max(1, height-4))), width)+"\x1b[J")
		select {
		case <-cmd.Context().Done():
			return nil
		case <-time.After(every):
		}
	}
}

// narrow cuts each line to a width, and clears what was behind it.
func narrow(text string, width int) string {
	var out bytes.Buffer
	for line := range bytes.Lines([]byte(text)) {
		out.WriteString(cut(string(bytes.TrimSuffix(line, []byte("\n"))), max(1, width)))
		out.WriteString("\x1b[K\r\n")
	}
	return out.String()
}

// vmTop is `virga vm top`.
func (s *session) vmTop(n *noun) *cobra.Command {
	var all bool
	c := &cobra.Command{Use: "top [NAME...]", Short: "Show what VMs use of their hosts, in place", Args: cobra.ArbitraryArgs, ValidArgsFunction: s.completeNames(n, -1),
		Long: "Show the VMs that run, those that use most processor first, and look anew every two seconds.\n" +
			"Entitled is what a VM gets as long as others want theirs, demand what it would use if it had all, ready how\nlong its threads waited for a processor.",
		Example: "  virga vm top\n  virga vm top web db --once -o json"}
	c.Flags().BoolVarP(&all, "all-projects", "A", false, "VMs of all projects")
	return s.topCommand(c, func(names []string) sheet {
		columns := append([]figure{shown("Name", "name")}, shown("Host", "host"), shown("Pool", "pool"), numbered("CPUs", "cpus"))
		if all {
			columns = append([]figure{shown("Project", "project")}, columns...)
		}
		columns = append(append(append(columns, processorFigures...), numbered("Memory", "memoryMiB")), memoryFigures...)
		return sheet{s, func() (string, url.Values) {
			path := "/v1/projects/" + url.PathEscape(s.project) + "/vm-figures"
			if all {
				path = "/v1/vm-figures"
			}
			return path, url.Values{"name": names}
		}, columns}
	})
}

// poolTop is `virga pool top`.
func (s *session) poolTop() *cobra.Command {
	c := &cobra.Command{Use: "top", Short: "Show what the VMs of resource pools use of their hosts, in place", Args: exactly(),
		Long:    "Show each resource pool with what its VMs, and those of the pools in it, use together, and look anew every\ntwo seconds.",
		Example: "  virga pool top\n  virga pool top --once -o json"}
	return s.topCommand(c, func([]string) sheet {
		columns := []figure{shown("Name", "name"), shown("Parent", "parent"), numbered("VMs", "vms"), numbered("Reserved", "cpuReservationMHz"), bounded("Limit", "cpuLimitMHz")}
		return sheet{s, func() (string, url.Values) { return "/v1/resourcepool-figures", nil }, append(append(columns, processorFigures...), memoryFigures...)}
	})
}

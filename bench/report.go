package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"

	"github.com/jedib0t/go-pretty/v6/table"
)

// Summary is what is left of samples. Percentiles are nearest-rank: a value that was measured.
type Summary struct {
	N      int     `json:"n"`
	Median float64 `json:"median"`
	P50    float64 `json:"p50"`
	P99    float64 `json:"p99"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// Summarize makes a summary; nil of no samples.
func Summarize(samples ...float64) *Summary {
	n := len(samples)
	if n == 0 {
		return nil
	}
	s := slices.Sorted(slices.Values(samples))
	median := (s[(n-1)/2] + s[n/2]) / 2
	rank := func(p float64) float64 { return s[max(0, int(math.Ceil(p*float64(n)))-1)] }
	return &Summary{N: n, Median: median, P50: rank(0.5), P99: rank(0.99), Min: s[0], Max: s[n-1]}
}

// Target is what a figure shall reach. At most one of its fields is not zero.
type Target struct {
	Most       float64 `json:"most,omitempty"`       // ours, in the figure's unit
	Ratio      float64 `json:"ratio,omitempty"`      // ours over bare
	Difference float64 `json:"difference,omitempty"` // ours over bare, in the figure's unit
	Least      float64 `json:"least,omitempty"`      // ours, in the figure's unit
}

// Figure is one line of the report.
type Figure struct {
	Part   string   `json:"part"`
	What   string   `json:"what"`
	Unit   string   `json:"unit,omitempty"`
	Ours   *Summary `json:"ours,omitempty"`
	Bare   *Summary `json:"bare,omitempty"`
	Ratio  float64  `json:"ratio,omitempty"` // of the medians
	Target *Target  `json:"target,omitempty"`
	Met    string   `json:"met,omitempty"` // yes, no; none: it has no target
	Note   string   `json:"note,omitempty"`
}

// judge fills in what follows from the samples.
func (f *Figure) judge() {
	if f.Ours != nil && f.Bare != nil && f.Bare.Median > 0 {
		f.Ratio = math.Round(1000*f.Ours.Median/f.Bare.Median) / 1000
	}
	if f.Target == nil || f.Ours == nil {
		return
	}
	t, met := f.Target, false
	switch {
	case t.Ratio > 0:
		met = f.Bare != nil && f.Ratio <= t.Ratio
	case t.Difference > 0:
		met = f.Bare != nil && f.Ours.Median-f.Bare.Median <= t.Difference
	case t.Least > 0:
		met = f.Ours.Median >= t.Least
	default:
		met = f.Ours.Median <= t.Most
	}
	f.Met = "no"
	if met {
		f.Met = "yes"
	}
}

func (t *Target) text(unit string) string {
	switch {
	case t == nil:
		return ""
	case t.Ratio > 0:
		return fmt.Sprintf("ratio ≤ %.2f", t.Ratio)
	case t.Difference > 0:
		return fmt.Sprintf("≤ bare + %s %s", number(t.Difference), unit)
	case t.Least > 0:
		return fmt.Sprintf("≥ %s %s", number(t.Least), unit)
	}
	return fmt.Sprintf("≤ %s %s", number(t.Most), unit)
}

// Outcome is how a part went as a whole.
type Outcome struct {
	Part    string  `json:"part"`
	Result  string  `json:"result"` // measured, failed, skipped
	Why     string  `json:"why,omitempty"`
	Seconds float64 `json:"seconds"`
}

// Report is what bench.json holds.
type Report struct {
	Host    Host      `json:"host"`
	Commit  string    `json:"commit"`
	Begun   string    `json:"begun"`
	Parts   []Outcome `json:"parts"`
	Figures []Figure  `json:"figures"`
}

// Write writes the report to a file.
func (r *Report) Write(path string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}

// Print writes the report as a table.
func (r *Report) Print(w io.Writer) {
	m := r.Host
	fmt.Fprintf(w, "\n%s, %d processors (%s), %d MiB, Linux %s, %s, %s, commit %s\n\n", r.Begun, m.Processors, m.Processor, m.MemoryMiB, m.Kernel, m.QEMU, m.Go, r.Commit)
	t := table.NewWriter()
	t.SetOutputMirror(w)
	t.SetStyle(table.StyleLight)
	t.AppendHeader(table.Row{"part", "what", "ours", "p99", "bare", "p99", "unit", "n", "ratio", "target", "met"})
	for i, f := range r.Figures {
		if i > 0 && r.Figures[i-1].Part != f.Part {
			t.AppendSeparator()
		}
		row := table.Row{f.Part, f.What, "", "", "", "", f.Unit, "", "", f.Target.text(f.Unit), f.Met}
		if f.Ours != nil {
			row[2], row[3], row[7] = number(f.Ours.Median), number(f.Ours.P99), f.Ours.N
		}
		if f.Bare != nil {
			row[4], row[5] = number(f.Bare.Median), number(f.Bare.P99)
		}
		if f.Ratio > 0 {
			row[8] = fmt.Sprintf("%.3f", f.Ratio)
		}
		t.AppendRow(row)
	}
	t.Render()
	for _, f := range r.Figures {
		if f.Note != "" {
			fmt.Fprintf(w, "%s, %s: %s\n", f.Part, f.What, f.Note)
		}
	}
	for _, p := range r.Parts {
		fmt.Fprintf(w, "%-8s %s after %.0f s %s\n", p.Part, p.Result, p.Seconds, p.Why)
	}
}

// number is short and keeps three digits that say something.
func number(x float64) string {
	switch a := math.Abs(x); {
	case a >= 100:
		return fmt.Sprintf("%.0f", x)
	case a >= 10:
		return fmt.Sprintf("%.1f", x)
	case a == 0:
		return "0"
	}
	return fmt.Sprintf("%.2f", x)
}

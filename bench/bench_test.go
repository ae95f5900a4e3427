package bench

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/virga-cloud/virga/lab"
)

var measured = flag.String("measure", "", "measure, and write the report to this file")

func TestTheFiguresAreMeasured(t *testing.T) {
	if *measured == "" {
		t.Skip("this takes a while and wants an idle host: make bench")
	}
	r := &Report{Host: ThisHost(), Commit: Commit(), Begun: time.Now().UTC().Format(time.RFC3339)}
	if os.Getenv("VIRGA_BINARY") == "" {
		defer os.Remove(lab.Binary(t))
	}
	defer os.Remove(lab.TinyImage(t))
	defer func() { // a panic in a part loses the other parts' figures no more than a failure does
		r.Print(os.Stdout)
		if err := r.Write(*measured); err != nil {
			t.Error(err)
		}
	}()
	wanted := strings.Fields(strings.ReplaceAll(os.Getenv("VIRGA_BENCH"), ",", " "))
	for _, p := range parts {
		if len(wanted) == 0 || slices.Contains(wanted, p.name) {
			r.Measure(t, p.name, p.measure)
		}
	}
}

func TestASummaryKeepsMeasuredValues(t *testing.T) {
	s := Summarize(4, 1, 3, 2)
	if s.N != 4 || s.Median != 2.5 || s.P50 != 2 || s.P99 != 4 || s.Min != 1 || s.Max != 4 {
		t.Errorf("%+v", s)
	}
	if Summarize() != nil {
		t.Error("of nothing there is no summary")
	}
}

func TestATargetIsMetOrMissed(t *testing.T) {
	for _, c := range []struct {
		ours, bare float64
		target     *Target
		met        string
	}{
		{110, 100, &Target{Ratio: 1.10}, "yes"},
		{112, 100, &Target{Ratio: 1.10}, "no"},
		{150, 0, &Target{Most: 150}, "yes"},
		{151, 0, &Target{Most: 150}, "no"},
		{131, 100, &Target{Difference: 30}, "no"},
		{130, 100, &Target{Difference: 30}, "yes"},
		{5, 0, &Target{Least: 6}, "no"},
		{5, 0, nil, ""},
	} {
		f := Figure{Ours: Summarize(c.ours), Bare: Summarize(c.bare), Target: c.target}
		if f.judge(); f.Met != c.met {
			t.Errorf("%+v: %q", c, f.Met)
		}
	}
}

package bench

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"
)

// Part is one part that is being measured. It is a test, so that the lab works in it, and keeps
// what went wrong for the report.
type Part struct {
	*testing.T
	report *Report
	name   string
	why    string
}

// parts in the order in which they are measured; what needs most comes last.
var parts = []struct {
	name    string
	measure func(*Part)
}{
	{"engine", engine}, {"placement", placements}, {"up", up}, {"api", api}, {"idle", idle}, {"create", create}, {"guests", manyGuests}, {"disks", disks}, {"migrate", migrate}, {"many", many},
}

// Measure measures a part and reports how it went, whatever happens in it.
func (r *Report) Measure(t *testing.T, name string, measure func(*Part)) {
	begun := time.Now()
	p := &Part{report: r, name: name}
	result := "measured"
	t.Run(name, func(t *testing.T) {
		p.T = t
		// Cleanups run in reverse order, so this sees what the part's own cleanups have said.
		t.Cleanup(func() {
			switch {
			case t.Failed():
				result = "failed"
			case t.Skipped():
				result = "skipped"
			}
		})
		measure(p)
	})
	r.Parts = append(r.Parts, Outcome{Part: name, Result: result, Why: p.why, Seconds: time.Since(begun).Seconds()})
}

// Add adds a line to the report.
func (p *Part) Add(f Figure) {
	f.Part = p.name
	f.judge()
	p.report.Figures = append(p.report.Figures, f)
}

func (p *Part) remember(why string) {
	if p.why == "" {
		p.why = firstLine(why)
	}
}

// Fatal implements testing.TB, and so do the others.
func (p *Part) Fatal(args ...any) { p.Helper(); p.remember(fmt.Sprint(args...)); p.T.Fatal(args...) }

// Fatalf implements testing.TB.
func (p *Part) Fatalf(format string, args ...any) {
	p.Helper()
	p.remember(fmt.Sprintf(format, args...))
	p.T.Fatalf(format, args...)
}

// Errorf implements testing.TB.
func (p *Part) Errorf(format string, args ...any) {
	p.Helper()
	p.remember(fmt.Sprintf(format, args...))
	p.T.Errorf(format, args...)
}

// Skip implements testing.TB.
func (p *Part) Skip(args ...any) { p.Helper(); p.remember(fmt.Sprint(args...)); p.T.Skip(args...) }

// Skipf implements testing.TB.
func (p *Part) Skipf(format string, args ...any) {
	p.Helper()
	p.remember(fmt.Sprintf(format, args...))
	p.T.Skipf(format, args...)
}

func (p *Part) must(err error) {
	p.Helper()
	if err != nil {
		p.Fatal(err)
	}
}

// until waits for a fact and looks often: what is measured is when it came.
func (p *Part) until(within time.Duration, what string, is func() bool) time.Time {
	p.Helper()
	for end := time.Now().Add(within); ; time.Sleep(2 * time.Millisecond) {
		if is() {
			return time.Now()
		}
		if time.Now().After(end) {
			p.Fatalf("after %v it is still not true that %s", within, what)
		}
	}
}

// setting is a number from the environment.
func setting(name string, fallback int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n > 0 {
		return n
	}
	return fallback
}

func rounds() int    { return setting("VIRGA_BENCH_ROUNDS", 5) }
func guests() int    { return setting("VIRGA_BENCH_GUESTS", 20) }
func manyCount() int { return setting("VIRGA_BENCH_VMS", 100000) }
func records() int   { return setting("VIRGA_BENCH_RECORDS", 10000) }

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

var sizeUnits = []struct {
	name string
	mib  float64
}{{"TiB", 1 << 20}, {"GiB", 1 << 10}, {"MiB", 1}}

// parseSize reads a size of whole MiB. What could be read in two ways is refused.
func parseSize(text string) (int64, error) {
	digits := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
	unit := strings.TrimSpace(text[len(digits):])
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil || n <= 0 || math.IsInf(n, 0) {
		return 0, refuse("%q is no size; write a number with MiB, GiB or TiB, for example 512MiB or 10GiB", text)
	}
	for _, u := range sizeUnits {
		if !strings.EqualFold(unit, u.name) {
			continue
		}
		mib := n * u.mib
		if mib > 1<<40 {
			return 0, refuse("%q is more than any disk or memory has", text)
		}
		if mib != math.Trunc(mib) {
			return 0, refuse("%q is no whole number of MiB", text)
		}
		return int64(mib), nil
	}
	if unit == "" {
		return 0, refuse("%q has no unit; write %sMiB, %sGiB or %sTiB", text, digits, digits, digits)
	}
	if letter := strings.ToUpper(unit[:1]); strings.Contains("MGT", letter) {
		return 0, refuse("%q could mean powers of 1000 or of 1024; write %s%siB", text, digits, letter)
	}
	return 0, refuse("%q has a unit that is not known; write MiB, GiB or TiB", text)
}

// sizeFlag is a flag whose value is a size.
type sizeFlag struct {
	mib  int64
	text string
}

func (f *sizeFlag) String() string { return f.text }
func (f *sizeFlag) Type() string   { return "size" }
func (f *sizeFlag) Set(text string) (err error) {
	f.text = text
	f.mib, err = parseSize(text)
	return err
}

// size says a number of MiB in the largest unit that fits.
func size(mib int64) string {
	for _, u := range sizeUnits {
		if n := float64(mib) / u.mib; mib > 0 && n >= 1 {
			return strings.TrimSuffix(strconv.FormatFloat(n, 'f', 1, 64), ".0") + u.name
		}
	}
	return "-"
}

func bytesText(n int64) string {
	if n < 1<<20 {
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}

// age says how long ago something was, in one or two units.
func age(since, now time.Time) string {
	if since.IsZero() {
		return "-"
	}
	d := max(now.Sub(since), 0)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// parseLife reads a time like 12h or 30d.
func parseLife(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n > 0 && n < 36500 {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, refuse("%q is no length of time; write for example 12h or 30d", text)
	}
	return d, nil
}

// parseCount reads a whole number above zero.
func parseCount(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n <= 0 {
		return 0, refuse("%q is no whole number above zero", text)
	}
	return n, nil
}

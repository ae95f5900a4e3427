package sim

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
)

// Story is a script: what is said before its file "script" is for people.
type Story struct {
	Name  string
	lines []line
}

// line is one line of a script, in words. Quoted words may have blanks.
type line struct {
	n     int
	words []string
	// may is "!" for a request that must be refused, "?" for one that may.
	may string
}

func (l line) String() string { return fmt.Sprintf("line %d: %s", l.n, strings.Join(l.words, " ")) }

// ParseStory reads a .txtar file.
func ParseStory(name string, text []byte) (Story, error) {
	s := Story{Name: name}
	for _, f := range txtar.Parse(text).Files {
		if f.Name != "script" {
			return s, fmt.Errorf("%s: a story has one file, script, and not %s", name, f.Name)
		}
		for n, raw := range strings.Split(string(f.Data), "\n") {
			l, err := parseLine(n+1, raw)
			if err != nil {
				return s, fmt.Errorf("%s, line %d: %w", name, n+1, err)
			}
			if len(l.words) > 0 {
				s.lines = append(s.lines, l)
			}
		}
	}
	if len(s.lines) == 0 {
		return s, fmt.Errorf("%s has no script", name)
	}
	return s, nil
}

func parseLine(n int, raw string) (line, error) {
	l := line{n: n}
	for rest := strings.TrimSpace(raw); rest != "" && rest[0] != '#'; rest = strings.TrimSpace(rest) {
		switch {
		case rest[0] == '"':
			word, err := strconv.QuotedPrefix(rest)
			if err != nil {
				return l, err
			}
			rest = rest[len(word):]
			word, _ = strconv.Unquote(word)
			l.words = append(l.words, word)
		default:
			end := strings.IndexAny(rest, " \t")
			if end < 0 {
				end = len(rest)
			}
			l.words = append(l.words, rest[:end])
			rest = rest[end:]
		}
	}
	if len(l.words) > 0 && (l.words[0] == "!" || l.words[0] == "?") {
		l.may, l.words = l.words[0], l.words[1:]
	}
	return l, nil
}

// teller tells a story once.
type teller struct {
	c      *Cluster
	choice int // the interrupt line that strikes, counted from 1; 0: none
	at     int // at which effect
	seen   int // interrupt lines so far
}

// Run tells a story: once without interruption, then for the effects of each interrupt line again
// with the interruption there; for at most so many effects of each line, evenly chosen, 0: all.
func (s Story) Run(seed uint64, most int) (runs int, err error) {
	first, err := s.once(seed, 0, 0)
	if err != nil {
		return 1, fmt.Errorf("%s: %w", s.Name, err)
	}
	runs = 1
	for choice, i := range first.interrupts {
		stride := 1
		if most > 0 {
			stride = (i.counted + most - 1) / most
		}
		for at := 1 + int(seed)%max(1, stride); at <= i.counted; at += stride {
			runs++
			if _, err := s.once(seed, choice+1, at); err != nil {
				return runs, fmt.Errorf("%s: interrupt %d (%s) at effect %d: %w", s.Name, choice+1, i.daemon, at, err)
			}
		}
	}
	return runs, nil
}

func (s Story) once(seed uint64, choice, at int) (*Cluster, error) {
	c := New(seed)
	t := &teller{c: c, choice: choice, at: at}
	var now line
	err := c.Try(func() {
		for _, now = range s.lines {
			c.trace.add("%s", now)
			t.tell(now)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", now, err)
	}
	return c, nil
}

// tell does one line.
func (t *teller) tell(l line) {
	do, known := verbs[l.words[0]]
	if !known {
		t.c.fail("the script has no verb %q", l.words[0])
	}
	err := do(t, args{t.c, l.words[1:]})
	t.c.touched = true
	switch {
	case err != nil && l.may == "":
		t.c.fail("%s: %v", l, err)
	case err == nil && l.may == "!":
		t.c.fail("%s: it was not refused", l)
	}
}

// args are the words after the verb.
type args struct {
	c     *Cluster
	words []string
}

func (a args) word(n int) string {
	if n >= len(a.words) {
		a.c.fail("a word is missing after %q", strings.Join(a.words, " "))
	}
	return a.words[n]
}

func (a args) has(word string) bool {
	for _, w := range a.words {
		if w == word {
			return true
		}
	}
	return false
}

// after gives what follows a word.
func (a args) after(word string) []string {
	for n, w := range a.words {
		if w == word {
			return a.words[n+1:]
		}
	}
	return nil
}

// value gives x of name=x.
func (a args) value(name, fallback string) string {
	for _, w := range a.words {
		if key, value, ok := strings.Cut(w, "="); ok && key == name {
			return value
		}
	}
	return fallback
}

func (a args) number(name, fallback string) int64 {
	text := a.value(name, fallback)
	factor := int64(1)
	switch {
	case strings.HasSuffix(text, "GiB"):
		text, factor = strings.TrimSuffix(text, "GiB"), 1024
	case strings.HasSuffix(text, "MiB"):
		text = strings.TrimSuffix(text, "MiB")
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		a.c.fail("%s=%s is no number", name, text)
	}
	return n * factor
}

func (a args) time(n int) time.Duration {
	d, err := time.ParseDuration(strings.TrimPrefix(a.word(n), "+"))
	if err != nil {
		a.c.fail("%v", err)
	}
	return d
}

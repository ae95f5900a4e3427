package house

import (
	"bytes"
	"go/format"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestGoFilesAreFormatted(t *testing.T) {
	for _, f := range ours(t).gos {
		pretty, err := format.Source(f.text)
		if err != nil || !bytes.Equal(pretty, f.text) {
			t.Errorf("%s:1: not formatted; run gofmt -w %s", f.path, f.path)
		}
	}
}

// put together, so that this file does not break its own rule
var forbidden = []struct {
	words *regexp.Regexp
	why   string
}{
	{regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|X` + `XX|HA` + `CK)\b`), "do it now, or write down in docs/requirements.md what is missing"},
	{regexp.MustCompile(`(^|[^a-zA-Z0-9.])/(wo` + `rk|tmp/v` + `w|home|Users)/`), "a path of somebody's computer; take it as a parameter"},
	{regexp.MustCompile(`(?i)lorem` + ` ipsum`), "say something"},
}

var texts = []string{".go", ".md", ".sh", ".yml", ".yaml", ".ts", ".tsx", ".css", ".html", ".txtar", "Makefile", "run", "NOTICE"}

func TestNoWordsThatDoNotBelongHere(t *testing.T) {
	for _, file := range ours(t).files {
		if !hasSuffix(file, texts) || strings.Contains(file, "testdata/") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			continue // gone since the tree was read
		}
		n := 0
		for line := range strings.Lines(string(text)) {
			n++
			for _, rule := range forbidden {
				if found := rule.words.FindString(line); found != "" {
					t.Errorf("%s:%d: %q does not belong here: %s", file, n, found, rule.why)
				}
			}
		}
	}
}

func hasSuffix(file string, suffixes []string) bool {
	for _, s := range suffixes {
		if strings.HasSuffix(file, s) {
			return true
		}
	}
	return false
}

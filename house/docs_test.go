package house

import (
	"go/ast"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	readme       = "README.md"
	readmeScreen = 60
)

var link = regexp.MustCompile(`\]\(([^)#\s]+)[^)]*\)`)

func TestTheReadmeFitsOnOneScreen(t *testing.T) {
	if n := strings.Count(read(t, readme), "\n"); n > readmeScreen {
		t.Errorf("%s:1: %d lines, at most %d; move the rest to docs/", readme, n, readmeScreen)
	}
}

func TestEveryPageIsReachedFromTheReadmeAndEveryLinkLeadsSomewhere(t *testing.T) {
	tree := ours(t)
	reached := map[string]bool{readme: true}
	for todo := []string{readme}; len(todo) > 0; todo = todo[1:] {
		page := todo[0]
		n := 0
		for line := range strings.Lines(read(t, page)) {
			n++
			for _, m := range link.FindAllStringSubmatch(line, -1) {
				if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
					continue
				}
				target := path.Join(path.Dir(page), m[1])
				if _, err := os.Stat(filepath.Join(root, target)); err != nil {
					t.Errorf("%s:%d: the link %s leads nowhere; mend it", page, n, m[1])
				} else if strings.HasSuffix(target, ".md") && !reached[target] {
					reached[target] = true
					todo = append(todo, target)
				}
			}
		}
	}
	for _, file := range tree.files {
		if strings.HasPrefix(file, "docs/") && strings.HasSuffix(file, ".md") && !reached[file] {
			t.Errorf("%s:1: no page links here; link it from the page where a reader would look for it", file)
		}
	}
}

var (
	fence   = regexp.MustCompile("(?s)```[a-z]*\n(.*?)```")
	command = regexp.MustCompile(`(?m)(?:^|[$|(] ?)(?:sudo )?(?:\./bin/|bin/)?virga ((?:[a-z][a-z-]*)(?: [a-z][a-z-]*){0,2})([^|#\n]*)`)
	flag    = regexp.MustCompile(`--[a-z][a-z-]*`)
)

// documented gives the commands, "noun verb", "noun part verb" or "verb", in the examples of a page, with their
// flags. The last word may be an argument.
func documented(page string) map[string][]string {
	out := map[string][]string{}
	for _, block := range fence.FindAllStringSubmatch(page, -1) {
		text := strings.ReplaceAll(block[1], "\\\n", " ")
		for _, m := range command.FindAllStringSubmatch(text, -1) {
			out[m[1]] = append(out[m[1]], flag.FindAllString(m[2], -1)...)
		}
	}
	return out
}

func TestEveryCommandInTheGuideIsThere(t *testing.T) {
	binary, err := filepath.Abs(filepath.Join(root, "bin", "virga"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(binary); err != nil {
		t.Skip("there is no bin/virga to ask; run make build")
	}
	known := map[string]string{}
	for _, file := range ours(t).files {
		if !strings.HasSuffix(file, ".md") || file == "CHANGELOG.md" {
			continue
		}
		for c, flags := range documented(read(t, file)) {
			if _, asked := known[c]; !asked {
				known[c] = helpOf(binary, c)
			}
			if known[c] == "" {
				t.Errorf("%s:1: there is no command \"virga %s\"; mend the page, or write the command", file, c)
				continue
			}
			for _, f := range flags {
				if !regexp.MustCompile(regexp.QuoteMeta(f) + `\b`).MatchString(known[c]) {
					t.Errorf("%s:1: \"virga %s\" has no flag %s; mend the page, or write the flag", file, c, f)
				}
			}
		}
	}
}

// helpOf asks the program for help; empty if there is no such command. The usage of what is there
// begins with its own words. What follows a command that takes an argument is no part of its name.
func helpOf(binary, words string) string {
	out, err := exec.Command(binary, append(strings.Fields(words), "--help")...).CombinedOutput()
	if err != nil {
		return ""
	}
	text := string(out)
	if strings.Contains(text, "virga "+words) {
		return text
	}
	for at := strings.LastIndex(words, " "); at > 0; at = strings.LastIndex(words[:at], " ") {
		usage := regexp.MustCompile(`(?m)^\s+virga ` + regexp.QuoteMeta(words[:at]) + ` ([A-Z]+|[<\[])`).FindStringSubmatch(text)
		if usage != nil && usage[1] != "VERB" && usage[1] != "COMMAND" {
			return text
		}
	}
	return ""
}

// A row of the requirements that names a proof must name one that is there.
func TestEveryProofOfARequirementIsATest(t *testing.T) {
	there := map[string]bool{}
	for _, f := range ours(t).gos {
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && f.test {
				there[fn.Name.Name] = true
			}
		}
	}
	for _, page := range []string{"docs/requirements.md", "docs/guide/bad-days.md"} {
		n := 0
		for line := range strings.Lines(read(t, page)) {
			n++
			for _, m := range regexp.MustCompile("`(Test[A-Za-z0-9]+)`").FindAllStringSubmatch(line, -1) {
				if !there[m[1]] {
					t.Errorf("%s:%d: there is no test %s; name the one that proves the row, or say that it is missing", page, n, m[1])
				}
			}
		}
	}
}

func TestCommandsAreFoundInTheExamplesOfAPage(t *testing.T) {
	page := "text `virga ignored here`\n```sh\nvirga vm create web \\\n  --wait # --not\n$ ./bin/virga up\nsudo virga down --all\ncurl x | virga image import a\n```\n"
	got := documented(page)
	names := slices.Sorted(maps.Keys(got))
	if !slices.Equal(names, []string{"down", "image import a", "up", "vm create web"}) || !slices.Equal(got["vm create web"], []string{"--wait"}) {
		t.Errorf("got %q", got)
	}
}

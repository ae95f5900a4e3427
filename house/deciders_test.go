package house

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Deciders choose from facts, and what they choose is done without another look: each has at least as many
// lines of test as of code. A name that ends in * stands for all files that begin so.
var deciders = []string{
	"cluster/evacuation/plan*",
	"cluster/placement/*",
	"compute/change* compute/fitting* compute/shape_test*",
	"compute/device*",
	"compute/disk_plan*",
	"compute/placer*",
	"compute/pool_admit* compute/pool_plan* compute/pool_test*",
	"compute/power*",
	"compute/processor*",
	"compute/vm_plan*",
	"compute/onhost/cpu_plan*",
	"compute/onhost/decide*",
	"compute/onhost/device_plan*",
	"compute/onhost/memory_plan*",
	"engine/fairshare/*",
	"host/listener*",
	"host/liveness*",
	"host/numa/*",
	"network/ovn/compile* network/ovn/plan*",
	"storage/choose*",
}

// decides are the names that deciders have.
var decides = regexp.MustCompile(`(^|_)(plan|decide|choose|compile|admit)\.go$`)

func TestEveryDeciderIsCounted(t *testing.T) {
	counted := map[string]bool{}
	for _, d := range deciders {
		for _, name := range strings.Fields(d) {
			found, _ := filepath.Glob(filepath.Join("..", name+".go"))
			for _, f := range found {
				counted[f] = true
			}
		}
	}
	err := filepath.WalkDir("..", func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() && (e.Name() == "node_modules" || e.Name() == ".git") {
			return filepath.SkipDir
		}
		if err == nil && decides.MatchString(e.Name()) && !counted[path] {
			t.Errorf("%s decides by its name, and its lines of test are not counted; add it to the list of deciders", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestDecidersHaveAsManyLinesOfTestAsOfCode(t *testing.T) {
	for _, d := range deciders {
		var files []string
		for _, name := range strings.Fields(d) {
			found, err := filepath.Glob(filepath.Join("..", name+".go"))
			if err != nil || len(found) == 0 {
				t.Fatalf("%s: there are %v, %v; name a decider and its tests", name, found, err)
			}
			files = append(files, found...)
		}
		code, test := 0, 0
		for _, f := range files {
			if strings.HasSuffix(f, "_test.go") {
				test += statements(t, f)
			} else {
				code += statements(t, f)
			}
		}
		if test < code {
			t.Errorf("%s: %d lines of test for %d of code; write the tests that are missing", d, test, code)
		}
	}
}

// statements counts the lines of a file that are neither empty nor a comment.
func statements(t *testing.T, file string) (n int) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "//") {
			n++
		}
	}
	return n
}

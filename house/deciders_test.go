package house

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Deciders choose from facts, and what they choose is done without another look: each has at least as many
// lines of test as of code. A name that ends in * stands for all files that begin so.
var deciders = []string{
	"cluster/evacuation/plan*",
	"cluster/placement/*",
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

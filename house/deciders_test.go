package house

import (
	"go/scanner"
	"go/token"
	"strings"
	"testing"
)

// deciders decide purely, from facts to data, and are wrong in ways that no lab finds: each has at least as
// many lines of test as of code. A folder stands for all of its files; a file's tests are those that are
// named after it: plan_test.go, plan_edges_test.go.
var deciders = []string{
	"cluster/placement",
	"compute/disk_plan.go",
	"compute/onhost/cpu_plan.go",
	"compute/onhost/device_plan.go",
	"engine/fairshare",
	"storage/choose.go",
}

func TestDecidersHaveAsManyLinesOfTestAsOfCode(t *testing.T) {
	tree := ours(t)
	for _, decider := range deciders {
		stem := strings.TrimSuffix(decider, ".go")
		code, tests := 0, 0
		for _, f := range tree.gos {
			switch {
			case f.folder() != decider && !strings.HasPrefix(f.path, stem):
			case f.test && (f.folder() == decider || strings.HasPrefix(f.path, stem+"_")):
				tests += linesOfCode(f)
			case !f.test && (f.folder() == decider || f.path == decider):
				code += linesOfCode(f)
			}
		}
		switch {
		case code == 0:
			t.Errorf("%s is not there; name what took its place in house/deciders_test.go", decider)
		case tests < code:
			t.Errorf("%s:1: %d lines of test for %d of code (%d %%); a decider has at least as many", decider, tests, code, tests*100/code)
		default:
			t.Logf("%-32s %4d lines of test for %4d of code", decider, tests, code)
		}
	}
}

// linesOfCode counts the lines that have more than space and comments.
func linesOfCode(f *goFile) int {
	var s scanner.Scanner
	file := token.NewFileSet().AddFile(f.path, -1, len(f.text))
	s.Init(file, f.text, nil, 0)
	lines := map[int]bool{}
	for {
		at, what, text := s.Scan()
		if what == token.EOF {
			return len(lines)
		}
		if what != token.SEMICOLON { // most are nowhere written
			for i := range 1 + strings.Count(text, "\n") {
				lines[file.Line(at)+i] = true
			}
		}
	}
}

package house

import (
	"path"
	"slices"
	"strings"
	"testing"
)

// the top folders; a new one needs a reason in docs/decisions
var tops = []string{
	"cmd", "engine", "identity", "host", "compute", "container", "storage", "network", "cluster", "observe",
	"client", "cli", "web", "wiring", "sim", "lab", "bench", "house", "docs", "tools", ".ci",
}

const deepest = 3

// words that say nothing about what is inside
var empty = []string{
	"util", "utils", "common", "helper", "helpers", "manager", "base", "impl", "core", "misc", "types", "models", "lib", "shared",
}

func TestEveryFolderIsOneOfTheHouse(t *testing.T) {
	seen := map[string]bool{}
	for _, file := range ours(t).files {
		top, _, inFolder := strings.Cut(file, "/")
		if inFolder && !slices.Contains(tops, top) && !seen[top] {
			seen[top] = true
			t.Errorf("%s:1: %s is no top folder of ours; put it into one of %s, or write a decision and add the folder to house/layout_test.go",
				file, top, strings.Join(tops, " "))
		}
	}
}

func TestNoFolderIsDeeperThanThree(t *testing.T) {
	for _, f := range ours(t).gos {
		if depth := strings.Count(f.path, "/"); depth > deepest {
			t.Errorf("%s:1: lies %d folders deep, at most %d; move it up", f.path, depth, deepest)
		}
	}
}

func TestNamesSayWhatIsInside(t *testing.T) {
	for _, f := range ours(t).gos {
		if f.generated {
			continue
		}
		for _, word := range wordsOf(f.path) {
			if slices.Contains(empty, word) {
				t.Errorf("%s:1: the name %q says nothing; name it after what it is about", f.path, word)
			}
		}
		if name := f.ast.Name.Name; slices.Contains(empty, strings.TrimSuffix(name, "_test")) {
			t.Errorf("%s:1: the package name %q says nothing; name it after what it is about", f.path, name)
		}
	}
}

func wordsOf(file string) []string {
	stem := strings.TrimSuffix(strings.TrimSuffix(file, ".go"), "_test")
	return strings.FieldsFunc(stem, func(r rune) bool { return r == '/' || r == '_' || r == '-' || r == '.' })
}

func TestAPackageIsNamedAfterItsFolder(t *testing.T) {
	for _, f := range ours(t).gos {
		name, folder := strings.TrimSuffix(f.ast.Name.Name, "_test"), path.Base(f.folder())
		if name != folder && name != "main" && !f.generated {
			t.Errorf("%s:1: package %s lies in folder %s; give both one name", f.path, name, folder)
		}
	}
}

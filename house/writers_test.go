package house

import (
	"go/ast"
	"path"
	"slices"
	"strings"
	"testing"
)

// Writers are handed out in the part.go of each domain, which therefore reads as the list of who
// writes what, by functions that are given the registry: a domain cannot have one of its own.
func TestOnlyTheWiringHandsOutWriters(t *testing.T) {
	tree := ours(t)
	for _, f := range tree.gos {
		top, _, _ := strings.Cut(f.path, "/")
		if f.test || slices.Contains([]string{"cmd", "sim", "lab", "bench"}, top) || strings.HasSuffix(f.folder(), "test") {
			continue
		}
		calls(f, func(called string, at ast.Node) {
			switch {
			case called == "store.NewRegistry":
				t.Errorf("%s:%d: a registry is made here; take the one of cmd/virga as a parameter", f.path, tree.line(at.Pos()))
			case called == "store.Specs" || called == "store.Statuses":
				if !givenRegistry(f, at) || !handsOut(f.path) {
					t.Errorf("%s:%d: %s is called outside part.go, or in a function that is not given the registry; take the writer as a parameter", f.path, tree.line(at.Pos()), called)
				}
			}
		})
	}
}

// handsOut reports whether a file is one of those that say who writes what.
func handsOut(file string) bool {
	return path.Base(file) == "part.go" || within(path.Dir(file), "wiring")
}

// givenRegistry reports whether the function around a node has a parameter of type *store.Registry.
func givenRegistry(f *goFile, at ast.Node) bool {
	for _, d := range f.ast.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || at.Pos() < fn.Pos() || at.Pos() > fn.End() {
			continue
		}
		for _, p := range fn.Type.Params.List {
			if star, ok := p.Type.(*ast.StarExpr); ok {
				if s, ok := star.X.(*ast.SelectorExpr); ok && s.Sel.Name == "Registry" {
					return true
				}
			}
		}
	}
	return false
}

// The simulator replaces the clock of the DB; a decision that asks the host's clock escapes it.
func TestDecisionsAskTheClockThatTheyAreGiven(t *testing.T) {
	tree := ours(t)
	for _, f := range tree.gos {
		top, rest, _ := strings.Cut(f.folder(), "/")
		decides := neighbours[top] != nil && (rest == "" || top == "cluster")
		if f.test || !decides {
			continue
		}
		calls(f, func(called string, at ast.Node) {
			if called == "time.Now" || called == "time.Since" || called == "time.Until" {
				t.Errorf("%s:%d: %s is called in a decision; use db.Now(), which the simulator replaces", f.path, tree.line(at.Pos()), called)
			}
		})
	}
}

// calls tells of every call of package.Function in a file.
func calls(f *goFile, tell func(called string, at ast.Node)) {
	ast.Inspect(f.ast, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		fun := call.Fun
		if index, ok := fun.(*ast.IndexListExpr); ok {
			fun = index.X
		}
		if selector, ok := fun.(*ast.SelectorExpr); ok {
			if pkg, ok := selector.X.(*ast.Ident); ok {
				tell(pkg.Name+"."+selector.Sel.Name, call)
			}
		}
		return true
	})
}

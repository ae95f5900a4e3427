package house

import (
	"go/ast"
	"slices"
	"strings"
	"testing"
)

// Writers are handed out in one place, which therefore reads as the list of who writes what.
func TestOnlyTheWiringHandsOutWriters(t *testing.T) {
	tree := ours(t)
	for _, f := range tree.gos {
		top, _, _ := strings.Cut(f.path, "/")
		if f.test || slices.Contains([]string{"cmd", "sim", "lab"}, top) || strings.HasSuffix(f.folder(), "test") {
			continue
		}
		calls(f, func(called string, at ast.Node) {
			if called == "store.Specs" || called == "store.Statuses" {
				t.Errorf("%s:%d: %s is called here; take the writer as a parameter and let cmd/virga hand it out", f.path, tree.line(at.Pos()), called)
			}
		})
	}
}

// The simulator replaces the clock of the DB; a decision that asks the machine's clock escapes it.
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

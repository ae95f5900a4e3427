package house

import (
	"bytes"
	"go/ast"
	"slices"
	"testing"
)

const (
	longestFile     = 700
	longestFunction = 100
	widestInterface = 8
)

func TestNothingGrowsTooLarge(t *testing.T) {
	tree := ours(t)
	var files, functions, methods []int
	for _, f := range tree.gos {
		if f.generated {
			continue
		}
		lines := bytes.Count(f.text, []byte("\n"))
		if lines > longestFile {
			t.Errorf("%s:1: %d lines, at most %d; split it by what it is about", f.path, lines, longestFile)
		}
		files = append(files, lines)
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				long := tree.line(n.End()) - tree.line(n.Pos()) + 1
				functions = append(functions, long)
				if long > longestFunction {
					t.Errorf("%s:%d: %s is %d lines long, at most %d; give its parts names", f.path, tree.line(n.Pos()), n.Name.Name, long, longestFunction)
				}
			case *ast.TypeSpec:
				if i, ok := n.Type.(*ast.InterfaceType); ok {
					methods = append(methods, i.Methods.NumFields())
					if i.Methods.NumFields() > widestInterface {
						t.Errorf("%s:%d: interface %s has %d methods, at most %d; make optional abilities small interfaces of their own",
							f.path, tree.line(n.Pos()), n.Name.Name, i.Methods.NumFields(), widestInterface)
					}
				}
			}
			return true
		})
	}
	t.Logf("median: file %d lines (of %d), function %d lines (of %d), interface %d methods (of %d)",
		median(files), len(files), median(functions), len(functions), median(methods), len(methods))
}

func median(n []int) int {
	if len(n) == 0 {
		return 0
	}
	slices.Sort(n)
	return n[len(n)/2]
}

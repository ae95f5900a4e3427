package house

import (
	"go/ast"
	"strings"
	"testing"
)

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	for folder, files := range ours(t).packages() {
		explained, generated := false, true
		for _, f := range files {
			explained = explained || f.ast.Doc != nil
			generated = generated && f.generated
		}
		if !explained && !generated {
			t.Errorf("%s:1: package %s has no package comment; write one, in doc.go or the main file", files[0].path, folder)
		}
	}
}

// The comments of a record's fields are the documentation of the API.
func TestEveryFieldOfARecordIsExplained(t *testing.T) {
	tree := ours(t)
	kinds := 0
	for _, files := range tree.packages() {
		structs := map[string]*ast.StructType{}
		where := map[*ast.StructType]*goFile{}
		var todo []string
		for _, f := range files {
			ast.Inspect(f.ast, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.TypeSpec:
					if s, ok := n.Type.(*ast.StructType); ok {
						structs[n.Name.Name], where[s] = s, f
					}
				case *ast.CallExpr:
					todo = append(todo, recordTypes(n)...)
				}
				return true
			})
		}
		kinds += len(todo) / 2
		seen := map[string]bool{}
		for len(todo) > 0 {
			name := todo[0]
			todo = todo[1:]
			s := structs[name]
			if s == nil || seen[name] {
				continue
			}
			seen[name] = true
			todo = append(todo, checkFields(t, tree, where[s], name, s)...)
		}
	}
	if kinds == 0 {
		t.Error("found no record at all; the rule looks for calls of resource.Define")
	}
	t.Logf("%d kinds of records", kinds)
}

// recordTypes gives the names of the spec and the status in resource.Define(…, resource.Options[S, T]{…}).
func recordTypes(call *ast.CallExpr) []string {
	fun, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || fun.Sel.Name != "Define" || len(call.Args) != 3 {
		return nil
	}
	options, ok := call.Args[2].(*ast.CompositeLit)
	if !ok {
		return nil
	}
	index, ok := options.Type.(*ast.IndexListExpr)
	if !ok {
		return nil
	}
	var out []string
	for _, x := range index.Indices {
		if id, ok := x.(*ast.Ident); ok {
			out = append(out, id.Name)
		}
	}
	return out
}

// checkFields gives the names of the types of the fields, to be checked too.
func checkFields(t *testing.T, tree *tree, f *goFile, name string, s *ast.StructType) []string {
	t.Helper()
	var types []string
	last := "" // one comment may explain the fields that follow, if it names them
	for _, field := range s.Fields.List {
		ast.Inspect(field.Type, func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok {
				types = append(types, id.Name)
			}
			return true
		})
		own := field.Doc.Text() + field.Comment.Text()
		if own != "" {
			last = own
		}
		for _, id := range field.Names {
			if id.IsExported() && own == "" && !strings.Contains(last, id.Name) {
				t.Errorf("%s:%d: %s.%s has no comment; say what it means and in which unit", f.path, tree.line(id.Pos()), name, id.Name)
			}
		}
	}
	return types
}

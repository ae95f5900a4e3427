package cli

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func TestAFieldOfAModelNamesItsPath(t *testing.T) {
	for want, got := range map[string]string{
		"spec.cpus": at(&vmOf.Spec.CPUs), "status.phase": at(&vmOf.Status.Phase), "status": at(&vmOf.Status), "id": at(&vmOf.ID),
		"owner.id": at(&portOf.Owner.ID), "spec.base.digest": at(&volumeOf.Spec.Base.Digest), "status.inventory.threads": at(&hostOf.Status.Inventory.Threads),
		"spec.disks": at(&vmOf.Spec.Disks), "spec.expires": at(&tokenOf.Spec.Expires),
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("what is no field of a model has a path")
		}
	}()
	at(new(string))
}

// A path that is written as a text goes on compiling when its field is renamed.
func TestNoPathOfAFieldIsATextOfItsOwn(t *testing.T) {
	generic := regexp.MustCompile(`^(spec|status)\.(problems|phase)$`) // those that are read of every kind
	path := regexp.MustCompile(`^(spec|status|owner)\.[a-zA-Z.]+$`)
	files := token.NewFileSet()
	packages, err := parser.ParseDir(files, ".", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range packages["cli"].Files {
		ast.Inspect(f, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				text, _ := strconv.Unquote(lit.Value)
				at := files.Position(lit.Pos())
				if path.MatchString(text) && !generic.MatchString(text) && !regexp.MustCompile(`_test\.go$`).MatchString(at.Filename) {
					t.Errorf("%s: %q: write at(&kindOf.Spec.Field)", at, text)
				}
			}
			return true
		})
	}
}

// What is sent has the fields of the models: maps that become specs take their keys from them.
func TestNoKeyOfASpecIsATextOfItsOwn(t *testing.T) {
	envelope := regexp.MustCompile(`^(name|spec|labels)$`) // of every record
	files := token.NewFileSet()
	packages, err := parser.ParseDir(files, ".", func(f fs.FileInfo) bool { return !strings.HasSuffix(f.Name(), "_test.go") }, 0)
	if err != nil {
		t.Fatal(err)
	}
	refuse := func(e ast.Expr) {
		if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if text, _ := strconv.Unquote(lit.Value); !envelope.MatchString(text) {
				t.Errorf("%s: %q: write key(&kindOf.Spec.Field), or send a request of package client", files.Position(lit.Pos()), text)
			}
		}
	}
	for _, f := range packages["cli"].Files {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CompositeLit:
				if m, ok := n.Type.(*ast.MapType); ok && nameOf(m.Value) == "any" {
					for _, pair := range n.Elts {
						refuse(pair.(*ast.KeyValueExpr).Key)
					}
				}
			case *ast.AssignStmt:
				for _, to := range n.Lhs {
					if at, ok := to.(*ast.IndexExpr); ok && (nameOf(at.X) == "spec" || nameOf(at.X) == "in") {
						refuse(at.Index)
					}
				}
			}
			return true
		})
	}
}

func nameOf(e ast.Expr) string {
	name, _ := e.(*ast.Ident)
	if name == nil {
		return ""
	}
	return name.Name
}

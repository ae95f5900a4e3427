package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/virga-cloud/virga"

// root is the folder of the module, as seen from this package's tests.
const root = ".."

// tree is everything that is ours: all files, and the Go among them parsed once.
type tree struct {
	fset  *token.FileSet
	files []string // slash paths below the root
	gos   []*goFile
}

type goFile struct {
	path      string // slash path below the root
	text      []byte
	ast       *ast.File
	test      bool
	generated bool
}

func (f *goFile) folder() string { return path.Dir(f.path) }

// not ours: what is built, fetched, or kept by tools
var foreign = []string{".git", "bin", ".cache", "node_modules", "dist", "vendor"}

var load = sync.OnceValues(func() (*tree, error) {
	t := &tree{fset: token.NewFileSet()}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			if os.IsNotExist(err) {
				return nil // somebody saves a file at this moment
			}
			return err
		}
		if d.IsDir() {
			if slices.Contains(foreign, d.Name()) {
				return fs.SkipDir
			}
			return nil
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		t.files = append(t.files, rel)
		if strings.HasSuffix(rel, ".go") && !strings.Contains(rel, "testdata/") {
			return t.parse(rel)
		}
		return nil
	})
	return t, err
})

func (t *tree) parse(rel string) error {
	text, err := os.ReadFile(filepath.Join(root, rel))
	if err != nil {
		return err
	}
	f, err := parser.ParseFile(t.fset, rel, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	t.gos = append(t.gos, &goFile{path: rel, text: text, ast: f, test: strings.HasSuffix(rel, "_test.go"), generated: ast.IsGenerated(f)})
	return nil
}

func ours(t *testing.T) *tree {
	t.Helper()
	got, err := load()
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// read gives the text of one of our files.
func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// imports lists a file's imports that are ours, below the module's path, with their lines.
func (t *tree) imports(f *goFile) map[string]int {
	out := map[string]int{}
	for _, i := range f.ast.Imports {
		name, _ := strconv.Unquote(i.Path.Value)
		if rest, ok := strings.CutPrefix(name, module+"/"); ok {
			out[rest] = t.line(i.Pos())
		}
	}
	return out
}

func (t *tree) line(p token.Pos) int { return t.fset.Position(p).Line }

// packages groups the files by folder; the tests of a package are left out.
func (t *tree) packages() map[string][]*goFile {
	out := map[string][]*goFile{}
	for _, f := range t.gos {
		if !f.test {
			out[f.folder()] = append(out[f.folder()], f)
		}
	}
	return out
}

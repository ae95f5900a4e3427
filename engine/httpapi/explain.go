package httpapi

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/virga-cloud/virga/engine/fault"
)

// Explain writes the comments of the source into the document: those of types, and of the fields
// of specs and statuses. It is called when the document is made for the repository, where the
// source is; root is the folder of the module.
func Explain(a *API, root, module string) error {
	s := &source{root: root, module: module, packages: map[string]map[string]*ast.TypeSpec{}, docs: map[*ast.TypeSpec]string{}}
	schemas := a.OpenAPI().Components.Schemas.Map()
	for name, t := range a.names.taken {
		schema := schemas[name]
		if schema == nil || !strings.HasPrefix(t.PkgPath(), module) {
			continue
		}
		if err := s.read(t.PkgPath()); err != nil {
			return err
		}
		if schema.Description == "" {
			schema.Description = s.typeDoc(t)
		}
		words, err := s.fields(t)
		if err != nil {
			return err
		}
		for property, text := range words {
			if p := schema.Properties[property]; p != nil && p.Description == "" {
				p.Description = text
			}
		}
	}
	return nil
}

// source are the type declarations of the packages that were read.
type source struct {
	root, module string
	packages     map[string]map[string]*ast.TypeSpec
	docs         map[*ast.TypeSpec]string
}

func (s *source) read(pkg string) error {
	if s.packages[pkg] != nil {
		return nil
	}
	types := map[string]*ast.TypeSpec{}
	s.packages[pkg] = types
	folder := filepath.Join(s.root, strings.TrimPrefix(pkg, s.module))
	entries, err := os.ReadDir(folder)
	if err != nil {
		return fault.New(fault.Internal, "read the source of %s: %w", pkg, err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(folder, e.Name()), nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return fault.New(fault.Internal, "read the source of %s: %w", pkg, err)
		}
		for _, d := range file.Decls {
			s.declared(types, d)
		}
	}
	return nil
}

func (s *source) declared(types map[string]*ast.TypeSpec, d ast.Decl) {
	g, ok := d.(*ast.GenDecl)
	if !ok {
		return
	}
	for _, spec := range g.Specs {
		if t, ok := spec.(*ast.TypeSpec); ok {
			types[t.Name.Name] = t
			s.docs[t] = sentence(g.Doc)
			if t.Doc != nil {
				s.docs[t] = sentence(t.Doc)
			}
		}
	}
}

func (s *source) find(t reflect.Type) *ast.TypeSpec {
	name, _, _ := strings.Cut(t.Name(), "[")
	return s.packages[t.PkgPath()][name]
}

// typeDoc is the comment of a type; of a record, of its alias in the domain: type VM = resource.Record[…].
func (s *source) typeDoc(t reflect.Type) string {
	if generic, _, _ := strings.Cut(t.Name(), "["); generic == "Record" {
		spec := field(t, "Spec")
		if s.read(spec.PkgPath()) != nil {
			return ""
		}
		if alias := s.packages[spec.PkgPath()][Noun(spec)]; alias != nil {
			return s.docs[alias]
		}
		return ""
	}
	if found := s.find(t); found != nil {
		return s.docs[found]
	}
	return ""
}

// fields gives the comments of a struct's fields by their names in JSON, those of embedded structs too.
func (s *source) fields(t reflect.Type) (map[string]string, error) {
	out := map[string]string{}
	if err := s.read(t.PkgPath()); err != nil {
		return nil, err
	}
	own := map[string]string{}
	if declared := s.find(t); declared != nil {
		own = fieldComments(declared)
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" && f.Type.Kind() == reflect.Struct {
			inner, err := s.fields(f.Type)
			if err != nil {
				return nil, err
			}
			for k, v := range inner {
				out[k] = v
			}
			continue
		}
		if name == "" {
			name = f.Name
		}
		out[name] = own[f.Name]
	}
	return out, nil
}

// fieldComments are the comments of fields; one comment may stand for the fields after it, if it names them.
func fieldComments(t *ast.TypeSpec) map[string]string {
	out := map[string]string{}
	body, ok := t.Type.(*ast.StructType)
	if !ok {
		return out
	}
	last := ""
	for _, f := range body.Fields.List {
		text := sentence(f.Doc)
		if text == "" {
			text = sentence(f.Comment)
		}
		if text != "" {
			last = text
		}
		for _, id := range f.Names {
			switch {
			case text != "":
				out[id.Name] = text
			case strings.Contains(last, id.Name):
				out[id.Name] = last
			}
		}
	}
	return out
}

func sentence(g *ast.CommentGroup) string {
	if g == nil {
		return ""
	}
	return strings.TrimSpace(strings.ReplaceAll(strings.TrimSpace(g.Text()), "\n", " "))
}

package client

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// fields lists the JSON names of every struct of a file.
func fields(t *testing.T, file string) map[string]map[string]bool {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]map[string]bool{}
	ast.Inspect(parsed, func(n ast.Node) bool {
		named, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		body, ok := named.Type.(*ast.StructType)
		if !ok {
			return true
		}
		out[named.Name.Name] = map[string]bool{}
		for _, f := range body.Fields.List {
			name, _, _ := strings.Cut(reflect.StructTag(strings.Trim(f.Tag.Value, "`")).Get("json"), ",")
			out[named.Name.Name][name] = true
		}
		return true
	})
	return out
}

func TestModelsAreThoseOfTheDocument(t *testing.T) {
	data, err := os.ReadFile("../docs/api/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Components struct {
			Schemas map[string]struct {
				Type       any
				Properties map[string]any
			}
		}
	}
	if err := yaml.Unmarshal(data, &document); err != nil {
		t.Fatal(err)
	}
	models := fields(t, "models.gen.go")
	for name, schema := range document.Components.Schemas {
		if schema.Type != "object" || len(schema.Properties) == 0 {
			continue
		}
		model, there := models[name]
		delete(models, name)
		if !there {
			t.Errorf("there is no model %s; run make gen", name)
			continue
		}
		for field := range schema.Properties {
			if !model[field] {
				t.Errorf("model %s has no field %s; run make gen", name, field)
			}
		}
		for field := range model {
			if _, there := schema.Properties[field]; !there {
				t.Errorf("model %s has a field %s, the document has none; run make gen", name, field)
			}
		}
	}
	for name := range models {
		t.Errorf("model %s is not in the document; run make gen", name)
	}
}

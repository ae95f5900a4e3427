package httpapi

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"sigs.k8s.io/yaml"

	"github.com/virga-cloud/virga/engine/fault"
)

var pathWord = regexp.MustCompile(`\{([a-z]+)\}`)

func pathParameters(path string) []*huma.Param {
	docs := map[string]string{"project": "The name of the project.", "name": "The name or the id."}
	var out []*huma.Param
	for _, m := range pathWord.FindAllStringSubmatch(path, -1) {
		out = append(out, &huma.Param{Name: m[1], In: "path", Required: true, Description: docs[m[1]], Schema: &huma.Schema{Type: huma.TypeString}})
	}
	return out
}

func (a *API) problemSchema() *huma.Schema {
	return a.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Problem](), true, "")
}

// WriteOpenAPI writes the document of all routes that are registered, as YAML. Called within the
// repository it adds the words of the source's comments.
func WriteOpenAPI(a *API, w io.Writer) error {
	module := strings.TrimSuffix(reflect.TypeFor[API]().PkgPath(), "/engine/httpapi")
	if root := repository(module); root != "" {
		if err := Explain(a, root, module); err != nil {
			return err
		}
	}
	data, err := a.OpenAPI().YAML()
	if err != nil {
		return fault.New(fault.Internal, "write the OpenAPI document: %w", err)
	}
	_, err = w.Write(data)
	return err
}

// repository is the folder above the working directory that holds the module; empty if none does.
func repository(module string) string {
	dir, err := os.Getwd()
	for ; err == nil && dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		data, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(data), "module "+module+"\n") {
			return dir
		}
	}
	return ""
}

// document is what is served: the document that the program was built with, which has the words of
// the source's comments, or else one made of the routes.
func (a *API) document() ([]byte, error) {
	if len(a.options.Document) > 0 {
		data, err := yaml.YAMLToJSON(a.options.Document)
		if err != nil {
			return nil, fault.New(fault.Internal, "read the OpenAPI document: %w", err)
		}
		return data, nil
	}
	data, err := a.OpenAPI().MarshalJSON()
	if err != nil {
		return nil, fault.New(fault.Internal, "write the OpenAPI document: %w", err)
	}
	return data, nil
}

func (a *API) registerDocument() {
	document := sync.OnceValues(a.document)
	page := sync.OnceValues(func() ([]byte, error) {
		data, err := document()
		if err != nil {
			return nil, err
		}
		return referencePage(data)
	})
	serve := func(pattern, media string, content func() ([]byte, error)) {
		a.Mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			data, err := content()
			if err != nil {
				writeProblem(w, r, err)
				return
			}
			w.Header().Set("Content-Type", media)
			w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
			_, _ = w.Write(data)
		})
	}
	serve("GET /openapi.json", "application/openapi+json", document)
	serve("GET /docs", "text/html; charset=utf-8", page)
}

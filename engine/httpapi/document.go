package httpapi

import (
	"io"
	"net/http"
	"reflect"
	"regexp"

	"github.com/danielgtaylor/huma/v2"

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

// WriteOpenAPI writes the document of all routes that are registered, as YAML.
func WriteOpenAPI(a *API, w io.Writer) error {
	data, err := a.OpenAPI().YAML()
	if err != nil {
		return fault.New(fault.Internal, "write the OpenAPI document: %w", err)
	}
	_, err = w.Write(data)
	return err
}

func (a *API) registerDocument() {
	a.Mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, r *http.Request) {
		data, err := a.OpenAPI().MarshalJSON()
		if err != nil {
			writeProblem(w, r, fault.New(fault.Internal, "write the OpenAPI document: %w", err))
			return
		}
		w.Header().Set("Content-Type", "application/openapi+json")
		_, _ = w.Write(data)
	})
}

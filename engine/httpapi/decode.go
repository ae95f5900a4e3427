package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/validation"

	"github.com/virga-cloud/virga/engine/fault"
)

// decode reads a request strictly: unknown fields, wrong types and words that are not in the list
// are refused, all at once. What is missing is left to the domain's defaults and checks.
func (a *API) decode(raw []byte, into any) error {
	var tree any
	if err := json.Unmarshal(raw, &tree); err != nil {
		return fault.New(fault.Invalid, "the request is no JSON: %w", err)
	}
	if _, isObject := tree.(map[string]any); !isObject {
		return fault.New(fault.Invalid, "the request must be a JSON object")
	}
	schema := a.lenient.Schema(reflect.TypeOf(into), true, "")
	result := &huma.ValidateResult{}
	huma.Validate(a.lenient, schema, huma.NewPathBuffer(nil, 0), huma.ModeWriteToServer, tree, result)
	if details := a.explain(schema, result.Errors); len(details) > 0 {
		return fault.Fields("the request", details)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return fault.Fields("the request", []fault.Detail{{Field: wrong.Field, Message: "a " + wrong.Value + " does not fit here; expected " + wrong.Type.String()}})
		}
		return fault.New(fault.Invalid, "read the request: %w", err)
	}
	return nil
}

// prepare makes the schemas of a type before the first request: the registry is not safe to write
// to while it is read.
func (a *API) prepare(t reflect.Type) { a.lenient.Schema(t, true, "") }

// explain makes details of what the validation found. An empty word where a word of a list is
// wanted is as if it were missing.
func (a *API) explain(schema *huma.Schema, found []error) []fault.Detail {
	var out []fault.Detail
	for _, err := range found {
		d, ok := errors.AsType[*huma.ErrorDetail](err)
		if !ok {
			out = append(out, fault.Detail{Message: err.Error()})
			continue
		}
		if d.Value == "" && strings.HasPrefix(d.Message, "expected value to be one of") {
			continue
		}
		text := d.Message
		switch {
		case d.Message == validation.MsgUnexpectedProperty:
			text = unknown(fieldsAt(a.lenient, schema, d.Location), d.Location)
		case isBytes(a.lenient, schema, d.Location): // perhaps of a secret: a refusal is kept, and does not repeat it
		case d.Value != nil && isScalar(d.Value):
			text += fmt.Sprintf(", got %s", asJSON(d.Value))
		}
		out = append(out, fault.Detail{Field: d.Location, Message: text})
	}
	slices.SortFunc(out, func(x, y fault.Detail) int { return strings.Compare(x.Field, y.Field) })
	return out
}

func isScalar(v any) bool {
	switch v.(type) {
	case string, float64, bool:
		return true
	}
	return false
}

func asJSON(v any) string {
	data, _ := json.Marshal(v)
	if len(data) > 60 {
		data = append(data[:57], "..."...)
	}
	return string(data)
}

// unknown says that a field is not known, and which ones are near it.
func unknown(fields []string, location string) string {
	name := location[strings.LastIndexByte(location, '.')+1:]
	var near []string
	for _, f := range fields {
		if isNear(name, f) {
			near = append(near, f)
		}
	}
	slices.Sort(near)
	if len(near) > 0 {
		return "no such field; did you mean " + strings.Join(near, " or ") + "?"
	}
	slices.Sort(fields)
	return "no such field; there are: " + strings.Join(fields, ", ")
}

// isNear reports whether a word could be meant by another: nearly the same letters, or the start of it.
func isNear(typed, there string) bool {
	x, y := strings.ToLower(typed), strings.ToLower(there)
	if len(x) >= 3 && (strings.HasPrefix(y, x) || strings.HasPrefix(x, y) && len(y) >= 3) {
		return true
	}
	return distance(x, y) <= max(1, min(len(y)/2, 3))
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := diagonal
			if a[i-1] != b[j-1] {
				change++
			}
			diagonal = row[j]
			row[j] = min(change, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}

// parentAt is the schema that holds the last step of a location like spec.disks[0].mdoel; nil: there is none.
func parentAt(registry huma.Registry, s *huma.Schema, location string) *huma.Schema {
	steps := strings.Split(location, ".")
	resolve := func(s *huma.Schema) *huma.Schema {
		for s != nil && s.Ref != "" {
			s = registry.SchemaFromRef(s.Ref)
		}
		return s
	}
	s = resolve(s)
	for _, step := range steps[:len(steps)-1] {
		name, _, indexed := strings.Cut(step, "[")
		if s == nil {
			return nil
		}
		if next, ok := s.Properties[name]; ok {
			s = resolve(next)
		} else if next, ok := s.AdditionalProperties.(*huma.Schema); ok {
			s = resolve(next)
		}
		if indexed && s != nil {
			s = resolve(s.Items)
		}
	}
	return s
}

// isBytes reports whether a field takes bytes, in base64.
func isBytes(registry huma.Registry, s *huma.Schema, location string) bool {
	parent := parentAt(registry, s, location)
	if parent == nil {
		return false
	}
	f := parent.Properties[location[strings.LastIndex(location, ".")+1:]]
	return f != nil && f.ContentEncoding == "base64"
}

// fieldsAt lists the fields that are known beside the last step of a location.
func fieldsAt(registry huma.Registry, s *huma.Schema, location string) []string {
	if s = parentAt(registry, s, location); s == nil {
		return nil
	}
	out := make([]string, 0, len(s.Properties))
	for name := range s.Properties {
		out = append(out, name)
	}
	return out
}

// merge applies a JSON merge patch (RFC 7396).
func merge(target, patch any) any {
	p, isObject := patch.(map[string]any)
	if !isObject {
		return patch
	}
	t, isObject := target.(map[string]any)
	if !isObject {
		t = map[string]any{}
	}
	for k, v := range p {
		if v == nil {
			delete(t, k)
		} else {
			t[k] = merge(t[k], v)
		}
	}
	return t
}

// tree makes the JSON tree of a value without its nulls.
func tree(v any) map[string]any {
	data, err := json.Marshal(v)
	if err != nil {
		panic("httpapi: a spec that is no JSON: " + err.Error())
	}
	var out map[string]any
	_ = json.Unmarshal(data, &out)
	dropNulls(out)
	return out
}

func dropNulls(v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			if x == nil {
				delete(v, k)
			}
			dropNulls(x)
		}
	case []any:
		for _, x := range v {
			dropNulls(x)
		}
	}
}

package wiring

import (
	"encoding/json"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/virga-cloud/virga/engine/resource"
)

// operators matches the names of fields that tell a tenant where and how the cloud runs what is theirs.
var operators = regexp.MustCompile(`^(hostIDs?|ownerHostID|serverID|uid|pid|path|device|hash|secret)$`)

// tenants are fields of such names that are the tenant's own words.
var tenants = []string{"vm spec.hostID"}

// A new field of a tenant's kind that names a host, a process, a user or a path needs a guard.
func TestEveryFieldOfTheOperatorsIsGuarded(t *testing.T) {
	for _, d := range Catalog().All() {
		if d.Scope != resource.InProject {
			continue
		}
		walk(reflect.TypeOf(d.New()).Elem(), "", func(path string) {
			word := path[strings.LastIndexByte(path, '.')+1:]
			if !operators.MatchString(word) || guarded(d, path) || slices.Contains(tenants, string(d.Kind)+" "+path) {
				return
			}
			t.Errorf("kind %s: %s is shown to tenants; guard it in the kind's options", d.Kind, path)
		})
	}
}

// What is guarded is nowhere in what a member of the project is shown, and is in what the operator is.
func TestNoTenantSeesWhatIsGuarded(t *testing.T) {
	for _, d := range Catalog().All() {
		full := reflect.ValueOf(d.New())
		fill(full.Elem())
		x := full.Interface().(resource.Object)
		for path, least := range d.Guards {
			if at(t, d.See(x, least-1, ""), path) {
				t.Errorf("kind %s: %s is seen with less sight than it takes", d.Kind, path)
			}
			if least < resource.Nobody && !at(t, d.See(x, least, ""), path) {
				t.Errorf("kind %s: %s is not seen by who may", d.Kind, path)
			}
			if !at(t, x, path) {
				t.Errorf("kind %s: %s is taken out of the shared record", d.Kind, path)
			}
		}
	}
}

func guarded(d resource.Descriptor, path string) bool {
	for guard, least := range d.Guards {
		if least >= resource.Operator && (path == guard || strings.HasPrefix(path, guard+".")) {
			return true
		}
	}
	return false
}

// walk tells the JSON path of every field of a record.
func walk(t reflect.Type, path string, tell func(string)) {
	for t.Kind() == reflect.Slice || t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return
	}
	for i := range t.NumField() {
		f := t.Field(i)
		word, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case !f.IsExported():
		case f.Anonymous && word == "":
			walk(f.Type, path, tell)
		case word != "":
			tell(path + word)
			walk(f.Type, path+word+".", tell)
		}
	}
}

// fill puts something into every field.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		if v.Type() == reflect.TypeFor[json.RawMessage]() {
			v.SetBytes([]byte(`"x"`))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.Index(0).SetUint('x')
			return
		}
		fill(v.Index(0))
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i))
			}
		}
	}
}

// at reports whether the JSON of a record has something at a path.
func at(t *testing.T, x resource.Object, path string) bool {
	t.Helper()
	text, err := json.Marshal(x)
	if err != nil {
		t.Fatal(err)
	}
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		t.Fatal(err)
	}
	for word := range strings.SplitSeq(path, ".") {
		if list, ok := value.([]any); ok && len(list) > 0 {
			value = list[0]
		}
		fields, _ := value.(map[string]any)
		value = fields[word]
	}
	return value != nil && value != "" && value != 0.0
}

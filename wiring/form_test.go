package wiring

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/resource"
)

// filled puts something into every field of a value.
func filled(r *rand.Rand, v reflect.Value, depth int) {
	switch x := v.Addr().Interface().(type) {
	case *time.Time:
		*x = time.Unix(r.Int64N(1<<32), r.Int64N(1e9)).UTC()
		return
	case *json.RawMessage:
		*x = json.RawMessage(`{"a":[1,null,"<x>"]}`)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		filled(r, v.Elem(), depth)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				filled(r, v.Field(i), depth)
			}
		}
	case reflect.Slice:
		if depth < 4 {
			v.Set(reflect.MakeSlice(v.Type(), r.IntN(3), 3))
		}
		for i := range v.Len() {
			filled(r, v.Index(i), depth+1)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range r.IntN(3) {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			filled(r, key, depth)
			filled(r, value, depth)
			v.SetMapIndex(key, value)
		}
	case reflect.String:
		v.SetString([]string{"", "word", `<a&b> "q" \ 	`, "grün\u2028", "1e400"}[r.IntN(5)])
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	default:
		if v.CanInt() {
			v.SetInt(r.Int64N(1 << (v.Type().Bits() - 2)))
		} else if v.CanUint() {
			v.SetUint(r.Uint64N(1 << (v.Type().Bits() - 2)))
		}
	}
}

// The library that reads and writes records is chosen for its speed: what it writes is, byte for byte, what the
// standard library writes, and it reads what that reads.
func TestRecordsAreWrittenAsTheStandardLibraryDoes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, d := range Catalog().All() {
		for range 20 {
			x := d.New()
			filled(r, reflect.ValueOf(x).Elem(), 0)
			text, err := resource.Encode(x)
			if err != nil {
				t.Fatalf("%s: %v", d.Kind, err)
			}
			var parts struct{ Spec, Status json.RawMessage }
			if err := json.Unmarshal(text, &parts); err != nil {
				t.Fatalf("%s: %v", d.Kind, err)
			}
			for name, got := range map[string]json.RawMessage{"Spec": parts.Spec, "Status": parts.Status} {
				want, err := json.Marshal(reflect.ValueOf(x).Elem().FieldByName(name).Interface())
				if err != nil || string(want) != string(got) {
					t.Fatalf("the %s of %s is written as\n%s, by the standard library as\n%s (%v)", strings.ToLower(name), d.Kind, got, want, err)
				}
			}
			back, err := d.Decode(text, 0)
			if err != nil {
				t.Fatalf("%s: %v", d.Kind, err)
			}
			again, err := resource.Encode(back)
			back.Head().Revision, x.Head().Revision = 0, 0
			if x, _ := resource.Encode(x); err != nil || !reflect.DeepEqual(again, x) {
				t.Fatalf("%s comes back as\n%s, and was\n%s (%v)", d.Kind, again, x, err)
			}
		}
	}
}

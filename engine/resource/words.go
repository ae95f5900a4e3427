package resource

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
)

// Strange names a word of a record that this program does not know: the value of a field that has a
// closed list of them. A newer version may have more. Empty: there is none.
func Strange(x Object) string {
	v := reflect.ValueOf(x).Elem()
	for _, w := range wordsOf(v.Type()) {
		if why := w.check(v, ""); why != "" {
			return why
		}
	}
	return ""
}

// words is a place in a type from which fields with closed lists are reached.
type words struct {
	field int
	name  string
	list  []string // of the field itself
	below []words  // of a struct, or of what a list, a map or a pointer leads to
}

var wordsKnown sync.Map // reflect.Type -> []words

func wordsOf(t reflect.Type) []words {
	if known, ok := wordsKnown.Load(t); ok {
		return known.([]words)
	}
	out := findWords(t, nil)
	wordsKnown.Store(t, out)
	return out
}

// findWords walks a type; above are the types that it is inside of, which are not walked again.
func findWords(t reflect.Type, above []reflect.Type) (out []words) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || slices.Contains(above, t) {
		return nil
	}
	above = append(slices.Clone(above), t)
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() {
			continue
		}
		w := words{field: i, name: strings.Split(f.Tag.Get("json"), ",")[0], below: findWords(f.Type, above)}
		if list := f.Tag.Get("enum"); list != "" {
			w.list = strings.Split(list, ",")
		}
		if w.list != nil || w.below != nil {
			out = append(out, w)
		}
	}
	return out
}

func (w words) check(v reflect.Value, above string) string {
	name := above
	if w.name != "" {
		name = strings.TrimPrefix(above+"."+w.name, ".")
	}
	return w.checkValue(v.Field(w.field), name)
}

func (w words) checkValue(v reflect.Value, name string) string {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			return w.checkValue(v.Elem(), name)
		}
	case reflect.Slice:
		for i := range v.Len() {
			if why := w.checkValue(v.Index(i), name); why != "" {
				return why
			}
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			if why := w.checkValue(it.Value(), name); why != "" {
				return why
			}
		}
	case reflect.String:
		if word := v.String(); w.list != nil && word != "" && !slices.Contains(w.list, word) {
			return fmt.Sprintf("this version of virga does not know the %s %q", name, word)
		}
	case reflect.Struct:
		for _, b := range w.below {
			if why := b.check(v, name); why != "" {
				return why
			}
		}
	}
	return ""
}

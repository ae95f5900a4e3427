package resource

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Sight is how much of a record somebody may see: who has more sees all that who has less sees.
// An agent sees whole what reaches it, for that is what it has to do.
type Sight int

// The sights.
const (
	Borrower Sight = iota // people of a project that the record is lent to, or that only knows of it
	Reader                // who may read in the record's project
	Writer                // who may write there
	Operator              // who runs the cloud
	Nobody                // of a field: not even the operator sees it
)

// guard takes one field out of the sight of those who have less.
type guard struct {
	least Sight
	path  [][]int // the field of each struct on the way, as reflect numbers it
}

// guards reads what Options say of a record's fields. A path that leads nowhere is an error of the program.
func guards(kind Kind, record reflect.Type, least map[string]Sight) (out []guard) {
	for path, sight := range least {
		g, t := guard{least: sight}, record
		for _, word := range strings.Split(path, ".") {
			for t.Kind() == reflect.Slice || t.Kind() == reflect.Pointer {
				t = t.Elem()
			}
			f, found := jsonField(t, word)
			if !found {
				panic(fmt.Sprintf("resource: kind %q has no field %s to guard", kind, path))
			}
			g.path, t = append(g.path, f.Index), f.Type
		}
		out = append(out, g)
	}
	return out
}

func jsonField(t reflect.Type, word string) (reflect.StructField, bool) {
	if t.Kind() != reflect.Struct {
		return reflect.StructField{}, false
	}
	for _, f := range reflect.VisibleFields(t) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name == word && f.IsExported() {
			return f, true
		}
	}
	return reflect.StructField{}, false
}

// Seen gives a record as it is shown, with the name that its project has now; it is a copy if that is not
// how it is stored. What a newer program wrote and this one does not understand is shown to the operator
// alone.
func (t *Type[S, T]) Seen(r *Record[S, T], as Sight, project string) *Record[S, T] {
	hidden := slices.DeleteFunc(slices.Clone(t.guards), func(g guard) bool { return g.least <= as })
	inside := as < Operator && (r.stored != nil || hasOutside(r.problems()) || len(r.outsiders()) > 0)
	if len(hidden) == 0 && !inside && project == "" {
		return r
	}
	mine := *r
	mine.ProjectName = project
	if inside {
		mine.stored = nil
		mine.sayOutside()
	}
	for _, g := range hidden {
		blank(reflect.ValueOf(&mine).Elem(), g.path)
	}
	return &mine
}

// problems are those of any status.
func (r *Record[S, T]) problems() []Problem {
	if o, ok := any(&r.Status).(interface{ observed() *Observed }); ok {
		return o.observed().Problems
	}
	return nil
}

func hasOutside(problems []Problem) bool {
	return slices.ContainsFunc(problems, func(p Problem) bool { return p.Outside != "" })
}

// Outsider is a spec or a status that has other words for who does not run the cloud.
type Outsider interface {
	HasOutside() bool
	// SayOutside replaces the words for the operator by those.
	SayOutside()
}

// outsiders are the halves that have such words.
func (r *Record[S, T]) outsiders() (out []Outsider) {
	for _, half := range []any{&r.Spec, &r.Status} {
		if o, ok := half.(Outsider); ok && o.HasOutside() {
			out = append(out, o)
		}
	}
	return out
}

// sayOutside replaces the words for the operator by those for others.
func (r *Record[S, T]) sayOutside() {
	for _, o := range r.outsiders() {
		o.SayOutside()
	}
	mine := slices.Clone(r.problems())
	for i, p := range mine {
		if p.Outside != "" {
			mine[i].Message, mine[i].Outside = p.Outside, ""
		}
	}
	if len(mine) > 0 {
		any(&r.Status).(interface{ observed() *Observed }).observed().Problems = mine
	}
}

// Keep puts back into a spec that somebody wrote what they could not see of the old one.
func (t *Type[S, T]) Keep(old, wanted *Record[S, T], as Sight) {
	for _, g := range t.guards {
		if g.least > as {
			keep(reflect.ValueOf(old).Elem(), reflect.ValueOf(wanted).Elem(), g.path)
		}
	}
}

// blank empties a field, and copies what is shared on the way to it.
func blank(v reflect.Value, path [][]int) {
	if len(path) == 0 {
		v.SetZero()
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		blank(v.FieldByIndex(path[0]), path[1:])
	case reflect.Pointer:
		if !v.IsNil() {
			mine := reflect.New(v.Type().Elem())
			mine.Elem().Set(v.Elem())
			blank(mine.Elem(), path)
			v.Set(mine)
		}
	case reflect.Slice:
		if !v.IsNil() {
			mine := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
			reflect.Copy(mine, v)
			for i := range mine.Len() {
				blank(mine.Index(i), path)
			}
			v.Set(mine)
		}
	}
}

func keep(old, wanted reflect.Value, path [][]int) {
	for _, index := range path {
		if old.Kind() != reflect.Struct {
			return // of a list nobody can say which element was meant
		}
		old, wanted = old.FieldByIndex(index), wanted.FieldByIndex(index)
	}
	if wanted.IsZero() {
		wanted.Set(old)
	}
}

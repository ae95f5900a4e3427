package httpapi

import (
	"reflect"

	"github.com/virga-cloud/virga/engine/resource"
)

// resolve puts ids in the place of names: a field of a request with the tag ref:"KIND" is an id, or
// several, of records of that kind, and whoever asks may write the name instead. They need no right to
// read the kind for it, as somebody who may use a datastore need not be allowed to look at it. A name
// that is not there is left for the domain to refuse, in its own words.
func (a *API) resolve(c *Call, request any) { a.resolveIn(c, reflect.ValueOf(request), "") }

var idType = reflect.TypeFor[resource.ID]()

func (a *API) resolveIn(c *Call, v reflect.Value, kind resource.Kind) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			a.resolveIn(c, v.Elem(), kind)
		}
	case reflect.Slice:
		for i := range v.Len() {
			a.resolveIn(c, v.Index(i), kind)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				a.resolveIn(c, v.Field(i), resource.Kind(f.Tag.Get("ref")))
			}
		}
	case reflect.String:
		if kind == "" || v.Type() != idType || v.String() == "" {
			return
		}
		project := c.Project
		if known := a.kinds[kind]; known == nil || known.Scope != resource.InProject {
			project = ""
		}
		if x := c.Snapshot.NamedOf(kind, project, v.String()); x != nil {
			v.SetString(string(x.Head().ID))
		}
	}
}

package httpapi

import (
	"reflect"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// resolve puts ids in the place of names: a field of a request with the tag ref:"KIND" is an id, or
// several, of records of that kind, and whoever asks may write the name instead. They need no right to
// read the kind for it, as somebody who may use a datastore need not be allowed to look at it. A name
// that is not there is left for the domain to refuse, in its own words; one that could mean several is refused.
func (a *API) resolve(c *Call, request any) error {
	return a.resolveIn(c, reflect.ValueOf(request), "")
}

// meant is the record that a name means in a request: one of the project, or that is lent to it.
func (k *kind[S, T]) meant(c *Call, name string) (resource.ID, error) {
	project := c.Project
	if k.Scope != resource.InProject {
		project = ""
	}
	if k.Lending.To == nil {
		if r := store.Named(c.Snapshot, k.Type, project, name); r != nil {
			return r.ID, nil
		}
		return "", nil
	}
	r, err := k.Lending.Find(c.Snapshot, k.Type, project, name)
	if err != nil {
		if fault.Is(err, fault.Conflict) {
			return "", err
		}
		return "", nil
	}
	return r.ID, nil
}

var idType = reflect.TypeFor[resource.ID]()

func (a *API) resolveIn(c *Call, v reflect.Value, kind resource.Kind) error {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			return a.resolveIn(c, v.Elem(), kind)
		}
	case reflect.Slice:
		for i := range v.Len() {
			if err := a.resolveIn(c, v.Index(i), kind); err != nil {
				return err
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				if err := a.resolveIn(c, v.Field(i), resource.Kind(f.Tag.Get("ref"))); err != nil {
					return err
				}
			}
		}
	case reflect.String:
		known := a.kinds[kind]
		if known == nil || v.Type() != idType || v.String() == "" {
			return nil
		}
		id, err := known.meant(c, v.String())
		if err != nil || id == "" {
			return err
		}
		v.SetString(string(id))
	}
	return nil
}

package wiring

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
)

// What holds a project holds its id: a name in a record would be another project's one day.
func TestRecordsHoldProjectsByID(t *testing.T) {
	shown := reflect.TypeFor[resource.Meta]()
	var walk func(path string, typ reflect.Type)
	walk = func(path string, typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			walk(path, typ.Elem())
		case reflect.Struct:
			for i := range typ.NumField() {
				f := typ.Field(i)
				word := strings.ToLower(strings.SplitN(f.Tag.Get("json"), ",", 2)[0])
				of := f.Type
				for of.Kind() == reflect.Slice || of.Kind() == reflect.Pointer {
					of = of.Elem()
				}
				speaks := strings.Contains(word, "project") || f.Tag.Get("ref") == "project"
				if speaks && of != reflect.TypeFor[resource.ID]() && !(typ == shown && f.Name == "ProjectName") {
					t.Errorf("%s.%s speaks of a project and is %s: hold its id, a resource.ID", path, f.Name, f.Type)
				}
				if f.IsExported() {
					walk(path+"."+f.Name, f.Type)
				}
			}
		}
	}
	for _, d := range Catalog().All() {
		walk(string(d.Kind), reflect.TypeOf(d.New()).Elem())
	}
}

// Of each kind, a record that a dead project has left is nowhere in the project that took its name: not
// among its records, under its names, or in its totals; and what is shown of it does not bear the name.
func TestProjectOfADeadOnesNameHasNothingOfAnyKind(t *testing.T) {
	const dead, heir resource.ID = "01990000-0000-7000-8000-00000000000a", "01990000-0000-7000-8000-00000000000b"
	for _, d := range Catalog().All() {
		if d.Scope != resource.InProject {
			continue
		}
		t.Run(string(d.Kind), func(t *testing.T) {
			db := store.NewDB(memory.New(), Catalog())
			done := make(chan struct{})
			go func() { defer close(done); _ = db.Run(t.Context()) }()
			x := d.New()
			fill(reflect.ValueOf(x).Elem())
			wordless(reflect.ValueOf(x).Elem())
			*x.Head() = resource.Meta{Kind: d.Kind, ID: resource.NewID(), Name: "left", Project: dead, ProjectName: "shop"}
			p := resource.Meta{Kind: "project", ID: heir, Name: "shop"}
			for _, record := range []resource.Object{x, &p} {
				value, err := json.Marshal(record)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := db.Store().Commit(t.Context(), store.Change{Key: record.Head().Ref(), Op: store.Put, Value: value, Expect: store.Any}); err != nil {
					t.Fatal(err)
				}
			}
			if err := db.CaughtUp(t.Context()); err != nil {
				t.Fatal(err)
			}
			s := db.Snapshot()
			if s.NamedOf("project", "", "shop") == nil || s.Lookup(x.Head().ID) == nil || s.NameOf(heir) != "shop" {
				t.Fatalf("the records are not there: %v", db.NotUnderstood())
			}
			if s.NamedOf(d.Kind, heir, "left") != nil || s.NamedOf(d.Kind, heir, string(x.Head().ID)) != nil || s.CountInProject(d.Kind, heir) != 0 {
				t.Error("it is among the records of the other")
			}
			for _, total := range d.Totals {
				if s.Total(dead, total) == 0 || s.Total(heir, total) != 0 {
					t.Errorf("%s counts %d for the dead one, %d for the other", total, s.Total(dead, total), s.Total(heir, total))
				}
			}
			for _, ref := range d.Refs(x) {
				if ref.Project == heir || ref.Project == "shop" {
					t.Errorf("it refers to %s", ref)
				}
			}
			if seen := d.See(s.Lookup(x.Head().ID), resource.Operator, s.NameOf(dead)).Head(); seen.ProjectName == "shop" || seen.Project != dead {
				t.Errorf("it is shown in project %q, %s", seen.ProjectName, seen.Project)
			}
		})
	}
}

// wordless empties the texts of a record that was filled, but for its ids: some have their words.
func wordless(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		if v.Type() != reflect.TypeFor[resource.ID]() {
			v.SetString("")
		}
	case reflect.Pointer:
		wordless(v.Elem())
	case reflect.Slice:
		for i := range v.Len() {
			wordless(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				wordless(v.Field(i))
			}
		}
	}
}

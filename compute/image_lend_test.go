package compute

import (
	"strings"
	"testing"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
	"github.com/virga-cloud/virga/identity"
)

func TestImageNamesAreNeverGuessed(t *testing.T) {
	db := store.NewDB(memory.New(), resource.NewCatalog(Images, identity.Projects))
	done := make(chan struct{})
	go func() { defer close(done); _ = db.Run(t.Context()) }()
	l := store.NewRegistry()
	images, statuses := store.Specs(l, Images, "api"), store.Statuses(l, Images, "image")
	projects := store.Specs(l, identity.Projects, "api")
	b := db.Begin()
	ids := map[string]resource.ID{}
	for _, name := range []string{"a", "b", "c", "d"} {
		p := &identity.Project{Meta: resource.Meta{Name: name}}
		projects.Create(b, p)
		ids[name] = p.ID
	}
	for _, x := range []struct {
		project, name, visibility, phase string
		with                             []resource.ID
	}{
		{"a", "base", ToCloud, ImageReady, nil}, {"b", "base", ToCloud, ImageReady, nil}, {"c", "base", ToProject, ImageReady, nil},
		{"a", "one", ToCloud, ImageReady, nil}, {"b", "one", ToCloud, ImageImporting, nil}, {"b", "one-c", ToShared, ImageReady, []resource.ID{ids["c"]}},
		{"a", "private", ToProject, ImageReady, nil}, {"a", "two", ToCloud, ImageReady, nil}, {"b", "two", ToShared, ImageReady, []resource.ID{ids["c"]}},
	} {
		i := &Image{Meta: resource.Meta{Name: x.name, Project: ids[x.project]}, Spec: ImageSpec{Visibility: x.visibility, SharedWith: x.with}}
		images.Create(b, i)
		statuses.Set(b, i, func(s *ImageStatus) { s.Phase = x.phase })
	}
	if err := db.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ project, name, want string }{
		{"c", "base", "c/base"}, {"c", "a/base", "a/base"}, {"c", "b/base", "b/base"}, {"c", "one", "a/one"}, {"c", "one-c", "b/one-c"}, {"a", "a/private", "a/private"},
		{"d", "base", "ambiguous: a/base or b/base"}, {"c", "two", "ambiguous: a/two or b/two"}, {"a", "two", "a/two"}, {"d", "two", "a/two"},
		{"a", "one-c", "none"}, {"c", "private", "none"}, {"c", "a/private", "none"}, {"c", "", "none"}, {"c", "/", "none"},
	} {
		i, err := ImageLending.Find(db.Snapshot(), Images, ids[c.project], c.name)
		got := "none"
		switch {
		case fault.Is(err, fault.Conflict):
			_, list, _ := strings.Cut(err.Error(), "say which: ")
			got = "ambiguous: " + list
		case err == nil:
			got = db.Snapshot().NameOf(i.Project) + "/" + i.Name
		}
		if got != c.want {
			t.Errorf("%s in project %s is %s, want %s (%v)", c.name, c.project, got, c.want, err)
		}
	}
}

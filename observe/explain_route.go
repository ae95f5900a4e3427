package observe

import (
	"context"
	"net/http"
	"slices"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/resource"
)

// Explanation is an answer to why.
type Explanation struct {
	// About is the record that was asked for.
	About resource.Ref `json:"about"`
	// Revision is the store's revision that the explanation speaks of.
	Revision int64 `json:"revision"`
	// Lines are the sentences, the most important first.
	Lines []Line `json:"lines"`
}

type explainIn struct {
	Kind    string `path:"kind" doc:"The kind of the record, for example vm; the plural will do."`
	Name    string `path:"name" doc:"Its name or id."`
	Project string `query:"project" default:"default" doc:"The project, by name or id, where the kind belongs to one."`
}

type explainOut struct{ Body Explanation }

// RegisterExplain offers explanations of records of all kinds of the catalog.
func RegisterExplain(a *httpapi.API, remarks Remarks, seen Seen) {
	httpapi.Handle(a, httpapi.Op{ID: "explain", Method: http.MethodGet, Path: "/v1/explain/{kind}/{name}", Right: httpapi.Known, Tag: "server",
		Summary: "Say in words why a record is as it is",
		Doc:     "Walks over what the record waits for, what is wrong with it and who still holds it, and says it in words, the most important first."},
		func(ctx context.Context, c *httpapi.Call, in *explainIn) (*explainOut, error) {
			kind, err := kindNamed(c.DB.Catalog(), in.Kind)
			if err != nil {
				return nil, err
			}
			project, err := mayAsk(c, kind, in.Project)
			if err != nil {
				return nil, err
			}
			x := c.Snapshot.NamedOf(kind.Kind, project, in.Name)
			if x == nil {
				if lost, there := findUnreadable(ctx, c.DB, kind.Kind, project, in.Name); there {
					line := unread(lost, c.Sight(project))
					line.Text = string(kind.Kind) + " " + in.Name + " is there, and " + line.Text
					return &explainOut{Explanation{About: lost.Key, Revision: c.DB.Revision(), Lines: []Line{line}}}, nil
				}
			}
			if x == nil || !c.Sees(x) {
				return nil, fault.New(fault.NotFound, "explain %s %q: there is none of this name or id%s", kind.Kind, in.Name, inProject(kind, in.Project))
			}
			as := c.Sight(x.Head().Project)
			lines := Explain(c.Snapshot, c.DB.Catalog(), x, c.Now(), as, remarks)
			if newer, there := c.DB.UnreadableRecord(x.Head().ID); there {
				line := unread(newer, as)
				line.Depth = 1
				lines = slices.Insert(lines, 1, line)
			}
			if look := seen[x.Head().Kind]; look != nil {
				for i, text := range look(ctx, c.Snapshot, x, as) {
					line := Line{Depth: 1, Severity: Warning, About: x.Head().Ref(), Text: text}
					lines = slices.Insert(lines, 1+i, line)
				}
			}
			return &explainOut{Explanation{About: x.Head().Ref(), Revision: c.DB.Revision(), Lines: lines}}, nil
		})
}

func kindNamed(c *resource.Catalog, word string) (resource.Descriptor, error) {
	for _, d := range c.All() {
		if string(d.Kind) == word || d.Plural == word {
			return d, nil
		}
	}
	return resource.Descriptor{}, fault.New(fault.NotFound, "explain %s: there is no kind of this name", word)
}

// mayAsk lets people ask about their own project, and about the cloud itself who may read there. It gives
// the id of the project.
func mayAsk(c *httpapi.Call, kind resource.Descriptor, project string) (resource.ID, error) {
	if kind.Scope == resource.InCloud {
		project = ""
	}
	return c.AuthorizeIn(string(kind.Kind)+".read", project)
}

func inProject(kind resource.Descriptor, project string) string {
	if kind.Scope == resource.InCloud {
		return ""
	}
	return " in project " + project
}

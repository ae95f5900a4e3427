package httpapi

import (
	"net/http"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// Inside, a project is its id. Names of projects are read here, where a request comes in, and written where
// a record is shown; whoever is given a project's name later inherits nothing of it.

// projectID gives the id of the project that a word means, by name or id. A word that means none is given
// back: nothing is found under it.
func (a *API) projectID(s *store.Snapshot, word string) resource.ID {
	if kind, kept := a.DB.Catalog().Tenant(); kept && word != "" {
		if p := s.NamedOf(kind.Kind, "", word); p != nil {
			return p.Head().ID
		}
	}
	return resource.ID(word)
}

// projectName is what a project is called now; its id, if it is not there any more.
func (a *API) projectName(id resource.ID) string {
	if id == "" {
		return ""
	}
	return a.DB.Snapshot().NameOf(id)
}

// ProjectID gives the id of the project that a word of a request means, by name or id. A word that means
// none is given back.
func (c *Call) ProjectID(word string) resource.ID { return c.api.projectID(c.Snapshot, word) }

// ProjectName is what a project is called now.
func (c *Call) ProjectName(id resource.ID) string { return c.api.projectName(id) }

// project gives the project of a call; nil if nobody keeps projects.
func (a *API) project(c *Call) (*resource.Meta, error) {
	kind, kept := a.DB.Catalog().Tenant()
	if !kept || c.Project == "" {
		return nil, nil
	}
	if p := c.Snapshot.Lookup(c.Project); p != nil && p.Head().Kind == kind.Kind {
		return p.Head(), nil
	}
	return nil, fault.New(fault.NotFound, "no project %q", c.Project)
}

// enter puts the id of the project into the path of a request, and admits its caller there: what is judged
// here is what is done later, also when the project is renamed meanwhile.
func (a *API) enter(r *http.Request, action string) (Caller, error) {
	called := r.PathValue("project")
	id := a.projectID(a.DB.Snapshot(), called)
	r.SetPathValue("project", string(id))
	return a.admit(r, action, id, called)
}

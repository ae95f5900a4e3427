package identity

import (
	"context"
	"net/http"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

type auditQuery struct {
	User    string    `query:"user" doc:"Only what this person or program asked for."`
	Action  string    `query:"action" doc:"Only this operation, for example delete-vm."`
	Project string    `query:"project" doc:"Only what was asked in the project of this name or id; one that was deleted is found by its id."`
	About   string    `query:"about" doc:"Only what was asked about the record of this name or id."`
	Outcome string    `query:"outcome" enum:"done,refused,failed" doc:"Only what ended so."`
	Since   time.Time `query:"since" doc:"Not before this time."`
	Until   time.Time `query:"until" doc:"Before this time."`
	Limit   int       `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"How many entries a page has."`
	Page    string    `query:"page" doc:"The token of a page, from nextPage of the page before."`
}

type auditAnswer struct{ Body AuditPage }

// Register offers the audit log to administrators of the cloud. There is nothing to write.
func (a *Audit) Register(api *httpapi.API) {
	httpapi.Handle(api, httpapi.Op{ID: "list-audit", Method: http.MethodGet, Path: "/v1/audit", Right: httpapi.Admin, Tag: "audit",
		Summary: "List who asked for what, the newest first",
		Doc:     "Has one entry for each request that would change something. Nothing removes entries but time, which the operator sets at the server."},
		func(ctx context.Context, c *httpapi.Call, in *auditQuery) (*auditAnswer, error) {
			project, err := projectAsked(c, in.Project)
			if err != nil {
				return nil, err
			}
			page, err := a.Read(ctx, AuditFilter{User: in.User, Action: in.Action, Project: project, About: in.About, Outcome: in.Outcome, Since: in.Since, Until: in.Until},
				resource.ID(in.Page), in.Limit)
			if err != nil {
				return nil, err
			}
			return &auditAnswer{page}, nil
		})
}

// projectAsked gives the id of the project that is asked for. What a name means is the project that has it
// now: one that had it before is asked for by its id.
func projectAsked(c *httpapi.Call, word string) (resource.ID, error) {
	p := store.Named(c.Snapshot, Projects, "", word)
	switch {
	case p != nil:
		return p.ID, nil
	case word == "" || resource.IsID(word):
		return resource.ID(word), nil
	}
	return "", fault.New(fault.NotFound, "no project %q; ask for one that was deleted by its id, which the entries of its time have", word)
}

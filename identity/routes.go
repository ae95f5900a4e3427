package identity

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// Register offers projects, what is used of their quotas, tokens, and who one is. Own goes with a
// project that is deleted; totals are what a quota may limit.
func Register(a *httpapi.API, w Writers, auth *Authenticator, own Contents, totals []string) {
	httpapi.Register(a, Projects, httpapi.Routes[ProjectSpec, ProjectStatus]{
		Specs: w.Projects, Holders: []string{projectHolder}, Reading: httpapi.Known,
		Visible:  func(c httpapi.Caller, p *Project) bool { return c.Project == "" || c.Project == p.ID },
		Ready:    func(*Project) (bool, error) { return true, nil }, // nothing is done to it
		Check:    func(s *ProjectSpec) []fault.Detail { return checkProject(s, totals) },
		Renaming: httpapi.Named[ProjectSpec, ProjectStatus]("the cloud needs it", DefaultProject),
		Deleting: deletingProject(w, own),
	})
	httpapi.Register(a, Tokens, httpapi.Routes[TokenSpec, TokenStatus]{
		Specs: w.Tokens, Verbs: []httpapi.Verb{httpapi.Delete},
		Ready:    func(*Token) (bool, error) { return true, nil },
		Deleting: deletingToken,
	})
	registerTokenCreate(a, w)
	registerUsage(a, totals)
	registerWhoAmI(a)
	registerSessions(a, w, auth)
	registerUsers(a, w, auth)
}

func checkProject(s *ProjectSpec, totals []string) (out []fault.Detail) {
	for _, total := range slices.Sorted(maps.Keys(s.Quota)) {
		if !slices.Contains(totals, total) {
			out = append(out, fault.Detail{Field: "quota." + total, Message: "is not counted; a quota may name " + strings.Join(totals, ", ")})
		}
		if s.Quota[total] < 0 {
			out = append(out, fault.Detail{Field: "quota." + total, Message: "must be 0 (nothing may be made) or more; leave it out for no limit"})
		}
	}
	return out
}

// deletingToken keeps the last administrator's token: without it only root on a server could get in.
func deletingToken(_ context.Context, c *httpapi.Call, t *Token) error {
	if t.Spec.Role != Admin || t.Spec.Purpose == SignIn {
		return nil
	}
	for _, other := range store.Every(c.Snapshot, Tokens) {
		lasting := other.Spec.Purpose != SignIn && !other.Spec.over(c.Now())
		if other.ID != t.ID && other.Spec.Role == Admin && other.Deleting == nil && lasting {
			return nil
		}
	}
	return fault.New(fault.Precondition, "token %s is the last of an administrator; make another first", t.Name)
}

// TokenRequest asks for a token.
type TokenRequest struct {
	Name      string      `json:"name,omitempty" doc:"Unique; none: the user's."`
	User      string      `json:"user" minLength:"1" maxLength:"128" doc:"The person or program that the token stands for."`
	Role      Role        `json:"role" enum:"admin,member,viewer" doc:"What it may do."`
	ProjectID resource.ID `json:"projectID,omitempty" ref:"project" doc:"Limits a member or viewer to a project, by its name or id."`
	Purpose   Purpose     `json:"purpose,omitempty" enum:"requests,sign-in" doc:"What it is for: requests (the default), each of which shows it, or sign-in, a link that begins one session of a browser."`
	Expires   *time.Time  `json:"expires,omitempty" doc:"Ends it; none: never, and a sign-in link after ten minutes."`
}

// TokenReply shows a new token.
type TokenReply struct {
	Token  *Token `json:"token" doc:"The record."`
	Secret string `json:"secret" doc:"The secret; it is shown this once."`
}

type tokenIn struct{ Body TokenRequest }

type tokenOut struct{ Body TokenReply }

func registerTokenCreate(a *httpapi.API, w Writers) {
	op := httpapi.Op{ID: "create-token", Method: http.MethodPost, Path: "/v1/tokens", Right: httpapi.Admin, Tag: "tokens",
		Status: http.StatusCreated, Summary: "Create a token, whose secret is shown once"}
	httpapi.Handle(a, op, func(_ context.Context, c *httpapi.Call, in *tokenIn) (*tokenOut, error) {
		r := in.Body
		if r.Name == "" {
			r.Name = r.User
		}
		if r.Purpose == SignIn && r.Expires == nil {
			end := c.Now().Add(linkFor)
			r.Expires = &end
		}
		if err := httpapi.CheckName(r.Name); err != nil {
			return nil, err
		}
		if err := checkToken(c, &r); err != nil {
			return nil, err
		}
		if store.Named(c.Snapshot, Tokens, "", r.Name) != nil {
			return nil, fault.New(fault.Exists, "token %q is there already; pick another name", r.Name)
		}
		t, secret := newToken(r.Name, TokenSpec{User: r.User, Role: r.Role, ProjectID: r.ProjectID, Purpose: r.Purpose, Expires: r.Expires})
		w.Tokens.Create(c.Batch, t)
		c.Note("create", &t.Meta)
		return &tokenOut{TokenReply{Token: Tokens.Seen(t, c.Sight(""), ""), Secret: secret}}, nil
	})
}

func checkToken(c *httpapi.Call, r *TokenRequest) error {
	var wrong []fault.Detail
	switch {
	case r.Role == Admin && r.ProjectID != "":
		wrong = append(wrong, fault.Detail{Field: "projectID", Message: "an admin is not limited to a project; leave it out"})
	case r.Role != Admin && r.ProjectID == "":
		wrong = append(wrong, fault.Detail{Field: "projectID", Message: "a " + string(r.Role) + " needs a project"})
	}
	if r.Expires != nil && !r.Expires.After(c.Now()) {
		wrong = append(wrong, fault.Detail{Field: "expires", Message: "is in the past"})
	}
	if err := fault.Fields("create token "+r.Name, wrong); err != nil {
		return err
	}
	if r.ProjectID == "" {
		return nil
	}
	p := store.Named(c.Snapshot, Projects, "", string(r.ProjectID))
	if p == nil {
		return fault.New(fault.NotFound, "no project %q", r.ProjectID)
	}
	r.ProjectID = p.ID // the commit holds it
	return nil
}

func newToken(name string, spec TokenSpec) (*Token, string) {
	t := &Token{Spec: spec}
	t.Kind, t.ID, t.Name = Tokens.Kind, resource.NewID(), name
	secret := NewSecret(t.ID)
	t.Spec.Hash = HashSecret(secret)
	return t, secret
}

// WhoAmI is who asks.
type WhoAmI struct {
	User      string      `json:"user" doc:"The person or program."`
	Right     string      `json:"right" enum:"read,write,admin" doc:"The highest right."`
	ProjectID resource.ID `json:"projectID,omitempty" doc:"Limits the right to a project; none: everywhere."`
	Project   string      `json:"project,omitempty" doc:"The name of that project."`
	Session   resource.ID `json:"sessionID,omitempty" doc:"The session that asks; none: a token, a certificate or the socket was shown."`
}

func registerWhoAmI(a *httpapi.API) {
	type answer struct{ Body WhoAmI }
	op := httpapi.Op{ID: "who-am-i", Action: "self.read", Method: http.MethodGet, Path: "/v1/whoami", Right: httpapi.Known, Tag: "tokens", Summary: "Say who asks, and what they may do"}
	httpapi.Handle(a, op, func(_ context.Context, c *httpapi.Call, _ *struct{}) (*answer, error) {
		return &answer{whoAmI(c)}, nil
	})
}

func whoAmI(c *httpapi.Call) WhoAmI {
	me := WhoAmI{User: c.User, Right: string(c.Right), ProjectID: c.Caller.Project, Session: c.Session}
	if me.ProjectID != "" {
		me.Project = c.Snapshot.NameOf(me.ProjectID)
	}
	return me
}

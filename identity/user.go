package identity

import (
	"context"
	"net/http"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// UserSpec is a person who signs in by a password. The record's name is the user's.
type UserSpec struct {
	// Description is for people.
	Description string `json:"description,omitempty" maxLength:"200"`
	// Role is what they may do.
	Role Role `json:"role" enum:"admin,member,viewer"`
	// ProjectID limits a member or viewer to one project; the user goes with it. A request may name it.
	ProjectID resource.ID `json:"projectID,omitempty" ref:"project"`
	// Password is given in a request, and never kept or shown. Empty: it stays; of a new user: a link alone lets them in.
	Password string `json:"password,omitempty" maxLength:"256"`
	// PasswordHash is made of it by Argon2id.
	PasswordHash string `json:"passwordHash,omitempty"`
}

// UserStatus has nothing to observe.
type UserStatus struct{ resource.Observed }

// User is a person who may sign in.
type User = resource.Record[UserSpec, UserStatus]

// rightsOf are a user's, as those of a token.
func rightsOf(u *User) TokenSpec {
	return TokenSpec{User: u.Name, Role: u.Spec.Role, ProjectID: u.Spec.ProjectID}
}

// Users is the kind.
var Users = resource.Define("user", "users", resource.Options[UserSpec, UserStatus]{
	Doc: "A person who signs in by a name and a password.", Scope: resource.InCloud,
	Needs:  func(u *User) []resource.Need { return []resource.Need{{Ref: projectRef(u.Spec.ProjectID)}} },
	Guards: map[string]resource.Sight{"spec.password": resource.Nobody, "spec.passwordHash": resource.Nobody},
})

// shortestPassword has no rules about signs beside it: they make passwords that are written on paper.
const shortestPassword = 12

func registerUsers(a *httpapi.API, w Writers, auth *Authenticator) {
	httpapi.Register(a, Users, httpapi.Routes[UserSpec, UserStatus]{
		Specs: w.Users,
		Ready: func(*User) (bool, error) { return true, nil }, // nothing is done to it
		Check: checkUser,
		Creating: func(ctx context.Context, _ *httpapi.Call, u *User) error {
			u.Spec.PasswordHash = "" // nobody brings one
			return auth.passwords.keep(ctx, &u.Spec)
		},
		Changing: func(ctx context.Context, c *httpapi.Call, old *User, spec *UserSpec) error {
			if spec.PasswordHash = old.Spec.PasswordHash; spec.Password != "" {
				endSessions(c, w, old.ID) // who knew the old one may be signed in
			}
			return auth.passwords.keep(ctx, spec)
		},
		Deleting: func(_ context.Context, c *httpapi.Call, u *User) error {
			endSessions(c, w, u.ID)
			return nil
		},
	})
	op := httpapi.Op{ID: "change-password", Action: "self.change-password", Method: http.MethodPost, Path: "/v1/password", Right: httpapi.Known, Tag: "users", Status: http.StatusNoContent,
		Summary: "Change one's own password", Doc: "All sessions of the user end but the one that asks."}
	type in struct{ Body PasswordRequest }
	httpapi.Handle(a, op, func(ctx context.Context, c *httpapi.Call, in *in) (*struct{}, error) {
		s := store.Find(c.Snapshot, Sessions, c.Session)
		var u *User
		if s != nil {
			u = store.Find(c.Snapshot, Users, s.Spec.UserID)
		}
		if u == nil {
			return nil, fault.New(fault.Precondition, "change the password: who asks has none; only a user who has signed in by a password has one")
		}
		if err := auth.passwords.prove(ctx, u.Name, c.From(), in.Body.Current, u.Spec.PasswordHash); err != nil {
			return nil, err
		}
		fresh := u.Spec
		fresh.Password = in.Body.Password
		if err := fault.Fields("the request", checkPassword("password", fresh.Password)); err != nil {
			return nil, err
		}
		if err := auth.passwords.keep(ctx, &fresh); err != nil {
			return nil, err
		}
		w.Users.Set(c.Batch, u, func(spec *UserSpec) { *spec = fresh })
		endSessions(c, w, u.ID, s.ID)
		c.Note("change the password of", &u.Meta)
		return nil, nil
	})
}

// PasswordRequest changes one's own password.
type PasswordRequest struct {
	Current  string `json:"current" maxLength:"256" doc:"The password until now."`
	Password string `json:"password" maxLength:"256" doc:"The new one, of 12 characters or more."`
}

// endSessions ends the sessions of a user, but for some.
func endSessions(c *httpapi.Call, w Writers, user resource.ID, but ...resource.ID) {
	for _, s := range store.Referring(c.Snapshot, Sessions, user) {
		if len(but) == 0 || s.ID != but[0] {
			w.Sessions.Delete(c.Batch, s)
		}
	}
}

func checkUser(u *UserSpec) []fault.Detail {
	var out []fault.Detail
	switch {
	case u.Role != Admin && u.Role != Member && u.Role != Viewer:
		out = append(out, fault.Detail{Field: "role", Message: "is admin, member or viewer"})
	case u.Role == Admin && u.ProjectID != "":
		out = append(out, fault.Detail{Field: "projectID", Message: "an admin is not limited to a project; leave it out"})
	case u.Role != Admin && u.ProjectID == "":
		out = append(out, fault.Detail{Field: "projectID", Message: "a " + string(u.Role) + " needs a project"})
	}
	if u.Password != "" {
		out = append(out, checkPassword("password", u.Password)...)
	}
	return out
}

func checkPassword(field, password string) []fault.Detail {
	if len([]rune(password)) < shortestPassword {
		return []fault.Detail{{Field: field, Message: "is too short; take 12 characters or more, several words are easy to remember"}}
	}
	return nil
}

package identity

import (
	"time"

	"github.com/virga-cloud/virga/engine/resource"
)

// SessionSpec is one sign-in of a person, by a browser.
type SessionSpec struct {
	// User is the person; it appears in events.
	User string `json:"user"`
	// Role is what they may do.
	Role Role `json:"role" enum:"admin,member,viewer"`
	// ProjectID limits a member or viewer to one project; the session goes with it.
	ProjectID resource.ID `json:"projectID,omitempty" ref:"project"`
	// TokenID is the token that was shown to sign in: the session ends with it. Empty: a sign-in link was followed.
	TokenID resource.ID `json:"tokenID,omitempty"`
	// UserID is the user who signed in by a password: the session has their rights, and ends with them.
	UserID resource.ID `json:"userID,omitempty" ref:"user"`
	// Hash is the SHA-256 of the secret in the browser's cookie, in hex.
	Hash string `json:"hash,omitempty"`
	// Expires ends it.
	Expires time.Time `json:"expires"`
	// From is the address that it was begun from.
	From string `json:"from,omitempty"`
	// Browser is what the browser said of itself.
	Browser string `json:"browser,omitempty"`
}

// SessionStatus has nothing to observe.
type SessionStatus struct{ resource.Observed }

// Session lets one browser use the API, until it ends.
type Session = resource.Record[SessionSpec, SessionStatus]

// Sessions is the kind.
var Sessions = resource.Define("session", "sessions", resource.Options[SessionSpec, SessionStatus]{
	Doc: "A sign-in of a person by a browser. Who deletes it signs that browser out.", Scope: resource.InCloud,
	// A session of a project that goes is deleted with it, in the same commit, as its tokens are.
	Needs: func(s *Session) []resource.Need {
		return []resource.Need{{Ref: projectRef(s.Spec.ProjectID)}, {Ref: resource.Ref{Kind: "user", ID: s.Spec.UserID}}}
	},
	Guards: map[string]resource.Sight{"spec.hash": resource.Nobody},
})

// How long sessions and sign-in links are good for.
const (
	sessionFor = 12 * time.Hour
	linkFor    = 10 * time.Minute
)

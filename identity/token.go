package identity

import (
	"time"

	"github.com/virga-cloud/virga/engine/resource"
)

// Role says what a token may do.
type Role string

// The roles.
const (
	Admin  Role = "admin"  // everything, in every project and the cloud itself
	Member Role = "member" // everything inside its one project
	Viewer Role = "viewer" // read inside its one project
)

// Purpose says what a token is for.
type Purpose string

// The purposes.
const (
	Requests Purpose = "requests" // it is shown with each request; the default
	SignIn   Purpose = "sign-in"  // a browser shows it once, and gets a session
)

// TokenSpec is a right to use the API.
type TokenSpec struct {
	// User is the person or program that the token stands for; it appears in events.
	User string `json:"user"`
	// Role is what it may do.
	Role Role `json:"role" enum:"admin,member,viewer"`
	// ProjectID limits a member or viewer to one project; the token goes with it.
	ProjectID resource.ID `json:"projectID,omitempty" ref:"project"`
	// Hash is the SHA-256 of the secret, in hex.
	Hash string `json:"hash,omitempty"`
	// Purpose is what it is for: requests, each of which shows it, or sign-in, which is a link that begins one session.
	Purpose Purpose `json:"purpose,omitempty" enum:"requests,sign-in"`
	// Expires ends it; none: never.
	Expires *time.Time `json:"expires,omitempty"`
}

// over reports whether it has expired.
func (t *TokenSpec) over(now time.Time) bool { return t.Expires != nil && !now.Before(*t.Expires) }

// TokenStatus has nothing to observe.
type TokenStatus struct{ resource.Observed }

// Token lets a person or program use the API.
type Token = resource.Record[TokenSpec, TokenStatus]

// Tokens is the kind.
var Tokens = resource.Define("token", "tokens", resource.Options[TokenSpec, TokenStatus]{
	Doc: "A right to use the API, shown once when it is made.", Scope: resource.InCloud,
	// A token of a project that goes is deleted with it, in the same commit; who makes one at that moment
	// makes the deletion fail, or fails.
	Needs:  func(t *Token) []resource.Need { return []resource.Need{{Ref: projectRef(t.Spec.ProjectID)}} },
	Guards: map[string]resource.Sight{"spec.hash": resource.Nobody},
})

// JoinTokenSpec is a right for one host to join.
type JoinTokenSpec struct {
	// Hash is the SHA-256 of the secret, in hex.
	Hash string `json:"hash"`
	// Expires ends it.
	Expires time.Time `json:"expires"`
	// UsedBy is the host that used it; then it is worth nothing.
	UsedBy resource.ID `json:"usedBy,omitempty"`
	// UsedKey is the SHA-256 of that host's public key, in hex: a host whose answer was lost may
	// ask again with the same key, and is the same host.
	UsedKey string `json:"usedKey,omitempty"`
}

// JoinTokenStatus has nothing to observe.
type JoinTokenStatus struct{ resource.Observed }

// JoinToken lets one new host in, once.
type JoinToken = resource.Record[JoinTokenSpec, JoinTokenStatus]

// JoinTokens is the kind.
var JoinTokens = resource.Define("jointoken", "jointokens", resource.Options[JoinTokenSpec, JoinTokenStatus]{
	Doc: "A one-time right for a host to join the cloud.", Scope: resource.InCloud,
	Guards: map[string]resource.Sight{"spec.hash": resource.Nobody},
})

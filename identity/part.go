package identity

import (
	"context"
	"errors"
	"time"

	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/part"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/identity/keyring"
)

// Nouns are the kinds of this domain.
var Nouns = []resource.Noun{Projects, Users, Tokens, Sessions, JoinTokens, Secrets}

// Writers is who writes what of this domain on a server. Nobody writes a status.
type Writers struct {
	Projects   *store.SpecWriter[ProjectSpec, ProjectStatus]
	Tokens     *store.SpecWriter[TokenSpec, TokenStatus]
	Users      *store.SpecWriter[UserSpec, UserStatus]
	Sessions   *store.SpecWriter[SessionSpec, SessionStatus]
	JoinTokens *store.SpecWriter[JoinTokenSpec, JoinTokenStatus]
	Secrets    *store.SpecWriter[SecretSpec, SecretStatus]
}

// NewWriters takes them out of the registry.
func NewWriters(l *store.Registry) Writers {
	return Writers{
		Projects:   store.Specs(l, Projects, "api"),
		Tokens:     store.Specs(l, Tokens, "api"),
		Users:      store.Specs(l, Users, "api"),
		Sessions:   store.Specs(l, Sessions, "api"),
		JoinTokens: store.Specs(l, JoinTokens, "api"),
		Secrets:    store.Specs(l, Secrets, "api and key rotation"),
	}
}

// ServerDeps are what the servers' half needs.
type ServerDeps struct {
	DB      *store.DB // for the loops
	Writers Writers
	Auth    *Authenticator
	Own     Contents
	Gate    Gate
	Audit   *Audit
	Ring    *keyring.Ring
}

// Server is the servers' half; there is none on hosts.
func Server(d ServerDeps) part.Part {
	secrets := NewSecretLoop(d.DB, d.Writers.Secrets, d.Ring)
	return part.Part{
		Loops: []*reconcile.Loop{NewProjectLoop(d.DB), secrets},
		Chores: []part.Chore{
			{Name: "identity/audit", Every: time.Hour, Do: func(ctx context.Context) error {
				return errors.Join(d.Audit.Forget(ctx, d.DB), forgetExpired(ctx, d.DB, d.Writers))
			}},
			{Name: "identity/secretkeys", Every: time.Minute, Do: func(ctx context.Context) error { return rewrap(ctx, d.DB, d.Ring, secrets.Step) }},
		},
		Routes: func(a *httpapi.API) {
			Register(a, d.Writers, d.Auth, d.Own, d.DB.Catalog().Totals())
			RegisterGate(a, d.Writers, d.Gate)
			registerSecrets(a, d.Writers, d.Ring)
			d.Audit.Register(a)
		},
	}
}

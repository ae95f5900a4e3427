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

// SessionCookie holds the secret of a session. By its prefix a browser takes it over HTTPS alone, and gives it to
// no other host.
const SessionCookie = "__Host-virga"

// SignInRequest shows who is there: by a secret, or by a name and a password.
type SignInRequest struct {
	Secret   string `json:"secret,omitempty" maxLength:"512" doc:"The secret of a token, or of a sign-in link."`
	User     string `json:"user,omitempty" maxLength:"128" doc:"The name of a user."`
	Password string `json:"password,omitempty" maxLength:"256" doc:"The user's password."`
}

type signInIn struct {
	Browser string `header:"User-Agent"`
	Body    SignInRequest
}

type signInOut struct {
	SetCookie http.Cookie `header:"Set-Cookie" doc:"The session."`
	Body      WhoAmI
}

// registerSessions offers the way in and out for browsers. A script in a page never has the secret: it is in a
// cookie that the browser shows by itself.
func registerSessions(a *httpapi.API, w Writers, auth *Authenticator) {
	httpapi.Register(a, Sessions, httpapi.Routes[SessionSpec, SessionStatus]{
		Specs: w.Sessions, Verbs: []httpapi.Verb{httpapi.Delete}, Reading: httpapi.Known, Writing: httpapi.Known,
		Visible: mine,
		Ready:   func(*Session) (bool, error) { return true, nil },
	})
	in := httpapi.Op{ID: "sign-in", Action: "self.sign-in", Method: http.MethodPost, Path: "/v1/sign-in", Right: httpapi.Public, Tag: "sessions",
		Summary: "Begin a session of a browser", Doc: "A sign-in link is good for one session; a token stays, and its sessions end with it."}
	httpapi.Handle(a, in, func(ctx context.Context, c *httpapi.Call, in *signInIn) (*signInOut, error) {
		s, who, err := auth.begin(ctx, c, w, &in.Body)
		if err != nil {
			return nil, err
		}
		c.Become(who)
		secret := open(s, c.Now())
		s.Spec.From, s.Spec.Browser = c.From(), shortened(in.Browser, 300)
		w.Sessions.Create(c.Batch, s)
		c.Note("sign in", &s.Meta)
		return &signInOut{cookie(secret, s.Spec.Expires.Sub(c.Now())), whoAmI(c)}, nil
	})
	out := httpapi.Op{ID: "sign-out", Action: "self.sign-out", Method: http.MethodPost, Path: "/v1/sign-out", Right: httpapi.Known, Tag: "sessions",
		Summary: "End the session that asks", Status: http.StatusNoContent}
	type signOutOut struct {
		SetCookie http.Cookie `header:"Set-Cookie" doc:"Nothing."`
	}
	httpapi.Handle(a, out, func(_ context.Context, c *httpapi.Call, _ *struct{}) (*signOutOut, error) {
		s := store.Find(c.Snapshot, Sessions, c.Session)
		if s == nil {
			return nil, fault.New(fault.Precondition, "sign out: this request shows a token and no session; delete the token by virga token delete")
		}
		w.Sessions.Delete(c.Batch, s)
		c.Note("sign out", &s.Meta)
		return &signOutOut{cookie("", -time.Second)}, nil
	})
}

// mine reports whether a session is the caller's own, or theirs to end.
func mine(c httpapi.Caller, s *Session) bool {
	return c.May(httpapi.Admin, "") || c.User == s.Spec.User && c.Project == s.Spec.ProjectID
}

// begin decides whose session it is that a browser asks for.
func (a *Authenticator) begin(ctx context.Context, c *httpapi.Call, w Writers, in *SignInRequest) (*Session, httpapi.Caller, error) {
	if in.User != "" {
		u := store.Named(c.Snapshot, Users, "", in.User)
		hash := ""
		if u != nil && u.Deleting == nil {
			hash = u.Spec.PasswordHash
		}
		if err := a.passwords.prove(ctx, in.User, c.From(), in.Password, hash); err != nil {
			return nil, httpapi.Caller{}, err
		}
		rights := rightsOf(u)
		who := CallerOf(&rights)
		who.Shown = "password"
		return &Session{Spec: SessionSpec{User: u.Name, Role: rights.Role, ProjectID: rights.ProjectID, UserID: u.ID}}, who, nil
	}
	t, err := a.shown(c.Snapshot, in.Secret)
	if err != nil {
		return nil, httpapi.Caller{}, err
	}
	s := &Session{Spec: SessionSpec{User: t.Spec.User, Role: t.Spec.Role, ProjectID: t.Spec.ProjectID}}
	if t.Spec.Purpose == SignIn {
		w.Tokens.Delete(c.Batch, t) // who follows the link at the same moment fails
	} else {
		s.Spec.TokenID = t.ID
	}
	return s, callerOf(t), nil
}

// open gives a session its name, its end and its secret.
func open(s *Session, now time.Time) (secret string) {
	s.Spec.Expires = now.Add(sessionFor)
	s.Kind, s.ID = Sessions.Kind, resource.NewID()
	s.Name = unnamed("session", s.ID)
	secret = NewSecret(s.ID)
	s.Spec.Hash = HashSecret(secret)
	return secret
}

// unnamed is a name for what nobody has named: its kind, and the random end of its id.
func unnamed(kind string, id resource.ID) string { return kind + "-" + string(id[len(id)-12:]) }

func shortened(text string, most int) string { return text[:min(len(text), most)] }

// cookie is a session's; without a secret, its end.
func cookie(secret string, life time.Duration) http.Cookie {
	return http.Cookie{Name: SessionCookie, Value: secret, Path: "/", MaxAge: int(life / time.Second), Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode}
}

// SignInLink makes a link's token for an administrator; who commits the batch has it.
func SignInLink(b *store.Batch, w Writers, user string, now time.Time) (secret string) {
	end := now.Add(linkFor)
	t, secret := newToken("", TokenSpec{User: user, Role: Admin, Purpose: SignIn, Expires: &end})
	t.Name = unnamed("sign-in", t.ID)
	w.Tokens.Create(b, t)
	return secret
}

// forgetExpired removes sessions and sign-in links that are over.
func forgetExpired(ctx context.Context, db *store.DB, w Writers) error {
	s, b := db.Snapshot(), db.Begin()
	for _, x := range store.Every(s, Sessions) {
		if !db.Now().Before(x.Spec.Expires) && x.Deleting == nil {
			w.Sessions.Delete(b, x)
		}
	}
	for _, t := range store.Every(s, Tokens) {
		if t.Spec.Purpose == SignIn && t.Spec.over(db.Now()) && t.Deleting == nil {
			w.Tokens.Delete(b, t)
		}
	}
	if b.Empty() {
		return nil
	}
	return fault.Wrap(db.Commit(ctx, b), "forget sessions that are over")
}

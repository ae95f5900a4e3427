package identity

import (
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/identity/ca"
)

// TokenProtocol is the websocket subprotocol prefix by which a browser, which cannot set headers
// there, shows its token.
const TokenProtocol = "virga.token."

// Authenticator says who asks: by a token, by a host's certificate, or by being root (or the
// daemon's own user) on the unix socket. A token wins over the others.
type Authenticator struct {
	db      *store.DB
	removed func(*store.Snapshot, resource.ID) error

	passwords *passwords
}

// NewAuthenticator makes one. Removed says why a host that has a certificate is not let in any more;
// nil: it may be.
func NewAuthenticator(db *store.DB, removed func(*store.Snapshot, resource.ID) error) *Authenticator {
	return &Authenticator{db: db, removed: removed, passwords: newPasswords(func() time.Time { return db.Now() })}
}

// Authenticate is the hook of the API.
func (a *Authenticator) Authenticate(r *http.Request) (httpapi.Caller, error) {
	secret, err := bearer(r)
	if err != nil {
		return httpapi.Caller{}, err
	}
	if secret != "" {
		return a.byToken(secret)
	}
	if shown, err := r.Cookie(SessionCookie); err == nil {
		return a.bySession(r, shown.Value)
	}
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		return a.byCertificate(r)
	}
	if c, ok := httpapi.ConnOf(r.Context()).(*net.UnixConn); ok {
		return bySocket(c)
	}
	return httpapi.Caller{}, fault.New(fault.Unauthenticated, "nobody is signed in; show a token in the header Authorization: Bearer, or sign in by a browser")
}

// bearer gives the token that a request shows; none: it shows none. Who shows something else does
// not mean to be let in by the socket.
func bearer(r *http.Request) (string, error) {
	if shown := r.Header.Values("Authorization"); len(shown) > 0 {
		scheme, secret, _ := strings.Cut(strings.TrimSpace(shown[0]), " ")
		secret = strings.TrimSpace(secret)
		switch {
		case len(shown) > 1:
			return "", fault.New(fault.Unauthenticated, "the request has %d headers Authorization; send one", len(shown))
		case !strings.EqualFold(scheme, "Bearer"): // RFC 9110, 11.1: in any case
			return "", fault.New(fault.Unauthenticated, "the header Authorization shows no bearer token; send Authorization: Bearer TOKEN")
		case secret == "":
			return "", fault.New(fault.Unauthenticated, "the header Authorization has no token behind Bearer; was a variable empty?")
		}
		return secret, nil
	}
	for _, protocols := range r.Header.Values("Sec-WebSocket-Protocol") {
		for _, p := range strings.Split(protocols, ",") {
			if secret, ok := strings.CutPrefix(strings.TrimSpace(p), TokenProtocol); ok {
				return secret, nil
			}
		}
	}
	return "", nil
}

func (a *Authenticator) byToken(secret string) (httpapi.Caller, error) {
	t, err := a.shown(a.db.Snapshot(), secret)
	if err != nil {
		return httpapi.Caller{}, err
	}
	if t.Spec.Purpose == SignIn {
		return httpapi.Caller{}, fault.New(fault.Unauthenticated, "this is the secret of a sign-in link, which a browser follows once; requests show that of a token")
	}
	return callerOf(t), nil
}

// shown gives the token that a secret proves.
func (a *Authenticator) shown(s *store.Snapshot, secret string) (*Token, error) {
	wrong := fault.New(fault.Unauthenticated, "this token is not known, or was used or deleted; ask for another")
	id, ok := SecretID(secret)
	if !ok {
		return nil, wrong
	}
	t := store.Find(s, Tokens, id)
	if t == nil || t.Deleting != nil || !Proves(secret, t.Spec.Hash) {
		return nil, wrong
	}
	if t.Spec.over(a.db.Now()) {
		return nil, fault.New(fault.Unauthenticated, "this token has expired at %s; ask for another", t.Spec.Expires.UTC().Format("2006-01-02 15:04 MST"))
	}
	return t, nil
}

func callerOf(t *Token) httpapi.Caller {
	c := CallerOf(&t.Spec)
	c.Shown = "token " + t.Name
	return c
}

// bySession believes the cookie of a session. The browser shows it whatever page asks, so a request that would
// change something, or opens a websocket, has to come from a page of this server.
func (a *Authenticator) bySession(r *http.Request, secret string) (httpapi.Caller, error) {
	over := fault.New(fault.Unauthenticated, "this session is over; sign in again")
	id, _ := SecretID(secret)
	snap := a.db.Snapshot()
	s := store.Find(snap, Sessions, id)
	if s == nil || s.Deleting != nil || !Proves(secret, s.Spec.Hash) || !a.db.Now().Before(s.Spec.Expires) {
		return httpapi.Caller{}, over
	}
	if s.Spec.TokenID != "" {
		if t := store.Find(snap, Tokens, s.Spec.TokenID); t == nil || t.Deleting != nil || t.Spec.over(a.db.Now()) {
			return httpapi.Caller{}, over
		}
	}
	if err := sameSite(r); err != nil {
		return httpapi.Caller{}, err
	}
	as := TokenSpec{User: s.Spec.User, Role: s.Spec.Role, ProjectID: s.Spec.ProjectID}
	if s.Spec.UserID != "" { // a user has the rights of now, whatever they were at sign-in
		u := store.Find(snap, Users, s.Spec.UserID)
		if u == nil || u.Deleting != nil {
			return httpapi.Caller{}, over
		}
		as = rightsOf(u)
	}
	c := CallerOf(&as)
	c.Shown, c.Session = s.Name, s.ID
	return c, nil
}

var origins http.CrossOriginProtection

func sameSite(r *http.Request) error {
	if r.Header.Get("Upgrade") != "" {
		r = r.Clone(r.Context())
		r.Method = http.MethodPost // a websocket acts, though it begins as a GET
	}
	if err := origins.Check(r); err != nil {
		return fault.New(fault.Denied, "this request comes from a page of another site, and shows the session of a browser: %w; open the console of this server", err)
	}
	return nil
}

// CallerOf turns a role into rights.
func CallerOf(t *TokenSpec) httpapi.Caller {
	c := httpapi.Caller{User: t.User, Project: t.ProjectID}
	switch {
	case t.Role == Admin:
		c.Right, c.Project = httpapi.Admin, ""
	case t.ProjectID == "": // limited to nothing: a record that the checks would not have let in
	case t.Role == Member:
		c.Right = httpapi.Write
	case t.Role == Viewer:
		c.Right = httpapi.Read
	}
	return c
}

// byCertificate believes a host as long as its record is there: a host that was removed is nobody.
func (a *Authenticator) byCertificate(r *http.Request) (httpapi.Caller, error) {
	leaf := r.TLS.VerifiedChains[0][0]
	id, ok := ca.HostID(leaf)
	if !ok && slices.Contains(leaf.DNSNames, ca.ServerName) {
		return httpapi.Caller{User: "a server", Right: httpapi.Admin, Server: true, Shown: "certificate"}, nil
	}
	if !ok {
		return httpapi.Caller{}, fault.New(fault.Unauthenticated, "this certificate names no host")
	}
	snap := a.db.Snapshot()
	if err := a.removed(snap, id); err != nil {
		return httpapi.Caller{}, err
	}
	x := snap.Lookup(id)
	if x == nil || x.Head().Kind != "host" {
		return httpapi.Caller{}, fault.New(fault.Unauthenticated, "host %s is not of this cloud any more; join again", id)
	}
	return httpapi.Caller{User: "host " + x.Head().Name, Host: id, Shown: "certificate"}, nil
}

func bySocket(c *net.UnixConn) (httpapi.Caller, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return httpapi.Caller{}, fault.New(fault.Unauthenticated, "ask the kernel who is on the socket: %w", err)
	}
	var peer *unix.Ucred
	var sockErr error
	err = raw.Control(func(fd uintptr) { peer, sockErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err == nil {
		err = sockErr
	}
	if err != nil {
		return httpapi.Caller{}, fault.New(fault.Unauthenticated, "ask the kernel who is on the socket: %w", err)
	}
	if peer.Uid == 0 || int(peer.Uid) == os.Geteuid() {
		return httpapi.Caller{User: "root", Right: httpapi.Admin, Shown: "unix socket"}, nil
	}
	return httpapi.Caller{}, fault.New(fault.Unauthenticated, "user %d is not root; show a token", peer.Uid)
}

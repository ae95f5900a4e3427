package identity

import (
	"context"
	"net/http"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/identity/ca"
)

// Gate is what letting hosts in needs from the wiring.
type Gate struct {
	Authority *ca.Authority
	// Addresses are the servers', host:port, as hosts reach them.
	Addresses func() []string
	// Network is where hosts reach the virtual network's database, host:port.
	Network func() string
	// Removed says why a host that has a certificate is not let in any more; nil: it may be.
	Removed func(*store.Snapshot, resource.ID) error
	// NewHost writes the record of a new host of a cluster into the batch; identity knows no hosts.
	NewHost func(c *httpapi.Call, name, cluster string) (resource.ID, error)
}

const (
	joinLife    = 24 * time.Hour
	joinLongest = 30 * 24 * time.Hour
)

// RegisterGate offers join tokens, joining, and the renewal of hosts' certificates.
func RegisterGate(a *httpapi.API, w Writers, g Gate) {
	httpapi.Register(a, JoinTokens, httpapi.Routes[JoinTokenSpec, JoinTokenStatus]{
		Specs: w.JoinTokens, Verbs: []httpapi.Verb{httpapi.Delete},
		Ready: func(*JoinToken) (bool, error) { return true, nil },
	})
	registerJoinTokenCreate(a, w, g)
	registerJoin(a, w, g)
	registerRenew(a, g)
}

// JoinTokenRequest asks for a join token.
type JoinTokenRequest struct {
	Name          string `json:"name,omitempty" doc:"Unique; none: one is made up."`
	ExpiresInSecs int64  `json:"expiresInSeconds,omitempty" minimum:"0" doc:"How long it may be used, in seconds; none: a day; at most 30 days."`
}

// JoinTokenReply shows a new join token.
type JoinTokenReply struct {
	JoinToken *JoinToken `json:"joinToken" doc:"The record."`
	Token     string     `json:"token" doc:"The word to give to the new host; it is shown this once."`
}

type joinTokenIn struct {
	Body *JoinTokenRequest
}

type joinTokenOut struct{ Body JoinTokenReply }

func registerJoinTokenCreate(a *httpapi.API, w Writers, g Gate) {
	op := httpapi.Op{ID: "create-jointoken", Method: http.MethodPost, Path: "/v1/jointokens", Right: httpapi.Admin, Tag: "jointokens",
		Status: http.StatusCreated, Summary: "Create a join token, which is shown once and lets one host in"}
	httpapi.Handle(a, op, func(_ context.Context, c *httpapi.Call, in *joinTokenIn) (*joinTokenOut, error) {
		r := JoinTokenRequest{}
		if in.Body != nil {
			r = *in.Body
		}
		life := time.Duration(r.ExpiresInSecs) * time.Second
		if life == 0 {
			life = joinLife
		}
		if r.ExpiresInSecs > int64(joinLongest/time.Second) {
			return nil, fault.Fields("create join token", []fault.Detail{{Field: "expiresInSeconds", Message: "at most 30 days"}})
		}
		t := &JoinToken{Spec: JoinTokenSpec{Expires: c.Now().Add(life)}}
		t.ID = resource.NewID()
		t.Name = r.Name
		if t.Name == "" {
			t.Name = "join-" + string(t.ID)
		}
		if err := httpapi.CheckName(t.Name); err != nil {
			return nil, err
		}
		if store.Named(c.Snapshot, JoinTokens, "", t.Name) != nil {
			return nil, fault.New(fault.Exists, "join token %q is there already; pick another name", t.Name)
		}
		secret := NewSecret(t.ID)
		t.Spec.Hash = HashSecret(secret)
		w.JoinTokens.Create(c.Batch, t)
		c.Note("create", &t.Meta)
		word := ca.Invitation{Addresses: g.Addresses(), CA: g.Authority.Fingerprint(), Secret: secret}
		if g.Network != nil {
			word.Network = g.Network()
		}
		return &joinTokenOut{JoinTokenReply{JoinToken: JoinTokens.Seen(t, c.Sight(""), ""), Token: word.String()}}, nil
	})
}

type joinIn struct{ Body ca.JoinRequest }

type joinOut struct{ Body ca.JoinReply }

func registerJoin(a *httpapi.API, w Writers, g Gate) {
	op := httpapi.Op{ID: "join", Method: http.MethodPost, Path: "/v1/join", Right: httpapi.Public, Tag: "agent",
		Summary: "Let a new host in", Doc: "The join token is used up in the same commit that makes the host. A host whose answer was lost asks again with the same key."}
	httpapi.Handle(a, op, func(_ context.Context, c *httpapi.Call, in *joinIn) (*joinOut, error) {
		public, key, err := ca.ReadRequest(in.Body.CSR)
		if err != nil {
			return nil, err
		}
		t, err := usable(c, in.Body.Secret, key)
		if err != nil {
			return nil, err
		}
		id := t.Spec.UsedBy
		if id == "" && in.Body.Certificate != "" {
			if id, err = g.returning(c.Snapshot, in.Body.Certificate, public); err != nil {
				return nil, fault.Wrap(err, "join as %s", in.Body.Hostname)
			}
			w.JoinTokens.Set(c.Batch, t, func(s *JoinTokenSpec) { s.UsedBy, s.UsedKey = id, key })
			c.Note("use", &t.Meta)
		}
		if id == "" {
			if err := httpapi.CheckName(in.Body.Hostname); err != nil {
				return nil, fault.Wrap(err, "join as %s", in.Body.Hostname)
			}
			if id, err = g.NewHost(c, in.Body.Hostname, in.Body.Cluster); err != nil {
				return nil, fault.Wrap(err, "join as %s", in.Body.Hostname)
			}
			w.JoinTokens.Set(c.Batch, t, func(s *JoinTokenSpec) { s.UsedBy, s.UsedKey = id, key })
			c.Note("use", &t.Meta)
		}
		certificate, err := g.Authority.IssueHost(public, id)
		if err != nil {
			return nil, err
		}
		return &joinOut{ca.JoinReply{HostID: id, Certificate: string(certificate), CACertificate: string(g.Authority.PEM())}}, nil
	})
}

// returning is the host of this cloud that asks by its last certificate.
func (g Gate) returning(s *store.Snapshot, certificate string, key any) (resource.ID, error) {
	id, err := g.Authority.HostOf(certificate, key)
	if err != nil {
		return "", err
	}
	return id, g.member(s, id)
}

// member says why a host is not of this cloud any more.
func (g Gate) member(s *store.Snapshot, id resource.ID) error {
	if g.Removed != nil {
		if err := g.Removed(s, id); err != nil {
			return err
		}
	}
	if x := s.Lookup(id); x == nil || x.Head().Kind != "host" {
		return fault.New(fault.Unauthenticated, "host %s is not of this cloud any more; join again", id)
	}
	return nil
}

// usable finds the join token of a secret that this key may use.
func usable(c *httpapi.Call, secret, key string) (*JoinToken, error) {
	id, _ := SecretID(secret)
	t := store.Find(c.Snapshot, JoinTokens, id)
	switch {
	case t == nil || t.Deleting != nil || !Proves(secret, t.Spec.Hash):
		return nil, fault.New(fault.Unauthenticated, "this join token is not known, or was deleted; make another")
	case !c.Now().Before(t.Spec.Expires):
		return nil, fault.New(fault.Unauthenticated, "this join token has expired; make another")
	case t.Spec.UsedBy == "":
		return t, nil
	case t.Spec.UsedKey != key:
		return nil, fault.New(fault.Denied, "this join token was used by another host; make another")
	case !there(c.Snapshot.Lookup(t.Spec.UsedBy)):
		return nil, fault.New(fault.Denied, "the host that used this join token was removed; make another")
	}
	return t, nil
}

// there reports whether a record is, and is not about to go.
func there(x resource.Object) bool { return x != nil && x.Head().Deleting == nil }

type renewIn struct{ Body ca.RenewRequest }

func registerRenew(a *httpapi.API, g Gate) {
	op := httpapi.Op{ID: "renew-certificate", Method: http.MethodPost, Path: "/v1/agent/renew", Right: httpapi.AsHost, Tag: "agent",
		Summary: "Renew the certificate of the host that asks"}
	httpapi.Handle(a, op, func(_ context.Context, c *httpapi.Call, in *renewIn) (*joinOut, error) {
		public, _, err := ca.ReadRequest(in.Body.CSR)
		if err != nil {
			return nil, err
		}
		certificate, err := g.Authority.IssueHost(public, c.Host)
		if err != nil {
			return nil, err
		}
		return &joinOut{ca.JoinReply{HostID: c.Host, Certificate: string(certificate), CACertificate: string(g.Authority.PEM())}}, nil
	})
	registerRecover(a, g)
}

type recoverIn struct{ Body ca.RecoverRequest }

func registerRecover(a *httpapi.API, g Gate) {
	op := httpapi.Op{ID: "recover-certificate", Method: http.MethodPost, Path: "/v1/renew", Right: httpapi.Public, Tag: "agent",
		Summary: "Renew the certificate of a host whose last one has run out",
		Doc:     "The last certificate, whose time does not matter, and a request that is signed by its key prove which host asks. It must still be of the cloud."}
	httpapi.Handle(a, op, func(_ context.Context, c *httpapi.Call, in *recoverIn) (*joinOut, error) {
		public, _, err := ca.ReadRequest(in.Body.CSR)
		if err != nil {
			return nil, err
		}
		id, err := g.returning(c.Snapshot, in.Body.Certificate, public)
		if err != nil {
			return nil, err
		}
		certificate, err := g.Authority.IssueHost(public, id)
		if err != nil {
			return nil, err
		}
		return &joinOut{ca.JoinReply{HostID: id, Certificate: string(certificate), CACertificate: string(g.Authority.PEM())}}, nil
	})
}

package identity

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/httpapi/doctest"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
	"github.com/virga-cloud/virga/identity/ca"
	"github.com/virga-cloud/virga/identity/keyring"
)

type thingSpec struct{}
type thingStatus struct{ resource.Observed }

var (
	things = resource.Define("thing", "things", resource.Options[thingSpec, thingStatus]{Doc: "A toy.", Scope: resource.InProject,
		Counts: map[string]func(*resource.Record[thingSpec, thingStatus]) int64{"things": resource.One[thingSpec, thingStatus], "grams": func(*resource.Record[thingSpec, thingStatus]) int64 { return 7 }}})
	hosts = resource.Define("host", "hosts", resource.Options[thingSpec, thingStatus]{Doc: "A toy host.", Scope: resource.InCloud})
)

// gift is what comes with a project here: the thing of this name.
type gift struct {
	things *store.SpecWriter[thingSpec, thingStatus]
}

func (gift) Has(_ *store.Snapshot, x resource.Object) bool {
	return x.Head().Kind == things.Kind && x.Head().Name == "gift"
}

func (g gift) Remove(b *store.Batch, s *store.Snapshot, project resource.ID) {
	if x := store.Named(s, things, project, "gift"); x != nil {
		g.things.Delete(b, x)
	}
}

// cloud is a server with identity's routes over TLS and on a unix socket.
type cloud struct {
	t         *testing.T
	db        *store.DB
	api       *httpapi.API
	writers   Writers
	authority *ca.Authority
	folder    string // the authority's
	address   string
	socket    string
	audit     *Audit
	ring      *keyring.Ring
	admin     string
	ahead     atomic.Int64 // of the clock
}

func newCloud(t *testing.T) *cloud {
	t.Helper()
	db := store.NewDB(memory.New(), resource.NewCatalog(Projects, Users, Tokens, Sessions, JoinTokens, Secrets, things, hosts))
	y := &cloud{t: t, db: db, writers: NewWriters(store.NewRegistry())}
	db.Now = func() time.Time { return time.Now().Add(time.Duration(y.ahead.Load())) }
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = db.Run(ctx) }()
	dir := t.TempDir()
	var err error
	y.folder = filepath.Join(dir, "ca")
	if y.authority, err = ca.Open(y.folder, ca.Options{}); err != nil {
		t.Fatal(err)
	}
	if err := Seed(ctx, db, y.writers, func(secret string) error { y.admin = secret; return nil }); err != nil {
		t.Fatal(err)
	}
	y.audit = NewAudit(db, 24*time.Hour)
	auth := NewAuthenticator(db, func(*store.Snapshot, resource.ID) error { return nil })
	api := httpapi.New(db, httpapi.Options{Version: "test", Audit: y.audit, Recheck: 20 * time.Millisecond, Authenticate: auth.Authenticate})
	y.api = api
	registry := store.NewRegistry()
	thingSpecs := store.Specs(registry, things, "api")
	Register(api, y.writers, auth, gift{thingSpecs}, db.Catalog().Totals())
	hostSpecs := store.Specs(registry, hosts, "api")
	y.audit.Register(api)
	if y.ring, err = keyring.Open(filepath.Join(dir, "secrets.json"), false, time.Now()); err != nil {
		t.Fatal(err)
	}
	registerSecrets(api, y.writers, y.ring)
	RegisterGate(api, y.writers, Gate{Authority: y.authority, Addresses: func() []string { return []string{y.address} },
		NewHost: func(c *httpapi.Call, name, _ string) (resource.ID, error) {
			h := &resource.Record[thingSpec, thingStatus]{}
			h.Name = name
			hostSpecs.Create(c.Batch, h)
			return h.ID, nil
		}})
	httpapi.Register(api, things, httpapi.Routes[thingSpec, thingStatus]{Specs: thingSpecs})
	httpapi.Register(api, hosts, httpapi.Routes[thingSpec, thingStatus]{Specs: hostSpecs})
	httpapi.Handle(api, httpapi.Op{ID: "beat", Method: "POST", Path: "/v1/agent/beat", Right: httpapi.AsHost, Tag: "agent", Summary: "A toy"},
		func(_ context.Context, c *httpapi.Call, _ *struct{}) (*struct{ Body httpapi.Caller }, error) {
			return &struct{ Body httpapi.Caller }{c.Caller}, nil
		})
	rotator, err := ca.NewRotator(filepath.Join(dir, "server"), db.Now, func(_ context.Context, key crypto) ([]byte, error) {
		return y.authority.IssueServer(key.Public(), "127.0.0.1", "localhost")
	}, nil)
	if err == nil {
		err = rotator.Ensure(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := httpapi.NewServer(api)
	server.TLSConfig = ca.ServerTLS(rotator, y.authority.Pool())
	go func() { _ = server.ServeTLS(listener, "", "") }()
	y.address = listener.Addr().String()
	y.socket = filepath.Join(dir, "api.sock")
	l, err := net.Listen("unix", y.socket)
	if err != nil {
		t.Fatal(err)
	}
	local := httpapi.NewServer(api)
	go func() { _ = local.Serve(l) }()
	t.Cleanup(func() { local.Close(); server.Close(); stop(); <-done })
	return y
}

type answer struct {
	status int
	body   []byte
}

func (a answer) problem() httpapi.Problem {
	var p httpapi.Problem
	_ = json.Unmarshal(a.body, &p)
	return p
}

func (y *cloud) do(client *http.Client, base, secret, method, path, body string) answer {
	y.t.Helper()
	req, err := http.NewRequest(method, base+path, bytes.NewReader([]byte(body)))
	if err != nil {
		y.t.Fatal(err)
	}
	if secret != "" {
		req.Header.Set("Authorization", "Bearer "+secret)
	}
	resp, err := client.Do(req)
	if err != nil {
		y.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, _ := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, data}
}

// as asks over TLS with a token.
func (y *cloud) as(secret, method, path, body string) answer {
	y.t.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: ca.ClientTLS(nil, y.authority.Pool(), ""), DisableKeepAlives: true}}
	return y.do(client, "https://"+y.address, secret, method, path, body)
}

// local asks on the unix socket.
func (y *cloud) local(secret, method, path, body string) answer {
	y.t.Helper()
	return y.do(y.onSocket(), "http://virga", secret, method, path, body)
}

func (y *cloud) onSocket() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", y.socket)
	}}}
}

func (y *cloud) want(status int, a answer) answer {
	y.t.Helper()
	if a.status != status {
		y.t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	return a
}

// project gives the id of the project that has this name now.
func (y *cloud) project(name string) resource.ID {
	y.t.Helper()
	p := store.Named(y.db.Snapshot(), Projects, "", name)
	if p == nil {
		y.t.Fatalf("there is no project %s", name)
	}
	return p.ID
}

// token makes a token by the API and gives its secret.
func (y *cloud) token(body string) string {
	y.t.Helper()
	var r TokenReply
	if err := json.Unmarshal(y.want(201, y.as(y.admin, "POST", "/v1/tokens", body)).body, &r); err != nil {
		y.t.Fatal(err)
	}
	if r.Token.Spec.Hash != "" {
		y.t.Error("the answer shows the hash")
	}
	return r.Secret
}

func TestTheFirstStartMakesAProjectAndAnAdministrator(t *testing.T) {
	y := newCloud(t)
	y.want(200, y.as(y.admin, "GET", "/v1/projects/default?wait=ready", ""))
	y.want(200, y.as(y.admin, "GET", "/v1/tokens", ""))
	again := ""
	if err := Seed(t.Context(), y.db, y.writers, func(s string) error { again = s; return nil }); err != nil || again != "" {
		t.Errorf("a second start: %v, made a secret: %t", err, again != "")
	}
	for _, path := range []string{"/v1/tokens", "/v1/tokens/admin", "/v1/jointokens"} {
		if strings.Contains(string(y.as(y.admin, "GET", path, "").body), `"hash"`) {
			t.Errorf("%s shows a hash", path)
		}
	}
	if p := y.want(409, y.as(y.admin, "DELETE", "/v1/tokens/admin", "")).problem(); !strings.Contains(p.Detail, "last of an administrator") {
		t.Error(p.Detail)
	}
}

func TestRootOnTheUnixSocketIsAdministrator(t *testing.T) {
	y := newCloud(t)
	y.want(200, y.local("", "GET", "/v1/tokens", ""))
	y.want(401, y.as("", "GET", "/v1/tokens", ""))
	// A token says more precisely who asks.
	viewer := y.token(`{"user":"eve","role":"viewer","projectID":"default"}`)
	y.want(403, y.local(viewer, "GET", "/v1/tokens", ""))
}

func TestATokenMayDoWhatItsRoleSays(t *testing.T) {
	y := newCloud(t)
	y.want(201, y.as(y.admin, "POST", "/v1/projects", `{"name":"a","spec":{}}`))
	y.want(201, y.as(y.admin, "POST", "/v1/projects", `{"name":"b"}`))
	viewer := y.token(`{"user":"eve","role":"viewer","projectID":"a"}`)
	member := y.token(`{"user":"mel","role":"member","projectID":"a"}`)
	y.want(201, y.as(y.admin, "POST", "/v1/projects/a/things", `{"name":"counted"}`))
	for secret, want := range map[string]string{
		y.admin: `,"project":"a","used":{"grams":7,"secrets":0,"things":1}},{"projectID":"` + string(y.project("b")) + `","project":"b",`,
		member:  `[{"projectID":"` + string(y.project("a")) + `","project":"a","used":{"grams":7,"secrets":0,"things":1}}]`,
	} {
		if got := string(y.want(200, y.as(secret, "GET", "/v1/usage", "")).body); !strings.Contains(got, want) {
			t.Errorf("usage is %s, want %s", got, want)
		}
	}
	for _, c := range []struct {
		secret, method, path, body string
		status                     int
	}{
		{viewer, "GET", "/v1/projects/a/things", "", 200},
		{viewer, "POST", "/v1/projects/a/things", `{"name":"x"}`, 403},
		{member, "POST", "/v1/projects/a/things", `{"name":"x"}`, 201},
		{member, "GET", "/v1/projects/b/things", "", 403},
		{member, "GET", "/v1/projects/b", "", 404},
		{member, "GET", "/v1/projects/a", "", 200},
		{member, "PATCH", "/v1/projects/a", `{"spec":{"quota":{"vms":0}}}`, 403},
		{member, "POST", "/v1/tokens", `{"user":"x","role":"admin"}`, 403},
		{member, "GET", "/v1/hosts", "", 403},
		{member, "POST", "/v1/agent/beat", "", 403},
		{y.admin, "POST", "/v1/tokens", `{"user":"x","role":"viewer"}`, 422},
		{y.admin, "POST", "/v1/tokens", `{"user":"x","role":"king"}`, 422},
		{y.admin, "POST", "/v1/tokens", `{"user":"x","role":"viewer","projectID":"none"}`, 404},
		{y.admin, "POST", "/v1/projects", `{"name":"c","spec":{"quota":{"things":-1}}}`, 422},
		{y.admin, "POST", "/v1/projects", `{"name":"c","spec":{"quota":{"cows":1}}}`, 422},
		{member[:len(member)-1], "GET", "/v1/projects/a", "", 401},
		{"rubbish", "GET", "/v1/projects/a", "", 401},
	} {
		y.want(c.status, y.as(c.secret, c.method, c.path, c.body))
	}
	if p := y.as(y.admin, "POST", "/v1/tokens", `{"usr":"x","role":"admin"}`).problem(); !slices.ContainsFunc(p.Errors, func(d fault.Detail) bool {
		return d.Field == "usr" && strings.Contains(d.Message, "did you mean user")
	}) {
		t.Errorf("%+v", p)
	}
	var list httpapi.Page[ProjectSpec, ProjectStatus]
	if err := json.Unmarshal(y.want(200, y.as(member, "GET", "/v1/projects", "")).body, &list); err != nil || len(list.Items) != 1 || list.Items[0].Name != "a" {
		t.Errorf("%v %+v", err, list)
	}
	var who WhoAmI
	if err := json.Unmarshal(y.want(200, y.as(member, "GET", "/v1/whoami", "")).body, &who); err != nil || who != (WhoAmI{User: "mel", Right: "write", ProjectID: y.project("a"), Project: "a"}) {
		t.Errorf("%v %+v", err, who)
	}
}

func TestATokenThatExpiredOrWasDeletedIsNobody(t *testing.T) {
	y := newCloud(t)
	expires := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	secret := y.token(`{"name":"short","user":"eve","role":"viewer","projectID":"default","expires":"` + expires + `"}`)
	y.want(200, y.as(secret, "GET", "/v1/projects/default/things", ""))
	y.ahead.Store(int64(2 * time.Hour))
	if p := y.want(401, y.as(secret, "GET", "/v1/projects/default/things", "")).problem(); p.Kind != fault.Unauthenticated || !strings.Contains(p.Detail, "expired") {
		t.Errorf("%+v", p)
	}
	y.want(422, y.as(y.admin, "POST", "/v1/tokens", `{"user":"x","role":"admin","expires":"`+expires+`"}`))
	y.ahead.Store(0)
	y.want(204, y.as(y.admin, "DELETE", "/v1/tokens/short", ""))
	y.want(401, y.as(secret, "GET", "/v1/projects/default/things", ""))
}

func TestAProjectGoesOnlyWhenItIsEmpty(t *testing.T) {
	y := newCloud(t)
	y.want(201, y.as(y.admin, "POST", "/v1/projects", `{"name":"a"}`))
	for _, name := range []string{"gift", "x", "y"} {
		y.want(201, y.as(y.admin, "POST", "/v1/projects/a/things", `{"name":"`+name+`"}`))
	}
	for _, name := range []string{"x", "y"} {
		there := map[string]string{"x": "2 things", "y": "1 thing"}[name]
		if p := y.want(409, y.as(y.admin, "DELETE", "/v1/projects/a", "")).problem(); p.Detail != "project a still has "+there+"; delete them first" {
			t.Error(p.Detail)
		}
		y.want(204, y.as(y.admin, "DELETE", "/v1/projects/a/things/"+name, ""))
	}
	y.want(200, y.as(y.admin, "GET", "/v1/projects/a/things/gift", ""))
	y.want(409, y.as(y.admin, "DELETE", "/v1/projects/default", ""))
	inside, outside := y.token(`{"user":"in","role":"member","projectID":"a"}`), y.token(`{"user":"out","role":"member","projectID":"default"}`)
	y.want(202, y.as(y.admin, "DELETE", "/v1/projects/a", ""))
	y.want(404, y.as(y.admin, "GET", "/v1/projects/a/things/gift", ""))
	y.want(409, y.as(y.admin, "POST", "/v1/projects/a/things", `{"name":"late"}`))
	y.want(409, y.as(y.admin, "POST", "/v1/tokens", `{"user":"late","role":"member","projectID":"a"}`))
	y.want(401, y.as(inside, "GET", "/v1/whoami", ""))
	y.want(200, y.as(outside, "GET", "/v1/whoami", ""))
	loop := NewProjectLoop(y.db)
	step := func() {
		for _, p := range store.Every(y.db.Snapshot(), Projects) {
			if _, err := loop.Step(t.Context(), p.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	step()
	y.want(404, y.as(y.admin, "GET", "/v1/projects/a", ""))
	before := y.db.Revision()
	step()
	if y.db.Revision() != before {
		t.Error("a second resync changed something")
	}
}

func TestTheDocumentSpeaksOfEverything(t *testing.T) {
	y := newCloud(t)
	doctest.Complete(t, y.api, y.db.Catalog())
}

func TestTheSchemeOfATokenIsReadInAnyCaseAndNothingElseIsLetIn(t *testing.T) {
	y := newCloud(t)
	for _, c := range []struct {
		header string
		status int
	}{
		{"Bearer " + y.admin, 200}, {"bearer " + y.admin, 200}, {"BEARER  " + y.admin + " ", 200},
		{"Bearer", 401}, {"Bearer ", 401}, {"Basic cm9vdDo=", 401}, {y.admin, 401}, {"Bearer" + y.admin, 401},
	} {
		// On the socket as root, who would be let in without any header: what is shown wins.
		req, _ := http.NewRequest("GET", "http://virga/v1/tokens", nil)
		req.Header.Set("Authorization", c.header)
		resp, err := y.onSocket().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != c.status {
			t.Errorf("%.12q: %d, want %d", c.header, resp.StatusCode, c.status)
		}
		if says := resp.Header.Get("WWW-Authenticate"); c.status == 401 && says != `Bearer realm="virga", error="invalid_token"` {
			t.Errorf("%.12q: WWW-Authenticate %q", c.header, says)
		}
	}
}

func TestAWatchEndsSecondsAfterItsTokenIsDeletedOrExpires(t *testing.T) {
	y := newCloud(t)
	y.want(201, y.as(y.admin, "POST", "/v1/projects", `{"name":"a"}`))
	for _, end := range []func(){
		func() { y.want(204, y.as(y.admin, "DELETE", "/v1/tokens/eve", "")) },
		func() { y.ahead.Store(int64(2 * time.Hour)) },
	} {
		secret := y.token(`{"user":"eve","role":"viewer","projectID":"a","expires":"` + time.Now().Add(time.Hour).Format(time.RFC3339) + `"}`)
		req, _ := http.NewRequestWithContext(t.Context(), "GET", "http://virga/v1/watch?project=a", nil)
		req.Header.Set("Authorization", "Bearer "+secret)
		resp, err := y.onSocket().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		end()
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if events := strings.Split(strings.TrimSpace(string(text)), "\n\n"); !strings.HasPrefix(events[len(events)-1], "event: error") || !strings.Contains(string(text), "unauthenticated") {
			t.Errorf("%s", text)
		}
	}
}

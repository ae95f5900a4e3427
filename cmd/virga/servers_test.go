package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/etcd"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/identity"
	"github.com/virga-cloud/virga/identity/ca"
	"github.com/virga-cloud/virga/identity/keyring"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/observe"
	"github.com/virga-cloud/virga/wiring"
)

// pair is two servers of one cloud, each with its own member of the store, and a third host.
type pair struct {
	*testing.T
	servers  [2]*server
	registry [2]*store.Registry
	ends     [2]context.CancelFunc // ends the leader role of one
	third    *http.Client
	thirdID  resource.ID
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{T: t, thirdID: resource.NewID()}
	authority := t.TempDir()
	ids := [2]resource.ID{resource.NewID(), resource.NewID()}
	stores := members(t, ids)
	for i, st := range stores {
		p.serve(i, ids[i], st, authority)
	}
	p.hosts(ids)
	return p
}

// members are two members of one store.
func members(t *testing.T, ids [2]resource.ID) (out [2]*etcd.Store) {
	var urls [2]string
	for i := range urls {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		urls[i] = "http://" + l.Addr().String()
		l.Close()
	}
	var wg sync.WaitGroup
	for i := range urls {
		c := etcd.Config{Dir: t.TempDir(), Name: fmt.Sprintf("s%d", i), ID: string(ids[i]), PeerURL: urls[i],
			InitialCluster: "s0=" + urls[0] + ",s1=" + urls[1], NoSync: true}
		wg.Go(func() {
			st, err := etcd.Open(t.Context(), c)
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(st.Close)
			out[i] = st
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return out
}

// serve makes a server as startServer does, without the daemons of OVN.
func (p *pair) serve(i int, id resource.ID, st *etcd.Store, authority string) {
	p.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	p.must(err)
	run, err := os.MkdirTemp("", "vp") // sockets have short names
	p.must(err)
	p.Cleanup(func() { os.RemoveAll(run) })
	ring, err := keyring.InMemory(time.Now())
	p.must(err)
	s := &server{store: st, ring: ring, c: &config{state: p.TempDir(), run: run, HostID: id, Name: fmt.Sprintf("s%d", i), Address: "127.0.0.1", Servers: []string{l.Addr().String()}}}
	p.must(os.MkdirAll(s.c.in("ca"), 0o700))
	s.authority, err = ca.Open(authority, ca.Options{})
	p.must(err)
	s.rotator, err = s.certificate(p.Context())
	p.must(err)
	s.db = store.NewDB(st, wiring.Catalog())
	s.led = &store.DB{View: s.db.View, Now: s.db.Now, Fence: s.role.Fence}
	p.registry[i] = store.NewRegistry()
	p.must(s.wire(p.registry[i]))
	ctx, end := context.WithCancel(context.Background())
	role, over := context.WithCancel(ctx)
	p.servers[i], p.ends[i] = s, over
	s.tasks.Go(func() { _ = s.db.Run(ctx) })
	p.must(s.db.WaitFor(p.Context(), 1))
	api := httpapi.NewServer(s.handler())
	api.TLSConfig = ca.ServerTLS(s.rotator, s.authority.Pool())
	s.serve(ctx, api, l)
	s.tasks.Go(func() { s.cloud.Relay.Run(ctx, s.db.Now) })
	s.tasks.Go(func() {
		s.role.Run(role, s.stand, func(ctx context.Context) {
			s.listener.Restart(s.db.Now())
			s.runner.Run(ctx)
		})
	})
	p.Cleanup(func() { end(); s.tasks.Wait(); s.south.Close() })
	if i == 0 {
		p.eventually("the first server leads", func() bool { leads, _ := s.role.Leads(); return leads })
	}
}

// hosts makes the records of three hosts; two of them run the servers.
func (p *pair) hosts(ids [2]resource.ID) {
	p.Helper()
	s, statuses := p.servers[0], store.Statuses(p.registry[0], host.Hosts, "test")
	b := s.db.Begin()
	for i, id := range append(ids[:], p.thirdID) {
		s.cloud.NewHost(b, id, fmt.Sprintf("h%d", i), "")
	}
	p.must(s.db.Commit(p.Context(), b))
	for i, other := range p.servers {
		tell := func() error {
			b := s.db.Begin()
			statuses.Set(b, host.Find(s.db.Snapshot(), ids[i]), func(t *host.Status) { t.APIAddress = other.c.Servers[0] })
			return s.db.Commit(p.Context(), b)
		}
		err := tell()
		for fault.Is(err, fault.Conflict) { // the liveness loop was faster
			err = tell()
		}
		p.must(err)
	}
	p.must(p.servers[1].db.WaitFor(p.Context(), s.db.Revision()))
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p.must(err)
	made, err := s.authority.IssueHost(key.Public(), p.thirdID)
	p.must(err)
	trust := ca.ClientTLS(nil, s.authority.Pool(), ca.ServerName)
	trust.Certificates = []tls.Certificate{{PrivateKey: key, Certificate: chain(p.T, made)}}
	p.third = &http.Client{Transport: &http.Transport{TLSClientConfig: trust}, Timeout: 10 * time.Second}
}

// chain reads a certificate in PEM.
func chain(t *testing.T, data []byte) [][]byte {
	t.Helper()
	block, _ := pem.Decode(data)
	if block == nil {
		t.Fatal("no certificate")
	}
	return [][]byte{block.Bytes}
}

func (p *pair) must(err error) {
	p.Helper()
	if err != nil {
		p.Fatal(err)
	}
}

func (p *pair) eventually(what string, holds func() bool) {
	p.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.Fatal("not within a minute: " + what)
		}
	}
}

// asThird makes a request of a server as the third host.
func (p *pair) asThird(i int, method, path string) (int, string) {
	p.Helper()
	r, err := http.NewRequest(method, "https://"+p.servers[i].c.Servers[0]+path, nil)
	p.must(err)
	answer, err := p.third.Do(r)
	p.must(err)
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	p.must(err)
	return answer.StatusCode, string(data)
}

func TestServerThatDoesNotLeadServesAndPassesOnWhatOnlyTheLeaderKnows(t *testing.T) {
	p := newPair(t)
	first, second := p.servers[0], p.servers[1]
	if leads, _ := second.role.Leads(); leads {
		t.Fatal("two servers lead")
	}
	// The API needs no leader; loops do.
	b := second.db.Begin()
	second.cloud.Identity.Projects.Create(b, &identity.Project{Meta: resource.Meta{ID: "a", Name: "a"}})
	second.cloud.Network.Seeder().SeedDefaults(b, "a")
	p.must(second.db.Commit(t.Context(), b))
	b = second.db.Begin()
	second.cloud.Network.Seeder().SeedDefaults(b, "b")
	if err := second.led.Commit(t.Context(), b); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a loop of a server that does not lead commits: %v", err)
	}
	// A heartbeat may reach any server.
	p.eventually("a host that tells the second server is alive to the first", func() bool {
		if status, body := p.asThird(1, "POST", "/v1/agent/heartbeat"); status != http.StatusNoContent {
			t.Fatalf("a heartbeat gives %d: %s", status, body)
		}
		return host.StateOf(first.db.Snapshot(), p.thirdID) == host.Alive
	})
	if status, _ := p.asThird(0, "POST", "/v1/server/heartbeats"); status != http.StatusForbidden {
		t.Errorf("a host that speaks for others is answered %d", status)
	}
	p.contentIsPassedOn()
	p.uploadThatIsPassedOnIsAuditedOnce()
	// The leader goes; the other one leads, and nobody is lost.
	p.ends[0]()
	p.eventually("the second leads, and the host is alive to it", func() bool {
		p.asThird(1, "POST", "/v1/agent/heartbeat")
		state, _ := second.listener.State(p.thirdID, second.db.Now())
		leads, _ := second.role.Leads()
		return leads && state == host.Alive && host.StateOf(second.db.Snapshot(), p.thirdID) == host.Alive
	})
	// The one that leads no more passes on in its turn, and its API goes on.
	p.eventually("a host that tells the first server is heard by the second", func() bool {
		second.listener.Forget(p.thirdID)
		p.asThird(0, "POST", "/v1/agent/heartbeat")
		time.Sleep(time.Second)
		state, _ := second.listener.State(p.thirdID, second.db.Now())
		return state == host.Alive
	})
	for _, e := range store.Every(second.db.Snapshot(), observe.Events) {
		if e.Spec.Reason == "lost" && e.Spec.About.ID == p.thirdID {
			t.Errorf("event: %s", e.Spec.Message)
		}
	}
	if store.Named(first.db.Snapshot(), network.Networks, "a", network.DefaultNetwork) == nil {
		t.Error("what the second server committed is not seen by the first")
	}
}

// contentIsPassedOn: an image's content lies on the first server's disk.
func (p *pair) contentIsPassedOn() {
	p.Helper()
	first := p.servers[0]
	sum := sha256.Sum256([]byte("a disk"))
	digest := hex.EncodeToString(sum[:])
	p.must(os.WriteFile(filepath.Join(first.c.in("images"), "sha256-"+digest+".qcow2"), []byte("a disk"), 0o600))
	i := &compute.Image{Spec: compute.ImageSpec{Visibility: "project"}}
	i.Name, i.Project = "disk", "a"
	i.Status = compute.ImageStatus{Phase: compute.ImageReady, Digest: "sha256:" + digest, ServerID: first.c.HostID}
	b := first.db.Begin()
	first.cloud.Image.Images.Create(b, i)
	p.must(first.db.Commit(p.Context(), b))
	p.must(p.servers[1].db.WaitFor(p.Context(), first.db.Revision()))
	for n := range p.servers {
		if status, body := p.asThird(n, "GET", "/v1/agent/blobs/sha256:"+digest); status != http.StatusOK || body != "a disk" {
			p.Errorf("server %d gives the content as %d: %q", n, status, body)
		}
	}
	if status, body := p.asThird(1, "GET", "/v1/agent/blobs/sha256:"+hex.EncodeToString(make([]byte, 32))); status != http.StatusNotFound {
		p.Errorf("content that nobody has gives %d: %s", status, body)
	}
}

// uploadThatIsPassedOnIsAuditedOnce: the one that leads does it, for the user who asked another.
func (p *pair) uploadThatIsPassedOnIsAuditedOnce() {
	p.Helper()
	first, second := p.servers[0], p.servers[1]
	ctx, end := context.WithCancel(p.Context())
	var logs sync.WaitGroup
	defer func() { end(); logs.Wait() }()
	for _, s := range p.servers {
		logs.Go(func() { s.cloud.Audit.Run(ctx) })
	}
	id := resource.NewID()
	secret := identity.NewSecret(id)
	b := first.db.Begin()
	first.cloud.Identity.Tokens.Create(b, &identity.Token{Meta: resource.Meta{ID: id, Name: "ann"}, Spec: identity.TokenSpec{User: "ann", Role: identity.Member, ProjectID: "a", Hash: identity.HashSecret(secret)}})
	p.must(first.db.Commit(p.Context(), b))
	p.must(second.db.WaitFor(p.Context(), first.db.Revision()))
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: ca.ClientTLS(nil, first.authority.Pool(), ca.ServerName)}, Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	r, err := http.NewRequest("PUT", "https://"+second.c.Servers[0]+"/v1/projects/a/images/none/content", strings.NewReader("x"))
	p.must(err)
	r.Header.Set("Authorization", "Bearer "+secret)
	r.Header.Set("Virga-Asked-By", `{"user":"root"}`)
	answer, err := client.Do(r)
	p.must(err)
	answer.Body.Close()
	asked := answer.Header.Values("X-Request-Id")
	if answer.StatusCode != http.StatusNotFound || len(asked) != 1 {
		p.Fatalf("an upload to an image that is not there gives %s, as requests %v", answer.Status, asked)
	}
	var found []httpapi.Audited
	p.eventually("the request is in the audit log", func() bool {
		page, err := first.cloud.Audit.Read(p.Context(), identity.AuditFilter{Action: "upload-image"}, "", 100)
		p.must(err)
		found = page.Items
		return len(found) > 0
	})
	time.Sleep(1500 * time.Millisecond) // the other server would have told its own by now
	page, err := first.cloud.Audit.Read(p.Context(), identity.AuditFilter{Action: "upload-image"}, "", 100)
	p.must(err)
	found = page.Items
	if e := found[0]; len(found) != 1 || e.User != "ann" || e.Shown != "token ann" || e.From != "127.0.0.1" || string(e.Request) != asked[0] || e.Outcome != httpapi.Refused {
		p.Errorf("the audit log has %+v", found)
	}
}

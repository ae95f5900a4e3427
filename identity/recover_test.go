package identity

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/identity/ca"
)

// away is a host whose certificate ran out long ago.
type away struct {
	y       *cloud
	id      resource.ID
	dir     string
	rotator *ca.Rotator
}

func (y *cloud) away(name string, life time.Duration) *away {
	y.t.Helper()
	h := &away{y: y, dir: y.t.TempDir()}
	var err error
	if h.id, err = ca.Join(y.t.Context(), h.dir, y.invitation(), name, ""); err != nil {
		y.t.Fatal(err)
	}
	h.open()
	then, err := ca.Open(y.folder, ca.Options{HostLife: time.Hour, Now: func() time.Time { return time.Now().Add(-life) }})
	if err != nil {
		y.t.Fatal(err)
	}
	old, err := then.IssueHost(h.rotator.Key().Public(), h.id)
	if err == nil {
		err = os.WriteFile(ca.HostFiles(h.dir)+".crt", old, 0o600)
	}
	if err != nil {
		y.t.Fatal(err)
	}
	h.open()
	return h
}

// open reads what the host has, as its agent does at the start.
func (h *away) open() {
	h.y.t.Helper()
	server := func() string { return h.y.address }
	var renewing *http.Client
	plain := &http.Client{Transport: &http.Transport{TLSClientConfig: ca.ClientTLS(nil, h.y.authority.Pool(), ca.ServerName), DisableKeepAlives: true}}
	issue := func(ctx context.Context, key crypto) ([]byte, error) {
		return ca.RenewOrRecover(h.rotator.Leaf, time.Now, ca.RenewBy(renewing, server), ca.Recover(plain, server, ca.HostFiles(h.dir)))(ctx, key)
	}
	var err error
	if h.rotator, err = ca.NewRotator(ca.HostFiles(h.dir), time.Now, issue, nil); err != nil {
		h.y.t.Fatal(err)
	}
	renewing = &http.Client{Transport: &http.Transport{TLSClientConfig: ca.ClientTLS(h.rotator, h.y.authority.Pool(), ca.ServerName), DisableKeepAlives: true}}
}

func TestHostWhoseCertificateRanOutComesBackByItsKey(t *testing.T) {
	y := newCloud(t)
	for _, off := range []time.Duration{2 * time.Hour, 60 * 24 * time.Hour, 8 * 365 * 24 * time.Hour} {
		h := y.away("h"+off.String()[:1], off)
		if err := h.rotator.Ensure(t.Context()); err != nil {
			t.Fatalf("after %v: %v", off, err)
		}
		leaf := h.rotator.Leaf()
		if id, _ := ca.HostID(leaf); id != h.id || leaf.NotAfter.Before(time.Now()) {
			t.Errorf("after %v it is %s until %v", off, id, leaf.NotAfter)
		}
	}
}

func TestOnlyTheHostItselfComesBackByItsOldCertificate(t *testing.T) {
	y, other := newCloud(t), newCloud(t)
	h, thief := y.away("h1", time.Hour*1000), y.away("h2", time.Hour*1000)
	copyOf := func(from, to *away) {
		t.Helper()
		data, err := os.ReadFile(ca.HostFiles(from.dir) + ".crt")
		if err == nil {
			err = os.WriteFile(ca.HostFiles(to.dir)+".crt", data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		to.open()
	}
	copyOf(h, thief)
	if err := thief.rotator.Ensure(t.Context()); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("with another's certificate and its own key: %v", err)
	}
	stranger := other.away("h1", time.Hour*1000)
	stranger.y = y
	stranger.open()
	if err := stranger.rotator.Ensure(t.Context()); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("a host of another cloud: %v", err)
	}
	y.want(204, y.as(y.admin, "DELETE", "/v1/hosts/h1", ""))
	if err := h.rotator.Ensure(t.Context()); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("a host that was removed: %v", err)
	}
	if _, err := ca.Join(t.Context(), h.dir, y.invitation(), "h1", ""); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("a host that was removed joins with what it had: %v", err)
	}
}

func TestHostThatJoinsAgainWithANewTokenStaysWhoItIs(t *testing.T) {
	y := newCloud(t)
	h := y.away("h1", time.Hour*1000)
	before, err := os.ReadFile(ca.HostFiles(h.dir) + ".key")
	if err != nil {
		t.Fatal(err)
	}
	word := y.invitation()
	for range 2 { // the second time as one whose answer was lost
		id, err := ca.Join(t.Context(), h.dir, word, "another-name", "")
		if err != nil || id != h.id {
			t.Errorf("it is %s and was %s: %v", id, h.id, err)
		}
	}
	after, err := os.ReadFile(ca.HostFiles(h.dir) + ".key")
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("it has another key: %v", err)
	}
	if _, err := ca.Join(t.Context(), t.TempDir(), word, "h3", ""); !fault.Is(err, fault.Denied) {
		t.Errorf("the token is good for a second host: %v", err)
	}
}

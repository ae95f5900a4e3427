package ca

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
)

func TestAnAuthorityIsMadeOnceAndKeptSafe(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	a, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := Open(dir, Options{})
	if err != nil || a.Fingerprint() != b.Fingerprint() {
		t.Fatalf("%v: another authority", err)
	}
	info, err := os.Stat(filepath.Join(dir, keyFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", err, info.Mode())
	}
	// Died between the two files: the key alone is no authority yet.
	if err := os.Remove(filepath.Join(dir, caFile)); err != nil {
		t.Fatal(err)
	}
	if c, err := Open(dir, Options{}); err != nil || c.Fingerprint() == a.Fingerprint() {
		t.Error(err)
	}
	if err := os.Remove(filepath.Join(dir, keyFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{}); err == nil {
		t.Error("an authority without its key was opened")
	}
}

// world is an authority, a server's rotator and a clock.
type world struct {
	t       *testing.T
	now     time.Time
	ca      *Authority
	rotator *Rotator
	issued  int
	broken  error
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, now: time.Now()}
	dir := t.TempDir()
	var err error
	if w.ca, err = Open(dir, Options{Now: func() time.Time { return w.now }}); err != nil {
		t.Fatal(err)
	}
	w.rotator, err = NewRotator(filepath.Join(dir, "server"), func() time.Time { return w.now }, func(_ context.Context, k crypto.Signer) ([]byte, error) {
		if w.broken != nil {
			return nil, w.broken
		}
		w.issued++
		return w.ca.IssueServer(k.Public(), "127.0.0.1")
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.rotator.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w
}

// shake makes one connection and gives what each side saw of the other.
func (w *world) shake(server, client *tls.Config) (*x509.Certificate, error) {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	defer l.Close()
	seen := make(chan *x509.Certificate, 1)
	go func() {
		defer close(seen)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		s := tls.Server(c, server)
		if s.Handshake() == nil && len(s.ConnectionState().PeerCertificates) > 0 {
			seen <- s.ConnectionState().PeerCertificates[0]
		}
		_, _ = s.Write([]byte("x"))
	}()
	c, err := tls.Dial("tcp", l.Addr().String(), client)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if _, err := c.Read(make([]byte, 1)); err != nil {
		return nil, err
	}
	return <-seen, nil
}

func TestACertificateIsRenewedAfterTwoThirdsOfItsLife(t *testing.T) {
	w := newWorld(t)
	server := ServerTLS(w.rotator, w.ca.Pool())
	first := w.rotator.Leaf()
	w.now = w.now.Add(19 * 24 * time.Hour)
	if err := w.rotator.Ensure(t.Context()); err != nil || w.issued != 1 {
		t.Errorf("after 19 of 30 days: %v, %d issued", err, w.issued)
	}
	w.now = w.now.Add(2 * 24 * time.Hour)
	w.broken = errors.New("no authority in reach")
	if err := w.rotator.Ensure(t.Context()); err == nil || w.rotator.Leaf() != first {
		t.Error("a renewal that fails must keep the old certificate", err)
	}
	w.broken = nil
	if err := w.rotator.Ensure(t.Context()); err != nil || w.issued != 2 {
		t.Errorf("after 21 of 30 days: %v, %d issued", err, w.issued)
	}
	// The listener that was there all the time shows the new one.
	client := ClientTLS(nil, w.ca.Pool(), "")
	client.Time = func() time.Time { return w.now }
	client.VerifyConnection = func(s tls.ConnectionState) error {
		if s.PeerCertificates[0].SerialNumber.Cmp(w.rotator.Leaf().SerialNumber) != 0 {
			return errors.New("the old certificate is still shown")
		}
		return nil
	}
	if _, err := w.shake(server, client); err != nil {
		t.Error(err)
	}
}

func TestWhoIsOfAnotherCloudIsRefused(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	server := ServerTLS(w.rotator, w.ca.Pool())
	host := func(a *Authority) *Rotator {
		k, err := NewRotator(filepath.Join(t.TempDir(), "host"), time.Now, func(_ context.Context, key crypto.Signer) ([]byte, error) {
			return a.IssueHost(key.Public(), "h1")
		}, nil)
		if err == nil {
			err = k.Ensure(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	c, err := w.shake(server, ClientTLS(host(w.ca), w.ca.Pool(), ServerName))
	if err != nil {
		t.Fatal(err)
	}
	if id, ok := HostID(c); !ok || id != "h1" {
		t.Errorf("host %q", id)
	}
	if _, err := w.shake(server, ClientTLS(host(other.ca), w.ca.Pool(), ServerName)); err == nil {
		t.Error("a host of another cloud came in")
	}
	if _, err := w.shake(server, ClientTLS(nil, other.ca.Pool(), ServerName)); err == nil {
		t.Error("a server of another cloud was believed")
	}
	if _, err := w.shake(server, PinnedTLS(w.ca.Fingerprint())); err != nil {
		t.Error(err)
	}
	if _, err := w.shake(server, PinnedTLS(other.ca.Fingerprint())); err == nil {
		t.Error("a pin of another cloud held")
	}
	// A host's certificate does not make a server.
	if _, err := w.shake(ServerTLS(host(w.ca), w.ca.Pool()), PinnedTLS(w.ca.Fingerprint())); err == nil {
		t.Error("a host passed as a server")
	}
}

// The authority of a cloud that has hosts is never made anew: nobody would trust it.
func TestAuthorityThatIsTrustedIsNeverMadeAnew(t *testing.T) {
	dir := t.TempDir()
	a, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	issued := func() {
		k, err := NewRotator(filepath.Join(dir, "server"), time.Now, func(_ context.Context, k crypto.Signer) ([]byte, error) { return a.IssueServer(k.Public(), "h1") }, nil)
		if err == nil {
			err = k.Ensure(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	issued()
	read := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	certificate, key := read(caFile), read(keyFile)
	other, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, damaged := range map[string][]byte{"removed": nil, "empty": {}, "half": certificate[:len(certificate)/2], "garbage": []byte("no certificate"), "another's": other.PEM()} {
		put(t, filepath.Join(dir, caFile), damaged)
		b, err := Open(dir, Options{Existing: true})
		if err != nil || b.Fingerprint() != a.Fingerprint() || string(read(caFile)) != string(certificate) {
			t.Errorf("the certificate is %s: %v; want the same authority, out of what it has issued", name, err)
		}
	}
	for name, damaged := range map[string][]byte{"removed": nil, "empty": {}, "half": key[:len(key)/2], "garbage": []byte("no key")} {
		put(t, filepath.Join(dir, keyFile), damaged)
		if _, err := Open(dir, Options{Existing: true}); !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "virga restore") {
			t.Errorf("the key is %s: %v", name, err)
		}
	}
	put(t, filepath.Join(dir, keyFile), key)
	put(t, filepath.Join(dir, caFile), nil)
	put(t, filepath.Join(dir, "server.crt"), nil)
	if _, err := Open(dir, Options{Existing: true}); !fault.Is(err, fault.Precondition) {
		t.Errorf("without any certificate that it has issued: %v", err)
	}
}

// put writes a file; nil removes it.
func put(t *testing.T, path string, data []byte) {
	t.Helper()
	err := os.Remove(path)
	if data != nil {
		err = os.WriteFile(path, data, 0o600)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
}

func TestKeyThatIsDamagedIsMadeAnewWhereItMayBe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "host")
	first, err := NewRotator(path, time.Now, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := Replaceable(path); err != nil {
		t.Fatal(err)
	}
	if again, err := NewRotator(path, time.Now, nil, nil); err != nil || !again.key.Equal(first.key) {
		t.Errorf("a good key was replaced: %v", err)
	}
	put(t, path+".key", []byte("garbage"))
	if _, err := NewRotator(path, time.Now, nil, nil); !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), path+".key") {
		t.Errorf("a damaged key: %v", err)
	}
	if err := Replaceable(path); err != nil {
		t.Fatal(err)
	}
	if again, err := NewRotator(path, time.Now, nil, nil); err != nil || again.key.Equal(first.key) {
		t.Errorf("after the damaged key was put away: %v", err)
	}
}

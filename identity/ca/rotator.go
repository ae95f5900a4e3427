package ca

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/virga-cloud/virga/engine/durable"
	"github.com/virga-cloud/virga/engine/fault"
)

// Issue gets a certificate (with the authority's after it) for a key: of the authority itself on a
// server, by the API on a host.
type Issue func(ctx context.Context, key crypto.Signer) ([]byte, error)

// Rotator keeps one certificate current. The key lies in <path>.key, the certificate in <path>.crt.
type Rotator struct {
	path  string
	issue Issue
	fits  func(*x509.Certificate) bool
	now   func() time.Time
	key   *ecdsa.PrivateKey

	mu   sync.Mutex
	cert *tls.Certificate
}

// NewRotator reads what lies at path, and makes the key if there is none. Fits, if given, says
// whether a certificate still is what is wanted, for example names all addresses.
func NewRotator(path string, now func() time.Time, issue Issue, fits func(*x509.Certificate) bool) (*Rotator, error) {
	k := &Rotator{path: path, issue: issue, fits: fits, now: now}
	keyPEM, err := os.ReadFile(path + ".key")
	if errors.Is(err, fs.ErrNotExist) {
		if k.key, keyPEM, err = newKey(); err != nil {
			return nil, err
		}
		return k, durable.Write(path+".key", keyPEM, 0o600)
	}
	if err != nil {
		return nil, fault.New(fault.Internal, "read a key: %w", err)
	}
	if k.key, err = parseKey(keyPEM); err != nil {
		return nil, fault.New(fault.Precondition, "read %s.key, the key of this host: %w; bring it back from a copy, or remove it and %s.crt and let the host join anew", path, err, path)
	}
	if certPEM, err := os.ReadFile(path + ".crt"); err == nil {
		if err := k.take(certPEM); err != nil {
			slog.Warn("a certificate is not usable and is asked for anew", "file", path+".crt", "error", err)
		}
	}
	return k, nil
}

// Key is the rotator's key.
func (k *Rotator) Key() crypto.Signer { return k.key }

func (k *Rotator) take(certPEM []byte) error {
	der, err := x509.MarshalPKCS8PrivateKey(k.key)
	if err != nil {
		return fault.New(fault.Internal, "encode a key: %w", err)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM(der))
	if err != nil {
		return fault.New(fault.Invalid, "use a certificate: %w", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.cert = &pair
	return nil
}

// Leaf is the present certificate; nil if there is none.
func (k *Rotator) Leaf() *x509.Certificate {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.cert == nil {
		return nil
	}
	return k.cert.Leaf
}

// due is how long the present certificate may still be kept; 0: renew now.
func (k *Rotator) due() time.Duration {
	leaf := k.Leaf()
	if leaf == nil || k.fits != nil && !k.fits(leaf) {
		return 0
	}
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	return max(0, leaf.NotBefore.Add(life*2/3).Sub(k.now()))
}

// Ensure renews the certificate if it is time. While the renewal fails the old one is kept.
func (k *Rotator) Ensure(ctx context.Context) error {
	if k.due() > 0 {
		return nil
	}
	certPEM, err := k.issue(ctx, k.key)
	if err != nil {
		return fault.Wrap(err, "renew the certificate %s", k.path)
	}
	if err := durable.Write(k.path+".crt", certPEM, 0o644); err != nil {
		return err
	}
	return k.take(certPEM)
}

// Run renews until ctx ends.
func (k *Rotator) Run(ctx context.Context) {
	for ctx.Err() == nil {
		// Looked at every hour at the latest, because clocks are set and names change.
		pause := min(max(k.due(), time.Second), time.Hour)
		if err := k.Ensure(ctx); err != nil && ctx.Err() == nil {
			slog.Warn("a certificate is not renewed yet", "error", err)
			pause = time.Minute
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

func (k *Rotator) present() (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.cert == nil {
		return nil, fault.New(fault.Unavailable, "no certificate yet")
	}
	return k.cert, nil
}

// Replaceable puts a key that is damaged out of the way. It is for those who may issue a certificate for
// any key: to everybody else the key is who they are.
func Replaceable(path string) error {
	data, err := os.ReadFile(path + ".key")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		if _, err = parseKey(data); err == nil {
			return nil
		}
	}
	slog.Warn("a key is damaged and is made anew", "file", path+".key", "error", err)
	return fault.Wrap(durable.Rename(path+".key", path+".key.damaged"), "put the damaged key %s.key away", path)
}

package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/virga-cloud/virga/engine/durable"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// ServerName is in every server's certificate, so that an agent can verify a server whose address
// has changed, or that it reaches through another one.
const ServerName = "server.virga"

const (
	caFile  = "ca.crt"
	keyFile = "ca.key"
	caLife  = 10 * 365 * 24 * time.Hour
	skew    = 5 * time.Minute // clocks may differ by this much
)

// Options are the lives of certificates. Zero: 30 days for servers, 7 for hosts.
type Options struct {
	ServerLife, HostLife time.Duration
	Now                  func() time.Time
	// Existing refuses to make a new authority: hosts and people trust one already.
	Existing bool
}

// Authority issues certificates.
type Authority struct {
	options Options
	cert    *x509.Certificate
	key     *ecdsa.PrivateKey
}

// Open reads the authority from a folder, or makes it there.
func Open(dir string, o Options) (*Authority, error) {
	if o.ServerLife == 0 {
		o.ServerLife = 30 * 24 * time.Hour
	}
	if o.HostLife == 0 {
		o.HostLife = 7 * 24 * time.Hour
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	a := &Authority{options: o}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.New(fault.Internal, "make the authority's folder: %w", err)
	}
	certPEM, err := os.ReadFile(filepath.Join(dir, caFile))
	if errors.Is(err, fs.ErrNotExist) && !o.Existing {
		return a, a.found(dir)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.Internal, "read the authority: %w", err)
	}
	return a, a.read(dir, certPEM)
}

// read takes the authority that is there. Its key cannot be made anew: nobody would trust another. Its
// certificate is in every certificate that it has issued.
func (a *Authority) read(dir string, certPEM []byte) error {
	keyPEM, err := os.ReadFile(filepath.Join(dir, keyFile))
	if err == nil {
		a.key, err = parseKey(keyPEM)
	}
	if err != nil {
		return fault.New(fault.Precondition, "read the key of the cloud's authority, %s: %w; without it no certificate can be issued, and another would be trusted by nobody: bring it back from a backup by virga restore FILE",
			filepath.Join(dir, keyFile), err)
	}
	if a.cert, err = parseCertificate(certPEM); err == nil && a.key.PublicKey.Equal(a.cert.PublicKey) {
		return nil
	}
	if a.cert = issuer(dir, a.key); a.cert == nil {
		return fault.New(fault.Precondition, "the certificate of the cloud's authority, %s, is missing, damaged or not that of its key; bring both back from one backup by virga restore FILE", filepath.Join(dir, caFile))
	}
	slog.Warn("the certificate of the cloud's authority was missing or damaged; it was taken from a certificate that it has issued", "file", filepath.Join(dir, caFile))
	return durable.Write(filepath.Join(dir, caFile), a.PEM(), 0o644)
}

// issuer finds the authority's own certificate behind those that it has issued.
func issuer(dir string, key *ecdsa.PrivateKey) *x509.Certificate {
	files, _ := filepath.Glob(filepath.Join(dir, "*.crt"))
	for _, file := range files {
		data, _ := os.ReadFile(file)
		for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
			if c, err := x509.ParseCertificate(block.Bytes); err == nil && c.IsCA && key.PublicKey.Equal(c.PublicKey) {
				return c
			}
		}
	}
	return nil
}

// found makes a new authority. The key is written first: a certificate without its key would be
// an authority that is lost, while a key without certificate is simply made anew.
func (a *Authority) found(dir string) error {
	key, keyPEM, err := newKey()
	if err != nil {
		return err
	}
	now := a.options.Now()
	form := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "virga cloud authority"},
		NotBefore: now.Add(-skew), NotAfter: now.Add(caLife), IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, form, form, &key.PublicKey, key)
	if err != nil {
		return fault.New(fault.Internal, "make the authority: %w", err)
	}
	if err := durable.Write(filepath.Join(dir, keyFile), keyPEM, 0o600); err != nil {
		return err
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return fault.New(fault.Internal, "make the authority: %w", err)
	}
	a.key = key
	return durable.Write(filepath.Join(dir, caFile), a.PEM(), 0o644)
}

// PEM is the authority's certificate.
func (a *Authority) PEM() []byte { return certificatePEM(a.cert.Raw) }

// Fingerprint is the SHA-256 of the authority's certificate, in hex.
func (a *Authority) Fingerprint() string { return fingerprint(a.cert) }

// Pool trusts this authority alone.
func (a *Authority) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// IssueServer makes a server's certificate for names and addresses, followed by the authority's own.
func (a *Authority) IssueServer(public crypto.PublicKey, names ...string) ([]byte, error) {
	form := &x509.Certificate{Subject: pkix.Name{CommonName: "virga server"}, DNSNames: []string{ServerName}}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			form.IPAddresses = append(form.IPAddresses, ip)
		} else {
			form.DNSNames = append(form.DNSNames, name)
		}
	}
	return a.issue(form, public, a.options.ServerLife)
}

// IssueHost makes a host's certificate, followed by the authority's own.
func (a *Authority) IssueHost(public crypto.PublicKey, id resource.ID) ([]byte, error) {
	form := &x509.Certificate{
		Subject:  pkix.Name{CommonName: "virga host " + string(id)},
		URIs:     []*url.URL{{Scheme: "virga", Host: "host", Path: "/" + string(id)}},
		DNSNames: []string{HostName(id)},
	}
	return a.issue(form, public, a.options.HostLife)
}

func (a *Authority) issue(form *x509.Certificate, public crypto.PublicKey, life time.Duration) ([]byte, error) {
	now := a.options.Now()
	form.SerialNumber, form.NotBefore, form.NotAfter = serial(), now.Add(-skew), now.Add(life)
	form.KeyUsage = x509.KeyUsageDigitalSignature
	form.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	der, err := x509.CreateCertificate(rand.Reader, form, a.cert, public, a.key)
	if err != nil {
		return nil, fault.New(fault.Internal, "issue a certificate for %s: %w", form.Subject.CommonName, err)
	}
	return append(certificatePEM(der), a.PEM()...), nil
}

// Sign signs content for a purpose; a signature is good for that alone.
func (a *Authority) Sign(purpose string, content []byte) ([]byte, error) {
	signature, err := ecdsa.SignASN1(rand.Reader, a.key, purposed(purpose, content))
	if err != nil {
		return nil, fault.New(fault.Internal, "sign by the cloud's authority: %w", err)
	}
	return signature, nil
}

// Signed reports whether this authority has signed content for a purpose.
func (a *Authority) Signed(purpose string, content, signature []byte) bool {
	return ecdsa.VerifyASN1(&a.key.PublicKey, purposed(purpose, content), signature)
}

// purposed is the sum that is signed. The purpose has no zero byte; a certificate begins with none of ours.
func purposed(purpose string, content []byte) []byte {
	h := sha256.New()
	h.Write([]byte("virga signed content\x00" + purpose + "\x00"))
	h.Write(content)
	return h.Sum(nil)
}

// HostName is the DNS name in a host's certificate, for those who connect to it.
func HostName(id resource.ID) string { return string(id) + ".host.virga" }

// HostID is the host that a certificate names. Verifying the certificate is the caller's.
func HostID(c *x509.Certificate) (resource.ID, bool) {
	for _, u := range c.URIs {
		if u.Scheme == "virga" && u.Host == "host" && len(u.Path) > 1 {
			return resource.ID(strings.TrimPrefix(u.Path, "/")), true
		}
	}
	return "", false
}

func fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

func serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		panic("ca: no random numbers: " + err.Error())
	}
	return n
}

func newKey() (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fault.New(fault.Internal, "make a key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fault.New(fault.Internal, "encode a key: %w", err)
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func certificatePEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func parseCertificate(data []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, fault.New(fault.Invalid, "no certificate in PEM")
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fault.New(fault.Invalid, "read a certificate: %w", err)
	}
	return c, nil
}

func parseKey(data []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fault.New(fault.Invalid, "no key in PEM")
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fault.New(fault.Invalid, "read a key: %w", err)
	}
	key, ok := k.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fault.New(fault.Invalid, "the key is no ECDSA key")
	}
	return key, nil
}

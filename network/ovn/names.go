package ovn

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/virga-cloud/virga/engine/durable"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// names is an authority between the gate and the database server alone, on one machine. It says which
// host a connection is for. Nobody else trusts it, and its key does not leave the state folder.
type names struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

const (
	namesLife  = 10 * 365 * 24 * time.Hour
	serverName = "southbound.virga"
)

// The files of the authority, in a folder.
const (
	namesFile, namesKeyFile   = "names.crt", "names.key"
	serverFile, serverKeyFile = "server.crt", "server.key"
)

// openNames reads the authority, or makes it with the server's certificate. The key is written last:
// without it all is made anew, and a server that runs with the old one is started again with the new.
func openNames(folder string) (*names, error) {
	n, err := readNames(folder)
	if err == nil {
		return n, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.Precondition, "read the names of OVN's hosts in %s: %w; remove that folder, it is made anew", folder, err)
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fault.New(fault.Unavailable, "make the names of OVN's hosts: %w", err)
	}
	n = new(names)
	if n.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err == nil {
		form := form("virga southbound")
		form.IsCA, form.BasicConstraintsValid, form.KeyUsage = true, true, x509.KeyUsageCertSign
		err = n.sign(form, form, &n.key.PublicKey, filepath.Join(folder, namesFile))
	}
	if err == nil {
		err = n.server(folder)
	}
	if err == nil {
		err = writeKey(filepath.Join(folder, namesKeyFile), n.key)
	}
	if err != nil {
		return nil, fault.New(fault.Unavailable, "make the names of OVN's hosts: %w", err)
	}
	return readNames(folder)
}

func readNames(folder string) (*names, error) {
	pair, err := tls.LoadX509KeyPair(filepath.Join(folder, namesFile), filepath.Join(folder, namesKeyFile))
	if err != nil {
		return nil, err
	}
	n := &names{cert: pair.Leaf}
	var is bool
	if n.key, is = pair.PrivateKey.(*ecdsa.PrivateKey); !is {
		return nil, errors.New("its key is of another type")
	}
	return n, nil
}

// server makes the database server's own certificate.
func (n *names) server(folder string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	form := form(serverName)
	form.DNSNames = []string{serverName}
	if err := writeKey(filepath.Join(folder, serverKeyFile), key); err != nil {
		return err
	}
	return n.sign(form, n.cert, &key.PublicKey, filepath.Join(folder, serverFile))
}

func form(name string) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(namesLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
}

// sign makes a certificate and writes it down; one that signs itself becomes the authority's.
func (n *names) sign(what, by *x509.Certificate, public *ecdsa.PublicKey, path string) error {
	der, err := x509.CreateCertificate(rand.Reader, what, by, public, n.key)
	if err != nil {
		return err
	}
	if what == by {
		if n.cert, err = x509.ParseCertificate(der); err != nil {
			return err
		}
	}
	return durable.Write(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600)
}

func writeKey(path string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return durable.Write(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}

// of is a certificate in a host's name. OVN compares that name with the rows of the host's chassis.
func (n *names) of(id resource.ID) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	der, err := x509.CreateCertificate(rand.Reader, form(string(id)), n.cert, &key.PublicKey, n.key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// DialAs connects to the database server in a host's name.
func (c *Central) DialAs(ctx context.Context, id resource.ID) (net.Conn, error) {
	names := c.names.Load()
	if names == nil {
		return nil, fault.New(fault.Unavailable, "OVN's southbound database has not started yet")
	}
	cert, err := names.of(id)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(names.cert)
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	d := tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool, ServerName: serverName, Certificates: []tls.Certificate{cert}}}
	return d.DialContext(ctx, "tcp", c.inner())
}

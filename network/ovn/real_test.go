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
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/virga-cloud/virga/network/ovn/nbdb"
)

func startCentral(t *testing.T, c CentralConfig) *Central {
	t.Helper()
	for _, p := range []string{"ovsdb-server", "ovn-northd", "ovsdb-tool"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is not installed", p)
		}
	}
	dir, err := os.MkdirTemp("/tmp", "vn")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	c.State, c.Run = filepath.Join(dir, "s"), filepath.Join(dir, "r")
	central := NewCentral(c)
	if err := central.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := central.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return central
}

// applied tries until ovn-northd has made the database ready.
func applied(t *testing.T, d *Database, rows []Row) {
	t.Helper()
	var err error
	for range 100 {
		if err = d.Apply(t.Context(), rows); err == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal(err)
}

func TestTheDatabaseTakesARealCloud(t *testing.T) {
	central := startCentral(t, CentralConfig{})
	d := NewDatabase(central.North())
	defer d.Close()
	applied(t, d, Compile(someCloud()))
	if p := makePlan(d.existing(), Compile(someCloud())); !p.empty() {
		t.Errorf("a second plan is not empty: %+v", p)
	}
	their := &nbdb.LogicalSwitch{UUID: "theirs", Name: "theirs"}
	ops, err := d.client.Create(their)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.client.Transact(t.Context(), ops...); err != nil {
		t.Fatal(err)
	}
	applied(t, d, Compile(Cloud{}))
	for _, table := range tables {
		for _, row := range d.existing()[table.name] {
			if ls, ok := row.(*nbdb.LogicalSwitch); ok && (ls.Name == "theirs" || ls.Name == "virga-ext") {
				continue
			}
			if lsp, ok := row.(*nbdb.LogicalSwitchPort); ok && lsp.Type == "localnet" {
				continue
			}
			if set, ok := row.(*nbdb.AddressSet); ok && set.Name == hostSet && len(set.Addresses) == 0 {
				continue
			}
			t.Errorf("%s is left in %s", keyOf(row), table.name)
		}
	}

	// The daemons go away and come back: nothing is lost, and the writer goes on.
	if err := central.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := d.Apply(t.Context(), Compile(someCloud())); err == nil {
		t.Error("a write to a database that is away succeeded")
	}
	if err := central.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	applied(t, d, Compile(someCloud()))
}

func TestTheSouthboundDatabaseWantsCertificates(t *testing.T) {
	if err := NewCentral(CentralConfig{State: "/x", Run: "/x", Listen: "192.0.2.1:6642"}).Start(t.Context()); err == nil {
		t.Error("the database listens for the world without certificates")
	}
	dir := t.TempDir()
	files, pair, pool := certificates(t, dir)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	startCentral(t, CentralConfig{Listen: address, TLS: files})
	good := &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}, ServerName: "localhost"}
	conn, err := tls.Dial("tcp", address, good)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(3 * time.Second))
	if !asks(conn) {
		t.Error("the database does not answer a client with a certificate")
	}
	bare, err := tls.Dial("tcp", address, &tls.Config{RootCAs: pool, ServerName: "localhost"})
	if err == nil {
		_ = bare.SetDeadline(time.Now().Add(3 * time.Second))
		if asks(bare) {
			t.Error("the database answers a client without a certificate")
		}
		bare.Close()
	}
}

func asks(conn net.Conn) bool {
	_, _ = conn.Write([]byte(`{"id":1,"method":"list_dbs","params":[]}`))
	n, err := conn.Read(make([]byte, 100))
	return err == nil && n > 0
}

func certificates(t *testing.T, dir string) (*TLS, tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := x509.MarshalPKCS8PrivateKey(key)
	keyPEM, certPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	files := &TLS{Key: dir + "/key.pem", Certificate: dir + "/cert.pem", CA: dir + "/cert.pem"}
	_ = os.WriteFile(files.Key, keyPEM, 0o600)
	_ = os.WriteFile(files.Certificate, certPEM, 0o600)
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	return files, pair, pool
}

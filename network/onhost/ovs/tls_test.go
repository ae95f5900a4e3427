package ovs_test

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
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/network/onhost/ovs"
	"github.com/virga-cloud/virga/network/ovn"
)

func TestAHostSpeaksWithTheVirtualNetworkUnderCertificates(t *testing.T) {
	needs(t, programs...)
	dir := t.TempDir()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "cloud"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der := must(x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key))
	check(t, os.WriteFile(dir+"/key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(key))}), 0o600))
	check(t, os.WriteFile(dir+"/cert", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	h := newSpace(t)
	c, ms := newCloud(t, map[*space]ovs.Config{h: {TunnelAddress: "127.0.0.1", Remote: "ssl:127.0.0.1:6642", TLS: &ovs.TLS{Key: dir + "/key", Certificate: dir + "/cert", CA: dir + "/cert"}}},
		[]*space{h}, ovn.CentralConfig{Listen: "127.0.0.1:6642"})
	// The gate is in the host's namespace, as the daemon is.
	pool := x509.NewCertPool()
	pool.AddCert(must(x509.ParseCertificate(der)))
	gate := &ovn.Gate{
		TLS:  &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool},
		Host: func(*x509.Certificate) (resource.ID, error) { return ms[0].id, nil },
		Dial: func(ctx context.Context, id resource.ID) (conn net.Conn, err error) {
			h.do(func() { conn, err = c.central.DialAs(ctx, id) })
			return conn, err
		},
	}
	var l net.Listener
	h.do(func() { l = must(net.Listen("tcp", "127.0.0.1:6642")) })
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); check(t, gate.Serve(ctx, l)) }()
	t.Cleanup(func() { cancel(); <-done })
	n, s := c.network("a", "10.20.0.0/20")
	c.ready(c.binding(c.port(n, s, "one"), ms[0], 1).ID)
}

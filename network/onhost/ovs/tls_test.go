package ovs_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"testing"
	"time"

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
		[]*space{h}, ovn.CentralConfig{Listen: "127.0.0.1:6642", TLS: &ovn.TLS{Key: dir + "/key", Certificate: dir + "/cert", CA: dir + "/cert"}})
	n, s := c.network("a", "10.20.0.0/20")
	c.ready(c.binding(c.port(n, s, "one"), ms[0], 1).ID)
}

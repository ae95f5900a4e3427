package ca

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"

	"github.com/virga-cloud/virga/engine/fault"
)

func keyPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// PoolOf trusts the certificates in PEM.
func PoolOf(caPEM []byte) (*x509.CertPool, error) {
	p := x509.NewCertPool()
	if !p.AppendCertsFromPEM(caPEM) {
		return nil, fault.New(fault.Invalid, "no certificate of an authority in PEM")
	}
	return p, nil
}

// ServerTLS is for a listener: whoever shows a certificate must have it from the authority; who
// shows none is asked for a token by the API.
func ServerTLS(k *Rotator, pool *x509.CertPool) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: pool,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return k.present() },
	}
}

// ClientTLS is for a connection to name (ServerName, or HostName of a host). With a Rotator the
// client shows its certificate.
func ClientTLS(k *Rotator, pool *x509.CertPool, name string) *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool, ServerName: name}
	if k != nil {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return k.present() }
	}
	return c
}

// PinnedTLS trusts whatever the authority with this fingerprint has signed for ServerName. It is
// for those who have no certificate of the authority yet.
func PinnedTLS(caFingerprint string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		// Verified below, against the fingerprint instead of a pool.
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			for _, c := range s.PeerCertificates[1:] {
				if fingerprint(c) != caFingerprint {
					continue
				}
				pool := x509.NewCertPool()
				pool.AddCert(c)
				_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: pool, DNSName: ServerName,
					KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
				return err
			}
			return fault.New(fault.Denied, "the server is not of the cloud that the join token is for; check its address")
		},
	}
}

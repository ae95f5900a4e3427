package ca

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"net/http"
	"os"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// A host that was off for long, or whose servers were, has a certificate that has run out, and with it no
// connection is made. It is still the authority's own word of whose key this is: with a request that is
// signed by that key it proves who asks, whatever the time. Whether that host is still of the cloud, its
// record says.

// RecoverRequest asks for a certificate in the place of one that may have run out.
type RecoverRequest struct {
	Certificate string `json:"certificate" maxLength:"65536" doc:"The last certificate of the host, in PEM; it may have run out."`
	CSR         string `json:"csr" maxLength:"65536" doc:"A certificate request of the same key, PKCS #10 in PEM."`
}

// HostOf says which host a certificate of this authority was for, whenever that was, and that its key is the one
// that is shown.
func (a *Authority) HostOf(certPEM string, key crypto.PublicKey) (resource.ID, error) {
	leaf, err := parseCertificate([]byte(certPEM))
	if err != nil {
		return "", err
	}
	if err := leaf.CheckSignatureFrom(a.cert); err != nil {
		return "", fault.New(fault.Unauthenticated, "this certificate is not of this cloud: %w", err)
	}
	id, ok := HostID(leaf)
	if !ok {
		return "", fault.New(fault.Unauthenticated, "this certificate names no host")
	}
	if own, ok := leaf.PublicKey.(*ecdsa.PublicKey); !ok || !own.Equal(key) {
		return "", fault.New(fault.Unauthenticated, "the request is not signed by the key of host %s", id)
	}
	return id, nil
}

// Recover is the Issue of a host whose certificate cannot be shown any more: Client shows none. The last
// certificate lies in <path>.crt.
func Recover(client *http.Client, server func() string, path string) Issue {
	return func(ctx context.Context, key crypto.Signer) ([]byte, error) {
		last, err := os.ReadFile(path + ".crt")
		if err != nil {
			return nil, fault.New(fault.Precondition, "read the last certificate of this host: %w; let it join anew with a token of virga host token", err)
		}
		csr, err := NewRequest(key)
		if err != nil {
			return nil, err
		}
		var reply JoinReply
		if err := post(ctx, client, "https://"+server()+"/v1/renew", RecoverRequest{string(last), csr}, &reply); err != nil {
			return nil, err
		}
		return []byte(reply.Certificate), nil
	}
}

// RenewOrRecover renews while the present certificate can be shown, and recovers otherwise, also where the
// clocks of host and server do not agree whether it can.
func RenewOrRecover(leaf func() *x509.Certificate, now func() time.Time, renew, recover Issue) Issue {
	return func(ctx context.Context, key crypto.Signer) ([]byte, error) {
		if c := leaf(); c != nil && now().Before(c.NotAfter) {
			certificate, err := renew(ctx, key)
			if err == nil || !fault.Is(err, fault.Unavailable) && !fault.Is(err, fault.Internal) {
				return certificate, err
			}
		}
		return recover(ctx, key)
	}
}

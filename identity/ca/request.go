package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"

	"github.com/virga-cloud/virga/engine/fault"
)

// NewRequest makes a certificate request (PKCS #10, PEM), which proves that the asker has the key.
func NewRequest(key crypto.Signer) (string, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return "", fault.New(fault.Internal, "make a certificate request: %w", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})), nil
}

// ReadRequest verifies a certificate request and gives its public key, and that key's SHA-256 in hex.
// Whatever names it asks for are ignored: the authority decides who somebody is.
func ReadRequest(text string) (crypto.PublicKey, string, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return nil, "", fault.Fields("certificate request", []fault.Detail{{Field: "csr", Message: "no CERTIFICATE REQUEST in PEM"}})
	}
	r, err := x509.ParseCertificateRequest(block.Bytes)
	if err == nil {
		err = r.CheckSignature()
	}
	if err != nil {
		return nil, "", fault.Fields("certificate request", []fault.Detail{{Field: "csr", Message: err.Error()}})
	}
	if _, ok := r.PublicKey.(*ecdsa.PublicKey); !ok {
		return nil, "", fault.Fields("certificate request", []fault.Detail{{Field: "csr", Message: "the key must be ECDSA P-256"}})
	}
	sum := sha256.Sum256(r.RawSubjectPublicKeyInfo)
	return r.PublicKey, hex.EncodeToString(sum[:]), nil
}

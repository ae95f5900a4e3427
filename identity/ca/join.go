package ca

import (
	"bytes"
	"context"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/virga-cloud/virga/engine/durable"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// Invitation is what a host needs to know to join.
type Invitation struct {
	// Addresses are the servers', host:port.
	Addresses []string `json:"addresses"`
	// CA is the fingerprint of the authority.
	CA string `json:"ca"`
	// Secret proves the invitation.
	Secret string `json:"secret"`
	// Network is where hosts reach the virtual network's database, host:port; empty: nowhere.
	Network string `json:"network,omitempty"`
}

const invitationPrefix = "virga-join."

func (i Invitation) String() string {
	data, _ := json.Marshal(i)
	return invitationPrefix + base64.RawURLEncoding.EncodeToString(data)
}

// ParseInvitation reads the text of a join token.
func ParseInvitation(text string) (Invitation, error) {
	var i Invitation
	body, ok := strings.CutPrefix(strings.TrimSpace(text), invitationPrefix)
	data, err := base64.RawURLEncoding.DecodeString(body)
	if err == nil {
		err = json.Unmarshal(data, &i)
	}
	if !ok || err != nil || len(i.Addresses) == 0 || len(i.CA) != 64 || i.Secret == "" {
		return i, fault.New(fault.Invalid, "this is no join token; copy the whole word that begins with %s", invitationPrefix)
	}
	return i, nil
}

// JoinRequest asks to be let in.
type JoinRequest struct {
	Secret   string `json:"secret" doc:"The secret in the join token."`
	Hostname string `json:"hostname" doc:"The name that the host shall have."`
	Cluster  string `json:"cluster,omitempty" doc:"The name of the cluster that it goes into; none: default."`
	CSR      string `json:"csr" doc:"A certificate request, PKCS #10 in PEM."`
	// Certificate proves that a host of this cloud joins again.
	Certificate string `json:"certificate,omitempty" maxLength:"65536" doc:"The last certificate of a host that is of this cloud already, in PEM; it may have run out."`
}

// JoinReply lets a host in.
type JoinReply struct {
	HostID        resource.ID `json:"hostID" doc:"The id of the host, for ever."`
	Certificate   string      `json:"certificate" doc:"Its certificate, followed by the authority's, in PEM."`
	CACertificate string      `json:"caCertificate" doc:"The authority's certificate, in PEM."`
}

// RenewRequest asks for a new certificate of the host that shows its present one.
type RenewRequest struct {
	CSR string `json:"csr" doc:"A certificate request, PKCS #10 in PEM."`
}

// HostFiles is where a host's key and certificate lie within a folder; HostCA the authority's.
func HostFiles(dir string) string { return filepath.Join(dir, "host") }

// HostCA is the file of the authority's certificate on a host.
func HostCA(dir string) string { return filepath.Join(dir, caFile) }

// Join lets this host into a cloud, and keeps what it gets in dir. Called again with the same
// invitation after a failure it comes to the same host, because the key is kept; a host of the cloud
// that joins again stays who it is.
func Join(ctx context.Context, dir, invitation, hostname, cluster string) (resource.ID, error) {
	i, err := ParseInvitation(invitation)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fault.New(fault.Internal, "make the folder of the host's certificate: %w", err)
	}
	k, err := NewRotator(HostFiles(dir), time.Now, nil, nil)
	if err != nil {
		return "", err
	}
	csr, err := NewRequest(k.Key())
	if err != nil {
		return "", err
	}
	last, _ := os.ReadFile(HostFiles(dir) + ".crt")
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: PinnedTLS(i.CA), DisableKeepAlives: true}}
	var reply JoinReply
	var errs []error
	for _, address := range i.Addresses {
		err := post(ctx, client, "https://"+address+"/v1/join", JoinRequest{i.Secret, hostname, cluster, csr, string(last)}, &reply)
		if err == nil {
			return reply.HostID, k.keep(dir, &reply)
		}
		if !fault.Is(err, fault.Unavailable) {
			return "", fault.Wrap(err, "join by %s", address)
		}
		errs = append(errs, err)
	}
	return "", fault.Wrap(errors.Join(errs...), "join the cloud: no server answered")
}

func (k *Rotator) keep(dir string, r *JoinReply) error {
	if err := durable.Write(HostCA(dir), []byte(r.CACertificate), 0o644); err != nil {
		return err
	}
	if err := k.take([]byte(r.Certificate)); err != nil {
		return err
	}
	return durable.Write(k.path+".crt", []byte(r.Certificate), 0o644)
}

// RenewBy is the Issue of a host: it asks a server, showing the present certificate. Server gives
// the address, host:port, to ask now.
func RenewBy(client *http.Client, server func() string) Issue {
	return func(ctx context.Context, key crypto.Signer) ([]byte, error) {
		csr, err := NewRequest(key)
		if err != nil {
			return nil, err
		}
		var reply JoinReply
		if err := post(ctx, client, "https://"+server()+"/v1/agent/renew", RenewRequest{csr}, &reply); err != nil {
			return nil, err
		}
		return []byte(reply.Certificate), nil
	}
}

func post(ctx context.Context, client *http.Client, url string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fault.New(fault.Internal, "encode a request: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return fault.New(fault.Invalid, "ask %s: %w", url, err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		if fault.KindOf(err) == fault.Denied {
			return err
		}
		return fault.New(fault.Unavailable, "ask %s: %w", url, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return fault.New(fault.Unavailable, "ask %s: %w", url, err)
	}
	if resp.StatusCode >= 400 {
		var p struct {
			Kind   fault.Kind `json:"kind"`
			Detail string     `json:"detail"`
		}
		if json.Unmarshal(data, &p) != nil || p.Kind == "" {
			return fault.New(fault.Unavailable, "ask %s: status %d", url, resp.StatusCode)
		}
		return fault.New(p.Kind, "%s", p.Detail)
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fault.New(fault.Internal, "read the answer of %s: %w", url, err)
	}
	return nil
}

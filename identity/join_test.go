package identity

import (
	"context"
	gocrypto "crypto"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/identity/ca"
)

type crypto = gocrypto.Signer

func (y *cloud) invitation() string {
	y.t.Helper()
	var r JoinTokenReply
	if err := json.Unmarshal(y.want(201, y.as(y.admin, "POST", "/v1/jointokens", "")).body, &r); err != nil {
		y.t.Fatal(err)
	}
	return r.Token
}

func TestAHostJoinsOnceAndRenewsItsCertificate(t *testing.T) {
	y := newCloud(t)
	word, dir := y.invitation(), t.TempDir()
	id, err := ca.Join(t.Context(), dir, word, "rack1-3", "")
	if err != nil {
		t.Fatal(err)
	}
	if h := store.Find(y.db.Snapshot(), hosts, id); h == nil || h.Name != "rack1-3" {
		t.Fatalf("%+v", h)
	}
	caPEM, err := os.ReadFile(ca.HostCA(dir))
	if err != nil {
		t.Fatal(err)
	}
	pool, err := ca.PoolOf(caPEM)
	if err != nil {
		t.Fatal(err)
	}
	var client *http.Client
	now := time.Now()
	k, err := ca.NewRotator(ca.HostFiles(dir), func() time.Time { return now }, func(ctx context.Context, key crypto) ([]byte, error) {
		return ca.RenewBy(client, func() string { return y.address })(ctx, key)
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	client = &http.Client{Transport: &http.Transport{TLSClientConfig: ca.ClientTLS(k, pool, ca.ServerName), DisableKeepAlives: true}}
	var caller struct{ Host resource.ID }
	if err := json.Unmarshal(y.want(200, y.do(client, "https://"+y.address, "", "POST", "/v1/agent/beat", "")).body, &caller); err != nil || caller.Host != id {
		t.Fatalf("%v %+v", err, caller)
	}
	y.want(403, y.do(client, "https://"+y.address, "", "GET", "/v1/tokens", ""))
	first := k.Leaf()
	if err := k.Ensure(t.Context()); err != nil || k.Leaf() != first {
		t.Errorf("renewed too early: %v", err)
	}
	now = now.Add(5 * 24 * time.Hour)
	if err := k.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, _ := ca.HostID(k.Leaf()); got != id || k.Leaf().SerialNumber.Cmp(first.SerialNumber) == 0 {
		t.Errorf("renewed for %s", got)
	}
	y.want(200, y.do(client, "https://"+y.address, "", "POST", "/v1/agent/beat", ""))
	// A host that was removed is nobody, whatever its certificate says.
	y.want(204, y.as(y.admin, "DELETE", "/v1/hosts/rack1-3", ""))
	y.want(401, y.do(client, "https://"+y.address, "", "POST", "/v1/agent/beat", ""))
}

func TestAJoinTokenLetsOneHostIn(t *testing.T) {
	y := newCloud(t)
	word, dir := y.invitation(), t.TempDir()
	id, err := ca.Join(t.Context(), dir, word, "one", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ca.Join(t.Context(), t.TempDir(), word, "two", ""); !fault.Is(err, fault.Denied) {
		t.Errorf("a second host: %v", err)
	}
	// The first, whose answer was lost, asks again with its key.
	if again, err := ca.Join(t.Context(), dir, word, "one", ""); err != nil || again != id {
		t.Errorf("the same host again: %s %v", again, err)
	}
	late := y.invitation()
	y.ahead.Store(int64(25 * time.Hour))
	if _, err := ca.Join(t.Context(), t.TempDir(), late, "late", ""); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("too late: %v", err)
	}
	y.ahead.Store(0)
	if _, err := ca.Join(t.Context(), t.TempDir(), y.invitation(), "one", ""); !fault.Is(err, fault.Exists) {
		t.Errorf("a name that is taken: %v", err)
	}
	if _, err := ca.Join(t.Context(), t.TempDir(), y.invitation(), "Bad_Name", ""); !fault.Is(err, fault.Invalid) {
		t.Errorf("a bad name: %v", err)
	}
}

func TestAHostJoinsOnlyTheCloudOfItsToken(t *testing.T) {
	y, other := newCloud(t), newCloud(t)
	i, err := ca.ParseInvitation(y.invitation())
	if err != nil {
		t.Fatal(err)
	}
	i.Addresses = []string{other.address}
	_, err = ca.Join(t.Context(), t.TempDir(), i.String(), "lost", "")
	if err == nil || !strings.Contains(err.Error(), "not of the cloud that the join token is for") {
		t.Error(err)
	}
	if _, err := ca.ParseInvitation("virga-join.xyz"); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
}

func TestAQuotaRefusesWithNumbers(t *testing.T) {
	q := Quota{"vms": 2, "memoryMiB": 1000, "networks": 0}
	for _, c := range []struct {
		used, more Usage
		want       string
	}{
		{Usage{"vms": 1}, Usage{"vms": 1}, ""},
		{Usage{"vms": 2}, Usage{"vms": 1}, "2 VMs are used, 1 more are wanted, the quota is 2"},
		{Usage{"cpus": 900}, Usage{"cpus": 900}, ""},
		{Usage{"memoryMiB": 800}, Usage{"memoryMiB": 201}, "800 MiB of memory are used, 201 more are wanted, the quota is 1000"},
		{Usage{"memoryMiB": 2000}, Usage{"memoryMiB": -1}, ""},
		{Usage{"memoryMiB": 2000}, Usage{"vms": 1}, ""},
		{Usage{}, Usage{"networks": 1, "ports": 9}, "0 networks are used, 1 more are wanted, the quota is 0"},
		{Usage{"vms": 2, "memoryMiB": 999}, Usage{"vms": 1, "memoryMiB": 2}, "2 more are wanted, the quota is 1000; 2 VMs are used"},
	} {
		err := check(q, func(total string) int64 { return c.used[total] }, c.more)
		if (err == nil) != (c.want == "") || err != nil && (!fault.Is(err, fault.Exhausted) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v + %+v: %v", c.used, c.more, err)
		}
	}
}

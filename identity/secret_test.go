package identity

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/identity/keyring"
)

// inBase64 is how a value travels.
func inBase64(value string) string { return base64.StdEncoding.EncodeToString([]byte(value)) }

// secret finds one of the project default.
func (y *cloud) secret(name string) *Secret {
	y.t.Helper()
	s := store.Named(y.db.Snapshot(), Secrets, y.project("default"), name)
	if s == nil {
		y.t.Fatalf("there is no secret %s", name)
	}
	return s
}

func (y *cloud) revealed(who, name string) string {
	y.t.Helper()
	var out Revealed
	if err := json.Unmarshal(y.want(200, y.as(who, "POST", "/v1/projects/default/secrets/"+name+"/reveal", "")).body, &out); err != nil {
		y.t.Fatal(err)
	}
	return string(out.Value)
}

// hides fails if the value, in any form that it travels in, is in a text.
func hides(t *testing.T, what string, text []byte, values ...string) {
	t.Helper()
	for _, v := range values {
		if bytes.Contains(text, []byte(v)) || bytes.Contains(text, []byte(inBase64(v))) {
			t.Errorf("%s shows %q: %s", what, v, text)
		}
	}
	if bytes.Contains(text, []byte(`"sealed"`)) {
		t.Errorf("%s shows what is kept: %s", what, text)
	}
}

func TestSecretIsSeenNowhereButWhereItIsRevealed(t *testing.T) {
	y := newCloud(t)
	const first, second = "the first of the values", "the second of them, \x00\xff"
	member := y.token(`{"user":"mel","role":"member","projectID":"default"}`)
	viewer := y.token(`{"user":"eve","role":"viewer","projectID":"default"}`)
	path := "/v1/projects/default/secrets"
	answers := map[string]answer{
		"create":  y.want(201, y.as(member, "POST", path, `{"name":"db","spec":{"description":"of the shop","value":"`+inBase64(first)+`"}}`)),
		"dry run": y.want(200, y.as(member, "POST", path+"?dryRun=true", `{"name":"dry","spec":{"value":"`+inBase64(first)+`"}}`)),
	}
	if got := y.revealed(member, "db"); got != first {
		t.Errorf("revealed is %q", got)
	}
	answers["update"] = y.want(200, y.as(member, "PATCH", path+"/db", `{"spec":{"value":"`+inBase64(second)+`"}}`))
	if got := y.revealed(member, "db"); got != second {
		t.Errorf("revealed is %q", got)
	}
	// What is changed besides leaves the value as it is, also by a PUT of what was read.
	answers["replace"] = y.want(200, y.as(member, "PUT", path+"/db", `{"spec":{"description":"of the lab"}}`))
	answers["rename"] = y.want(200, y.as(member, "PATCH", path+"/db", `{"name":"lab"}`))
	if got := y.revealed(member, "lab"); got != second {
		t.Errorf("after other changes it is %q", got)
	}
	for who, secret := range map[string]string{"admin": y.admin, "member": member, "viewer": viewer} {
		for _, one := range []string{path, path + "/lab", "/v1/secrets"} {
			if a := y.as(secret, "GET", one, ""); a.status == 200 {
				answers[who+" "+one] = a
			}
		}
	}
	if len(answers) < 10 {
		t.Errorf("only %d answers were looked at", len(answers))
	}
	for what, a := range answers {
		hides(t, what, a.body, first, second)
	}
	y.want(403, y.as(viewer, "POST", path+"/lab/reveal", ""))
	// Neither does the store have it, nor anything that is kept of the requests.
	if err := y.audit.write(t.Context()); err != nil {
		t.Fatal(err)
	}
	entries, _, err := y.db.Store().List(t.Context())
	if err != nil || len(entries) < 5 {
		t.Fatal(err)
	}
	for _, e := range entries {
		for _, v := range []string{first, second} {
			if bytes.Contains(e.Value, []byte(v)) || bytes.Contains(e.Value, []byte(inBase64(v))) {
				t.Errorf("%s has the value", e.Key)
			}
		}
	}
	told := y.entries(url.Values{"action": {"secret-reveal"}})
	if len(told) != 4 || told[0].Outcome != "refused" && told[1].Outcome != "refused" {
		t.Errorf("the audit log tells of %d: %+v", len(told), told)
	}
	for _, e := range told {
		if e.Outcome == "done" && (e.User != "mel" || e.About == nil || e.About.Kind != "secret") {
			t.Errorf("%+v", e)
		}
	}
}

func TestSecretRefusesWhatIsNoValueWithoutRepeatingIt(t *testing.T) {
	y := newCloud(t)
	path := "/v1/projects/default/secrets"
	y.want(201, y.as(y.admin, "POST", path, `{"name":"a","spec":{"value":"`+inBase64("one")+`"}}`))
	y.want(201, y.as(y.admin, "POST", path, `{"name":"b","spec":{"value":"`+inBase64("two")+`"}}`))
	stolen, err := json.Marshal(y.secret("b").Spec.Sealed)
	if err != nil {
		t.Fatal(err)
	}
	for body, method := range map[string]string{
		`{"name":"x","spec":{}}`:                                                             "POST",
		`{"name":"x","spec":{"value":""}}`:                                                   "POST",
		`{"name":"x","spec":{"value":"not base 64!"}}`:                                       "POST",
		`{"name":"x","spec":{"sealed":` + string(stolen) + `}}`:                              "POST",
		`{"name":"x","spec":{"value":"` + inBase64(strings.Repeat("x", maxSecret+1)) + `"}}`: "POST",
		`{"spec":{"sealed":` + string(stolen) + `}}`:                                         "PATCH",
		`{"spec":{"value":"not base 64!"}}`:                                                  "PATCH",
		`{"spec":{"value":40711}}`:                                                           "PATCH",
	} {
		where := path
		if method == "PATCH" {
			where += "/a"
		}
		a := y.want(422, y.as(y.admin, method, where, body))
		if bytes.Contains(a.body, []byte("not base 64!")) || bytes.Contains(a.body, []byte("xxxxxxxx")) || bytes.Contains(a.body, []byte("40711")) {
			t.Errorf("the refusal repeats the value: %s", a.body)
		}
	}
	if got := y.revealed(y.admin, "a"); got != "one" {
		t.Errorf("it is %q", got)
	}
	// What is kept of one secret opens as no other, also for who writes to the store.
	a := y.secret("a")
	forged := &Secret{Meta: a.Meta, Spec: SecretSpec{Sealed: y.secret("b").Spec.Sealed}}
	if value, err := OpenSecret(y.ring, forged); err == nil {
		t.Errorf("another's value opens: %q", value)
	}
	if _, err := OpenSecret(y.ring, &Secret{}); !fault.Is(err, fault.Precondition) {
		t.Errorf("one without a value: %v", err)
	}
}

func TestSecretKeysAreRotatedAndTheOldOnesGo(t *testing.T) {
	y := newCloud(t)
	path := "/v1/projects/default/secrets"
	for _, name := range []string{"a", "b", "c"} {
		y.want(201, y.as(y.admin, "POST", path, `{"name":"`+name+`","spec":{"value":"`+inBase64("value of "+name)+`"}}`))
	}
	member := y.token(`{"user":"mel","role":"member","projectID":"default"}`)
	y.want(403, y.as(member, "POST", "/v1/secretkeys/rotate", ""))
	before, kept := y.ring.Current(), *y.secret("a").Spec.Sealed
	y.want(200, y.as(y.admin, "POST", "/v1/secretkeys/rotate", ""))
	now := y.ring.Current()
	if now == before {
		t.Fatal("the key is the same")
	}
	loop := NewSecretLoop(y.db, y.writers.Secrets, y.ring)
	if _, err := loop.Step(t.Context(), y.secret("a").ID); err != nil { // and then we die
		t.Fatal(err)
	}
	again, err := keyring.Open(filepath.Join(filepath.Dir(y.socket), "secrets.json"), true, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b", "c"} { // of which some are wrapped by the old key
		if value, err := OpenSecret(again, y.secret(name)); err != nil || string(value) != "value of "+name {
			t.Errorf("%s in the middle of it: %q %v", name, value, err)
		}
	}
	look := func() {
		if err := rewrap(t.Context(), y.db, y.ring, loop.Step); err != nil {
			t.Fatal(err)
		}
	}
	look()
	for _, name := range []string{"a", "b", "c"} {
		if s := y.secret(name); s.Spec.Sealed.KeyID != now || y.revealed(y.admin, name) != "value of "+name {
			t.Errorf("%s is wrapped by %s", name, s.Spec.Sealed.KeyID)
		}
	}
	if a := y.secret("a"); !bytes.Equal(a.Spec.Sealed.Value, kept.Value) || bytes.Equal(a.Spec.Sealed.DataKey, kept.DataKey) {
		t.Error("the value was encrypted anew, or its key was not wrapped anew")
	}
	opens := func() error { _, err := y.ring.Open(&kept, y.secret("a").Ref()); return err }
	if err := opens(); err != nil {
		t.Errorf("the old key went at once, while something may still be on its way: %v", err)
	}
	y.ahead.Store(int64(retireAfter + time.Minute))
	look()
	if opens() == nil {
		t.Error("the old key stays")
	}
	revision := y.db.Revision()
	if look(); y.db.Revision() != revision {
		t.Error("a second look changed something")
	}
	var none resource.ID
	if y.ring.Current() == none || y.revealed(y.admin, "c") != "value of c" {
		t.Error("the secrets do not open any more")
	}
}

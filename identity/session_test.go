package identity

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/identity/ca"
)

// browser keeps a cookie, as a browser does.
type browser struct {
	y      *cloud
	cookie *http.Cookie
}

func (b *browser) ask(method, path, body string, headers ...string) answer {
	b.y.t.Helper()
	req, err := http.NewRequest(method, "https://"+b.y.address+path, strings.NewReader(body))
	if err != nil {
		b.y.t.Fatal(err)
	}
	if b.cookie != nil {
		req.AddCookie(b.cookie)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: ca.ClientTLS(nil, b.y.authority.Pool(), ""), DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		b.y.t.Fatal(err)
	}
	defer resp.Body.Close()
	for _, c := range resp.Cookies() {
		if c.Name == SessionCookie {
			b.cookie = c
		}
	}
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		b.y.t.Fatal(err)
	}
	return answer{resp.StatusCode, data}
}

// signIn begins a session by the secret of a token or a link.
func (y *cloud) signIn(secret string) *browser {
	y.t.Helper()
	b := &browser{y: y}
	y.want(200, b.ask("POST", "/v1/sign-in", `{"secret":"`+secret+`"}`, "User-Agent", "a browser"))
	if b.cookie == nil || !b.cookie.Secure || !b.cookie.HttpOnly || b.cookie.SameSite != http.SameSiteLaxMode || b.cookie.Path != "/" {
		y.t.Fatalf("the cookie is %v", b.cookie)
	}
	return b
}

// caughtUp waits until the picture of the records has all that was committed.
func (y *cloud) caughtUp() {
	y.t.Helper()
	if err := y.db.CaughtUp(y.t.Context()); err != nil {
		y.t.Fatal(err)
	}
}

func (y *cloud) who(b *browser) WhoAmI {
	y.t.Helper()
	var me WhoAmI
	if err := json.Unmarshal(y.want(200, b.ask("GET", "/v1/whoami", "")).body, &me); err != nil {
		y.t.Fatal(err)
	}
	return me
}

func TestASessionMayDoWhatItsTokenMay(t *testing.T) {
	y := newCloud(t)
	y.want(201, y.as(y.admin, "POST", "/v1/projects", `{"name":"shop","spec":{}}`))
	viewer := y.signIn(y.token(`{"name":"ann","user":"ann","role":"viewer","projectID":"shop"}`))
	if me := y.who(viewer); me.User != "ann" || me.Right != "read" || me.Project != "shop" || me.Session == "" {
		t.Errorf("the session is %+v", me)
	}
	y.want(403, viewer.ask("POST", "/v1/projects/shop/things", `{"name":"a","spec":{}}`))
	admin := y.signIn(y.admin)
	y.want(201, admin.ask("POST", "/v1/projects/shop/things", `{"name":"a","spec":{}}`))
	if text := string(admin.ask("GET", "/v1/sessions", "").body); strings.Contains(text, `"hash"`) || !strings.Contains(text, "a browser") {
		t.Errorf("the sessions are %s", text)
	}
	var seen struct{ Total int }
	if _ = json.Unmarshal(viewer.ask("GET", "/v1/sessions", "").body, &seen); seen.Total != 1 {
		t.Errorf("ann sees %d sessions; only one is hers", seen.Total)
	}
}

func TestASessionEndsBySignOutByItsTokenByTimeAndByAnAdministrator(t *testing.T) {
	y := newCloud(t)
	out := y.signIn(y.admin)
	secret := out.cookie
	y.want(204, out.ask("POST", "/v1/sign-out", ""))
	if out.cookie.MaxAge >= 0 || out.cookie.Value != "" {
		t.Errorf("the cookie stays: %v", out.cookie)
	}
	y.want(401, (&browser{y, secret}).ask("GET", "/v1/whoami", ""))

	other := y.token(`{"name":"bob","user":"bob","role":"admin"}`)
	byToken := y.signIn(other)
	y.want(204, y.as(y.admin, "DELETE", "/v1/tokens/bob", ""))
	y.want(401, byToken.ask("GET", "/v1/whoami", ""))

	ended := y.signIn(y.admin)
	y.want(204, y.as(y.admin, "DELETE", "/v1/sessions/"+string(y.who(ended).Session), ""))
	y.want(401, ended.ask("GET", "/v1/whoami", ""))

	late := y.signIn(y.admin)
	y.ahead.Add(int64(sessionFor))
	y.want(401, late.ask("GET", "/v1/whoami", ""))
	if err := forgetExpired(t.Context(), y.db, y.writers); err != nil {
		t.Fatal(err)
	}
	y.caughtUp()
	if n := len(store.Every(y.db.Snapshot(), Sessions)); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}

func TestASignInLinkIsGoodOnceAndNotForLong(t *testing.T) {
	y := newCloud(t)
	link := func() string {
		b := y.db.Begin()
		secret := SignInLink(b, y.writers, "root", y.db.Now())
		if err := y.db.Commit(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		y.caughtUp()
		return secret
	}
	first := link()
	y.want(401, y.as(first, "GET", "/v1/whoami", ""))
	b := y.signIn(first)
	if me := y.who(b); me.User != "root" || me.Right != "admin" {
		t.Errorf("the link makes %+v", me)
	}
	y.want(401, (&browser{y: y}).ask("POST", "/v1/sign-in", `{"secret":"`+first+`"}`))
	late := link()
	y.ahead.Add(int64(linkFor + time.Second))
	y.want(401, (&browser{y: y}).ask("POST", "/v1/sign-in", `{"secret":"`+late+`"}`))
	y.want(200, b.ask("GET", "/v1/whoami", ""))
	for _, wrong := range []string{"x", first + "x", y.admin[:len(y.admin)-1] + "!"} {
		y.want(401, (&browser{y: y}).ask("POST", "/v1/sign-in", `{"secret":"`+wrong+`"}`))
	}
}

// A link is no token that would let somebody in when all others are gone.
func TestTheLastAdministratorsTokenStaysThoughThereIsASignInLink(t *testing.T) {
	y := newCloud(t)
	y.token(`{"name":"link","user":"root","role":"admin","purpose":"sign-in"}`)
	y.want(409, y.as(y.admin, "DELETE", "/v1/tokens/admin", ""))
}

func TestASessionIsNoUseToAPageOfAnotherSite(t *testing.T) {
	y := newCloud(t)
	b := y.signIn(y.admin)
	for name, headers := range map[string][]string{
		"fetch":     {"Sec-Fetch-Site", "cross-site"},
		"form":      {"Origin", "https://evil.example"},
		"same site": {"Sec-Fetch-Site", "same-site"},
	} {
		if a := b.ask("POST", "/v1/projects", `{"name":"shop","spec":{}}`, headers...); a.status != 403 {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	websocket := []string{"Connection", "Upgrade", "Upgrade", "websocket", "Origin", "https://evil.example"}
	if a := b.ask("GET", "/v1/whoami", "", websocket...); a.status != 403 {
		t.Errorf("a websocket from elsewhere: %d %s", a.status, a.body)
	}
	y.want(201, b.ask("POST", "/v1/projects", `{"name":"shop","spec":{}}`, "Sec-Fetch-Site", "same-origin"))
	y.want(201, b.ask("POST", "/v1/projects", `{"name":"mine","spec":{}}`, "Origin", "https://"+y.address))
}

func TestTheSessionsOfAProjectGoWithIt(t *testing.T) {
	y := newCloud(t)
	y.want(201, y.as(y.admin, "POST", "/v1/projects", `{"name":"shop","spec":{}}`))
	ann := y.signIn(y.token(`{"name":"ann","user":"ann","role":"member","projectID":"shop","purpose":"sign-in"}`))
	y.want(200, ann.ask("GET", "/v1/whoami", ""))
	y.want(202, y.as(y.admin, "DELETE", "/v1/projects/shop", ""))
	y.want(401, ann.ask("GET", "/v1/whoami", ""))
	y.caughtUp()
	if n := len(store.Every(y.db.Snapshot(), Sessions)); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}

package httpapi

import (
	"net/http"
	"strings"
	"testing"
)

func TestAcceptIsDecidedByTheClosestRange(t *testing.T) {
	for header, want := range map[string]bool{
		"": true, "*/*": true, "application/*": true, "application/json": true, "text/html, */*;q=0.1": true,
		"application/json;q=0.5": true, "Application/JSON": true, "text/html,application/json;q=0.001": true,
		"text/html": false, "application/json;q=0": false, "*/*;q=0": false, "application/*;q=0, */*": false,
		"application/json;q=0, */*": false, "text/*": false, "application/xml": false,
	} {
		if got := accepts(header, "application/json"); got != want {
			t.Errorf("%q: %t", header, got)
		}
	}
}

func TestRequestsOfAnotherTypeAreRefused(t *testing.T) {
	y := newToy(t)
	y.boat("member", "a", "ann")
	for _, c := range []struct {
		method, header, value string
		status                int
	}{
		{"PATCH", "Content-Type", "application/merge-patch+json", 200},
		{"PATCH", "Content-Type", "Application/JSON; charset=UTF-8", 200},
		{"PATCH", "Content-Type", "application/json-patch+json", 415},
		{"PATCH", "Content-Type", "application/x-www-form-urlencoded", 415},
		{"PATCH", "Content-Type", "application/json; charset=latin1", 415},
		{"PATCH", "Content-Type", "rubbish;", 415},
		{"PUT", "Content-Type", "application/merge-patch+json", 415},
		{"PATCH", "Content-Encoding", "gzip", 415},
		{"PATCH", "Content-Encoding", "identity", 200},
		{"PATCH", "Accept", "text/html", 406},
		{"GET", "Accept", "text/html", 406},
		{"GET", "Accept", "text/html, */*;q=0.1", 200},
		{"HEAD", "Accept", "application/json", 200},
	} {
		body := `{"spec":{"sails":3}}`
		if c.method == "GET" || c.method == "HEAD" {
			body = ""
		}
		r := y.want(c.status, y.do("member", c.method, inA+"/ann", body, c.header, c.value))
		if c.status >= 400 {
			r.problem(t)
		}
		if c.status == 415 && !strings.Contains(r.Header.Get("Accept"), "application/json") {
			t.Errorf("%s: it is not said what is read: %v", c.value, r.Header)
		}
	}
	req, _ := http.NewRequest("PATCH", y.server.URL+inA+"/ann", strings.NewReader(`{"spec":{"sails":4}}`))
	req.Header.Set("Authorization", "Bearer member")
	resp, err := y.server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Errorf("a body without a type: %d", resp.StatusCode)
	}
}

func TestMethodsThatARouteLacksAre405WithAllow(t *testing.T) {
	y := newToy(t)
	const list, one = "GET, HEAD, POST, OPTIONS", "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"
	for _, c := range []struct {
		method, path, allow string
		status              int
	}{
		{"DELETE", inA, list, 405}, {"TRACE", inA, list, 405}, {"BREW", inA, list, 405}, {"OPTIONS", inA, list, 204},
		{"POST", inA + "/ann", one, 405}, {"OPTIONS", inA + "/ann", one, 204},
		{"GET", inA + "/ann/sail", "POST, OPTIONS", 405},
		{"POST", "/v1/watch", "GET, HEAD, OPTIONS", 405}, {"PUT", "/docs", "GET, HEAD, OPTIONS", 405},
		{"OPTIONS", "/v1/nothing", "", 404},
	} {
		r := y.want(c.status, y.do("root", c.method, c.path, ""))
		if r.Header.Get("Allow") != c.allow {
			t.Errorf("%s %s: Allow %q", c.method, c.path, r.Header.Get("Allow"))
		}
	}
}

func TestHeadAnswersWhatGetDoesWithoutTheBody(t *testing.T) {
	y := newToy(t)
	y.boat("member", "a", "ann")
	for _, path := range []string{inA, inA + "/ann", "/v1/status", "/v1/watch"} {
		r := y.want(200, y.do("root", "HEAD", path, ""))
		if len(r.body) > 0 || r.Header.Get("Content-Type") == "" {
			t.Errorf("%s: %q %v", path, r.body, r.Header)
		}
	}
	y.want(404, y.do("member", "HEAD", inA+"/none", ""))
	y.want(401, y.do("nobody", "HEAD", inA, ""))
}

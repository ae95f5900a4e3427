package identity

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// entries writes what waits, and asks for the audit log.
func (y *cloud) entries(query url.Values) []httpapi.Audited {
	y.t.Helper()
	for len(y.audit.refused)+len(y.audit.waiting)+y.audit.dropped > 0 {
		if err := y.audit.write(y.t.Context()); err != nil {
			y.t.Fatal(err)
		}
	}
	var all []httpapi.Audited
	for {
		var page AuditPage
		if err := json.Unmarshal(y.want(200, y.as(y.admin, "GET", "/v1/audit?"+query.Encode(), "")).body, &page); err != nil {
			y.t.Fatal(err)
		}
		all = append(all, page.Items...)
		if page.NextPage == "" {
			return all
		}
		query.Set("page", page.NextPage)
	}
}

func TestAuditEntryIsInTheCommitOfItsChange(t *testing.T) {
	y := newCloud(t)
	y.want(201, y.as(y.admin, "POST", "/v1/projects", `{"name":"a"}`))
	p := store.Named(y.db.Snapshot(), Projects, "", "a")
	found, _, err := y.db.Store().List(t.Context(), store.JournalKind)
	if err != nil || len(found) != 1 || found[0].Revision != p.Revision {
		t.Fatalf("%v %v, the project is of revision %d", found, err, p.Revision)
	}
	e := y.entries(url.Values{})[0]
	if e.User != "admin" || e.Shown != "token admin" || e.From != "127.0.0.1" || e.Action != "create-project" || e.About == nil || e.About.ID != p.ID ||
		e.Name != "a" || e.Outcome != httpapi.Done || e.Request == "" || e.At.IsZero() {
		t.Errorf("%+v", e)
	}
}

func TestAuditHasOneEntryForEachRequestThatWouldChangeSomething(t *testing.T) {
	y := newCloud(t)
	member := y.token(`{"user":"mel","role":"member","projectID":"default"}`)
	for _, c := range []struct {
		secret, method, path, body string
		action, outcome, name      string
		status                     int
	}{
		{member, "POST", "/v1/projects/default/things", `{"name":"x"}`, "create-thing", httpapi.Done, "x", 201},
		{member, "PATCH", "/v1/projects/default/things/x", `{"labels":{"a":"b"}}`, "update-thing", httpapi.Done, "x", 200},
		{member, "PATCH", "/v1/projects/default/things/x", `{"labels":{"a":"b"}}`, "update-thing", httpapi.Done, "x", 200}, // changes nothing
		{member, "PUT", "/v1/projects/default/things/x", `{}`, "replace-thing", httpapi.Done, "x", 200},
		{member, "POST", "/v1/projects/default/things", `{"name":"x"}`, "create-thing", httpapi.Refused, "", 409},
		{member, "POST", "/v1/projects/default/things", `{"nme":"x"}`, "create-thing", httpapi.Refused, "", 422},
		{member, "DELETE", "/v1/projects/default/things/y", "", "delete-thing", httpapi.Refused, "y", 404},
		{member, "DELETE", "/v1/projects/default/things/x?wait=rubbish", "", "delete-thing", httpapi.Refused, "x", 422},
		{member, "DELETE", "/v1/projects/default/things/x", "", "delete-thing", httpapi.Done, "x", 204},
		{member, "POST", "/v1/tokens", `{}`, "create-token", httpapi.Refused, "", 403},
		{"rubbish", "POST", "/v1/tokens", `{}`, "create-token", httpapi.Refused, "", 401},
		{y.admin, "DELETE", "/v1/tokens/admin", "", "delete-token", httpapi.Refused, "admin", 409},
	} {
		before := len(y.entries(url.Values{}))
		y.want(c.status, y.as(c.secret, c.method, c.path, c.body))
		y.want(200, y.as(y.admin, "GET", "/v1/tokens", "")) // reading is none
		all := y.entries(url.Values{})
		if len(all) != before+1 {
			t.Errorf("%s %s: %d entries more", c.method, c.path, len(all)-before)
			continue
		}
		e := all[0]
		if e.Action != c.action || e.Outcome != c.outcome || c.name != "" && e.Name != c.name || (e.User == "") != (c.secret == "rubbish") {
			t.Errorf("%s %s: %+v", c.method, c.path, e)
		}
		if c.status >= 400 && (e.Status != c.status || e.Why == "") {
			t.Errorf("%s %s: status %d, %q", c.method, c.path, e.Status, e.Why)
		}
	}
}

func TestAuditIsNarrowedAndTurnedByPages(t *testing.T) {
	y := newCloud(t)
	began := time.Now().Add(-time.Second)
	for n := range 7 {
		y.want(201, y.as(y.admin, "POST", "/v1/projects/default/things", fmt.Sprintf(`{"name":"x%d"}`, n)))
	}
	y.ahead.Store(int64(time.Hour))
	y.want(201, y.as(y.admin, "POST", "/v1/projects", `{"name":"late"}`))
	at := func(d time.Duration) string { return began.Add(d).UTC().Format(time.RFC3339) }
	for _, c := range []struct {
		query string
		want  int
	}{
		{"", 8}, {"limit=3", 8}, {"limit=1&action=create-thing", 7}, {"action=create-project", 1}, {"project=default", 7}, {"project=" + string(resource.NewID()), 0}, {"user=admin", 8}, {"user=eve", 0},
		{"about=x3", 1}, {"outcome=refused", 0}, {"since=" + at(30*time.Minute), 1}, {"until=" + at(30*time.Minute), 7}, {"since=" + at(30*time.Minute) + "&until=" + at(40*time.Minute), 0},
	} {
		q, _ := url.ParseQuery(c.query)
		if got := y.entries(q); len(got) != c.want {
			t.Errorf("%s: %d entries, want %d", c.query, len(got), c.want)
		}
	}
}

// A tenant who made ten thousand events washed away what was known of him.
func TestAuditIsNotFlushedByATenant(t *testing.T) {
	y := newCloud(t)
	member := y.token(`{"user":"mel","role":"member","projectID":"default"}`)
	y.want(201, y.as(member, "POST", "/v1/projects/default/things", `{"name":"deed"}`))
	y.want(403, y.as(member, "GET", "/v1/audit", ""))
	for _, method := range []string{"DELETE", "PUT", "PATCH", "POST"} {
		y.want(405, y.as(y.admin, method, "/v1/audit", ""))
	}
	y.audit.Tell(httpapi.Audited{Action: "upload", Outcome: httpapi.Done})
	for n := range 3 * mostWaiting {
		y.audit.Tell(httpapi.Audited{User: "mel", Action: "flood", Outcome: httpapi.Refused, Why: fmt.Sprint(n)})
	}
	if n := len(y.entries(url.Values{"action": {"flood"}})); n != mostWaiting {
		t.Errorf("%d entries of the flood", n)
	}
	if gap := y.entries(url.Values{"action": {"audit-dropped"}}); len(gap) != 1 || !strings.Contains(gap[0].Why, fmt.Sprint(2*mostWaiting)) {
		t.Errorf("%+v", gap)
	}
	for _, action := range []string{"create-thing", "upload"} {
		if len(y.entries(url.Values{"action": {action}})) != 1 {
			t.Errorf("%s was washed away", action)
		}
	}
}

func TestAuditIsForgottenByTimeAlone(t *testing.T) {
	y := newCloud(t)
	for n := range 100 {
		y.want(201, y.as(y.admin, "POST", "/v1/projects/default/things", fmt.Sprintf(`{"name":"x%d"}`, n)))
	}
	y.ahead.Store(int64(23 * time.Hour))
	if err := y.audit.Forget(t.Context(), y.db); err != nil || len(y.entries(url.Values{})) != 100 {
		t.Errorf("%v: %d are left", err, len(y.entries(url.Values{})))
	}
	y.want(201, y.as(y.admin, "POST", "/v1/projects/default/things", `{"name":"new"}`))
	y.ahead.Store(int64(25 * time.Hour))
	if err := y.audit.Forget(t.Context(), y.db); err != nil {
		t.Fatal(err)
	}
	if left := y.entries(url.Values{}); len(left) != 1 || left[0].Name != "new" {
		t.Errorf("%+v", left)
	}
}

func TestAuditThatCouldNotBeWrittenWaits(t *testing.T) {
	y := newCloud(t)
	y.audit.Tell(httpapi.Audited{Action: "refused", Outcome: httpapi.Refused, At: y.db.Now()})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := y.audit.write(ctx); err == nil {
		t.Fatal("it was written")
	}
	if len(y.entries(url.Values{"action": {"refused"}})) != 1 {
		t.Error("it was lost")
	}
}

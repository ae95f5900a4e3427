package identity

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// reap lets projects that are being deleted go.
func (y *cloud) reap() {
	y.t.Helper()
	loop := NewProjectLoop(y.db)
	for _, p := range store.Every(y.db.Snapshot(), Projects) {
		if _, err := loop.Step(y.t.Context(), p.ID); err != nil {
			y.t.Fatal(err)
		}
	}
}

func TestProjectRenamedKeepsAllThatItHas(t *testing.T) {
	y := newCloud(t)
	y.want(201, y.as(y.admin, "POST", "/v1/projects", `{"name":"shop"}`))
	y.want(201, y.as(y.admin, "POST", "/v1/projects", `{"name":"lab"}`))
	id := y.project("shop")
	member := y.token(`{"user":"mel","role":"member","projectID":"shop"}`)
	y.want(201, y.as(member, "POST", "/v1/projects/shop/things", `{"name":"x"}`))

	y.want(200, y.as(y.admin, "PATCH", "/v1/projects/shop", `{"name":"store"}`))
	if now := y.project("store"); now != id {
		t.Errorf("store is %s, shop was %s", now, id)
	}
	y.want(404, y.as(y.admin, "GET", "/v1/projects/shop", ""))
	y.want(403, y.as(member, "GET", "/v1/projects/shop/things/x", "")) // a name that is nobody's
	for _, called := range []string{"store", string(id)} {
		var x resource.Record[thingSpec, thingStatus]
		if err := json.Unmarshal(y.want(200, y.as(member, "GET", "/v1/projects/"+called+"/things/x", "")).body, &x); err != nil || x.Project != id || x.ProjectName != "store" {
			t.Errorf("%s: %+v %v", called, x.Meta, err)
		}
	}
	y.want(201, y.as(member, "POST", "/v1/projects/store/things", `{"name":"y"}`))
	y.want(201, y.as(y.admin, "POST", "/v1/projects", `{"name":"shop"}`)) // the name is free
	y.want(403, y.as(member, "GET", "/v1/projects/shop/things", ""))

	for body, want := range map[string]int{
		`{"name":"lab"}`: 409, `{"name":"A b"}`: 422, `{"name":"` + string(resource.NewID()) + `"}`: 422, `{"name":""}`: 200, `{"name":"store"}`: 200,
	} {
		y.want(want, y.as(y.admin, "PATCH", "/v1/projects/store", body))
	}
	y.want(409, y.as(y.admin, "PATCH", "/v1/projects/default", `{"name":"other"}`))
	before := y.db.Revision()
	y.want(200, y.as(y.admin, "PATCH", "/v1/projects/store?dryRun=true", `{"name":"shed"}`))
	if y.reap(); y.db.Revision() != before || y.project("store") != id {
		t.Error("a second look, or a dry run, changed something")
	}
}

// One that takes a dead one's name inherits nothing of it: each line asks for what the first one had, by the
// name that the second one has.
func TestProjectInheritsNothingFromADeadOneOfItsName(t *testing.T) {
	y := newCloud(t)
	y.want(201, y.as(y.admin, "POST", "/v1/projects", `{"name":"shop","spec":{"quota":{"things":7}}}`))
	dead := y.project("shop")
	member := y.token(`{"user":"mel","role":"member","projectID":"shop"}`)
	y.want(201, y.as(member, "POST", "/v1/projects/shop/things", `{"name":"x"}`))
	y.want(204, y.as(member, "DELETE", "/v1/projects/shop/things/x", ""))
	past := y.entries(url.Values{"project": {"shop"}})
	y.want(202, y.as(y.admin, "DELETE", "/v1/projects/shop", ""))
	y.reap()
	y.want(404, y.as(y.admin, "GET", "/v1/audit?project=shop", "")) // nobody's name
	y.want(201, y.as(y.admin, "POST", "/v1/projects", `{"name":"shop"}`))
	heir := y.project("shop")
	eve := y.token(`{"user":"eve","role":"member","projectID":"shop"}`)

	y.want(401, y.as(member, "GET", "/v1/projects/shop/things", "")) // rights
	if p := store.Find(y.db.Snapshot(), Projects, heir); len(p.Spec.Quota) > 0 {
		t.Errorf("the quota is %+v", p.Spec.Quota)
	}
	if heirs := y.entries(url.Values{"project": {"shop"}}); len(heirs) != 0 {
		t.Errorf("the audit log shows %+v", heirs)
	}
	if kept := y.entries(url.Values{"project": {string(dead)}}); len(past) < 2 || len(kept) != len(past) || kept[0].Project != dead || kept[0].Called != "shop" {
		t.Errorf("the audit log of the dead one has %+v, it had %+v", kept, past)
	}
	if body := string(y.want(200, y.as(eve, "GET", "/v1/usage", "")).body); strings.Contains(body, string(dead)) {
		t.Error(body)
	}
	// The dead one is found by nothing, not even by its id, and its id opens nothing.
	y.want(404, y.as(y.admin, "GET", "/v1/projects/"+string(dead)+"/things", ""))
	y.want(403, y.as(eve, "GET", "/v1/projects/"+string(dead)+"/things", ""))
	y.want(404, y.as(y.admin, "POST", "/v1/tokens", fmt.Sprintf(`{"user":"x","role":"viewer","projectID":%q}`, dead)))
}

// Who makes a token while its project is being deleted makes the deletion fail, or fails: there is never a
// token of a project that is not there.
func TestTokenIsNotMadeForAProjectThatGoesInTheSameMoment(t *testing.T) {
	y := newCloud(t)
	made := 0
	for round := range 10 {
		name := fmt.Sprintf("p%d", round)
		y.want(201, y.as(y.admin, "POST", "/v1/projects", `{"name":"`+name+`"}`))
		id := y.project(name)
		answers := make([]answer, 5)
		var together sync.WaitGroup
		for i := range answers {
			together.Go(func() {
				if i == 0 {
					answers[i] = y.local("", "DELETE", "/v1/projects/"+name, "")
					return
				}
				answers[i] = y.local("", "POST", "/v1/tokens", fmt.Sprintf(`{"name":"t%d-%d","user":"x","role":"viewer","projectID":%q}`, round, i, name))
			})
		}
		together.Wait()
		if answers[0].status == 409 && strings.Contains(answers[0].problem().Detail, "is in use by token") {
			answers[0] = y.local("", "DELETE", "/v1/projects/"+name, "")
		}
		y.want(202, answers[0])
		for _, a := range answers[1:] {
			var r TokenReply
			switch a.status {
			case 201:
				if err := json.Unmarshal(a.body, &r); err != nil {
					t.Fatal(err)
				}
				made++
				y.want(401, y.as(r.Secret, "GET", "/v1/whoami", "")) // it went with the project
			case 404, 409:
			default:
				t.Errorf("%d %s", a.status, a.body)
			}
		}
		if left := store.Referring(y.db.Snapshot(), Tokens, id); len(left) > 0 {
			t.Errorf("round %d leaves %d tokens", round, len(left))
		}
		y.reap()
	}
	t.Logf("%d tokens were made before their projects went", made)
}

func TestWordsOfARefusalDoNotTellWhetherAProjectIsThere(t *testing.T) {
	y := newCloud(t)
	y.want(201, y.as(y.admin, "POST", "/v1/projects", `{"name":"shop"}`))
	y.want(201, y.as(y.admin, "POST", "/v1/projects", `{"name":"lab"}`))
	member := y.token(`{"user":"mel","role":"member","projectID":"lab"}`)
	for _, called := range []string{"shop", "nowhere", string(y.project("shop")), string(resource.NewID())} {
		for _, path := range []string{"/v1/projects/" + called + "/things", "/v1/watch?project=" + called} {
			p := y.want(403, y.as(member, "GET", path, "")).problem()
			if !strings.Contains(p.Detail, "in project "+called+",") {
				t.Errorf("%s: %s", path, p.Detail)
			}
		}
	}
	var who WhoAmI
	if err := json.Unmarshal(y.want(200, y.as(member, "GET", "/v1/whoami", "")).body, &who); err != nil || who.Project != "lab" || who.Right != string(httpapi.Write) {
		t.Errorf("%+v %v", who, err)
	}
}

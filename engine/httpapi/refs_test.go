package httpapi

import "testing"

// A member who may not list a kind of the cloud could not use one by name: the command line had to look
// the id up, and was refused.
func TestANameInASpecIsTakenForItsIDFromWhoeverMayWriteTheSpec(t *testing.T) {
	y := newToy(t)
	var home, away Harbour
	y.want(201, y.do("root", "POST", "/v1/harbours", `{"name":"home","spec":{}}`)).into(t, &home)
	y.want(201, y.do("root", "POST", "/v1/harbours", `{"name":"away","spec":{}}`)).into(t, &away)
	y.want(403, y.do("member", "GET", "/v1/harbours/home", ""))

	var b Boat
	y.want(201, y.do("member", "POST", "/v1/projects/a/boats", `{"name":"x","spec":{"sails":1,"harbourID":"home","visitedIDs":["away","`+string(home.ID)+`"]}}`)).into(t, &b)
	if b.Spec.HarbourID != home.ID || len(b.Spec.VisitedIDs) != 2 || b.Spec.VisitedIDs[0] != away.ID || b.Spec.VisitedIDs[1] != home.ID {
		t.Fatalf("created: %+v, home is %s, away %s", b.Spec, home.ID, away.ID)
	}
	y.want(200, y.do("member", "PATCH", "/v1/projects/a/boats/x", `{"spec":{"harbourID":"away"}}`)).into(t, &b)
	if b.Spec.HarbourID != away.ID || b.Spec.VisitedIDs[0] != away.ID {
		t.Fatalf("changed: %+v", b.Spec)
	}
	revision := b.Revision
	y.want(200, y.do("member", "PATCH", "/v1/projects/a/boats/x", `{"spec":{"harbourID":"away"}}`)).into(t, &b)
	if b.Revision != revision {
		t.Error("the same harbour by its name is taken for a change")
	}
	y.want(200, y.do("member", "PATCH", "/v1/projects/a/boats/x", `{"spec":{"harbourID":"nowhere","note":"home"}}`)).into(t, &b)
	if b.Spec.HarbourID != "nowhere" || b.Spec.Note != "home" {
		t.Errorf("what is no name of a harbour, and what is no reference, stay as they are: %+v", b.Spec)
	}
}

package httpapi

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestARecordThatWasReadCanBeSentAgain(t *testing.T) {
	y := newToy(t)
	made := y.want(201, y.do("member", "POST", inA, `{"name":"ann","labels":{"a":"b"},"spec":{"sails":2,"rig":"ketch","crew":["bo"],"chart":"x"}}`))
	var first, again Boat
	made.into(t, &first)
	read := string(y.want(200, y.do("member", "GET", inA+"/ann", "")).body)
	for _, method := range []string{"PUT", "PATCH"} {
		y.want(200, y.do("member", method, inA+"/ann", read)).into(t, &again)
		if again.Revision != first.Revision {
			t.Errorf("%s of what was read changes it: %+v", method, again)
		}
	}
	// Under another name it makes another, with an id and a history of its own.
	y.want(201, y.do("member", "POST", inA, strings.Replace(read, `"ann"`, `"bea"`, 1))).into(t, &again)
	if again.ID == first.ID || again.Generation != 1 || again.Labels["a"] != "b" || fmt.Sprint(again.Spec) != fmt.Sprint(first.Spec) {
		t.Errorf("made of what was read: %+v, want as %+v", again, first)
	}
}

func TestARecordOfAnotherPlaceIsNotTakenForTheOneThatIsMeant(t *testing.T) {
	y := newToy(t)
	y.want(201, y.do("member", "POST", inA, `{"name":"ann","spec":{}}`))
	for request, field := range map[string]string{
		`{"kind":"harbour","spec":{}}`: "kind", `{"project":"b","spec":{}}`: "project", `{"id":"0199","spec":{}}`: "id", `{"kind":7}`: "kind",
	} {
		p := y.want(422, y.do("member", "PATCH", inA+"/ann", request)).problem(t)
		if got, _ := json.Marshal(p); !strings.Contains(string(got), `"field":"`+field+`"`) {
			t.Errorf("%s: %s", request, got)
		}
	}
	y.want(422, y.do("member", "POST", inA, `{"name":"bea","kind":"harbour","spec":{}}`))
	y.want(201, y.do("member", "POST", inA, `{"name":"bea","kind":"boat","project":"a","id":"0199","spec":{}}`)) // its id is another's
	y.want(422, y.do("member", "POST", inA, `{"name":"cay","stats":{},"spec":{}}`))
}

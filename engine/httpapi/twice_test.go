package httpapi

import (
	"strings"
	"testing"
)

// Of what is said twice one would be lost without a word.
func TestWhatIsSaidTwiceIsRefused(t *testing.T) {
	y := newToy(t)
	y.boat("member", "a", "ann")
	for _, c := range []struct{ method, path, body, field string }{
		{"POST", inA, `{"name":"bob","name":"cid","spec":{"sails":1}}`, "name"},
		{"POST", inA, `{"name":"bob","spec":{"sails":1,"sails":1}}`, "spec.sails"},
		{"POST", inA, `{"kind":"boat","name":"bob","spec":{"sails":1},"spec":{}}`, "spec"},
		{"POST", inA, `{"name":"bob","labels":{"a":"1","a":"2"},"spec":{"sails":1}}`, "labels.a"},
		{"PATCH", inA + "/ann", `{"spec":{"sails":2},"spec":{"sails":3}}`, "spec"},
		{"PUT", inA + "/ann", `{"spec":{"sails":2,"s\u0061ils":3}}`, "spec.sails"},
		{"GET", inA + "?limit=1&limit=2", "", "query.limit"},
		{"GET", inA + "?wind=west", "", "query.wind"},
		{"GET", "/v1/watch?kinds=boat&kinds=crew", "", "query.kinds"},
		{"GET", "/v1/watch?kind=boat", "", "query.kind"},
		{"DELETE", inA + "/ann?force=false&force=true", "", "query.force"},
	} {
		p := y.want(422, y.do("member", c.method, c.path, c.body)).problem(t)
		if len(p.Errors) != 1 || p.Errors[0].Field != c.field {
			t.Errorf("%s %s %s: %+v", c.method, c.path, c.body, p)
		}
	}
	y.want(404, y.do("member", "GET", inA+"/bob", ""))
	y.want(200, y.do("member", "GET", inA+"?label=a&label=b%3D1", ""))
}

func TestAFieldMayBeSaidInEachOfSeveralObjects(t *testing.T) {
	for _, text := range []string{`{"a":{"x":1},"b":{"x":1},"x":[{"x":1},{"x":2},"x","x"]}`, `[]`, `null`, `"a"`, `{`, `{"a"`, `{"a":1,`, ``, `{"a":1} {"a":1}`,
		strings.Repeat("[", deepest) + strings.Repeat("]", deepest)} {
		if err := twice([]byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range []string{`{"x":[{"y":1},{"y":{"z":1,"z":1}}]}`, `{"":1,"":2}`, strings.Repeat("[", 1<<20), strings.Repeat(`{"a":`, 1000)} {
		if err := twice([]byte(text)); err == nil {
			t.Errorf("%.40s is taken", text)
		}
	}
	if err := twice([]byte(`{"x":[{"y":1},{"y":{"z":1,"z":1}}]}`)); !strings.Contains(err.Error(), "x[1].y.z: it is said twice") {
		t.Error(err)
	}
}

func TestASelectorThatNoLabelCanMatchIsRefused(t *testing.T) {
	y := newToy(t)
	for selector, status := range map[string]int{"a": 200, "a=": 200, "a.b/c!=d": 200, "!a": 422, "=a": 422, "a b": 422, "a+in+(b,c)": 422} {
		y.want(status, y.do("member", "GET", inA+"?label="+strings.NewReplacer("=", "%3D", " ", "+").Replace(selector), ""))
	}
}

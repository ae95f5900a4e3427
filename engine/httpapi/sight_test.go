package httpapi

import (
	"strings"
	"testing"

	"github.com/virga-cloud/virga/engine/resource"
)

func TestEveryAnswerHidesWhatTheCallerMayNotSee(t *testing.T) {
	y := newToy(t)
	y.want(201, y.do("root", "POST", "/v1/projects/a/boats", `{"name":"swan","spec":{"sails":1,"note":"note-word","chart":"chart-word","keel":7777,"masts":[{"heightMM":8888}]}}`))
	const one = "/v1/projects/a/boats/swan"
	hidden := map[string][]string{"viewer": {"chart-word", "7777", "8888"}, "member": {"7777", "8888"}, "root": nil}
	answers := map[string][]string{
		"viewer": {"GET " + one, "GET /v1/projects/a/boats"},
		"member": {"GET " + one, "GET /v1/projects/a/boats", "PATCH " + one, "POST " + one + "/sail"},
		"root":   {"GET " + one, "GET /v1/projects/a/boats"},
	}
	for who, calls := range answers {
		for _, call := range calls {
			method, path, _ := strings.Cut(call, " ")
			body := ""
			if method != "GET" {
				body = "{}"
			}
			hides(t, who+" "+call, string(y.want(200, y.do(who, method, path, body)).body), hidden[who])
		}
		y.listen(who, "kinds=boat", func(h heard) bool {
			if h.event == "change" {
				hides(t, who+" watch", string(encoded(h.data.Object)), hidden[who])
			}
			return h.event == "synced"
		})
	}
	hides(t, "member DELETE", string(y.do("member", "DELETE", one, "").body), hidden["member"])
}

func hides(t *testing.T, what, text string, hidden []string) {
	t.Helper()
	if strings.Contains(text, `"spec"`) && len(hidden) == 0 && !strings.Contains(text, "7777") {
		t.Errorf("%s: the operator does not see all: %s", what, text)
	}
	for _, word := range hidden {
		if strings.Contains(text, word) {
			t.Errorf("%s shows %s: %s", what, word, text)
		}
	}
}

func TestReplacingARecordKeepsWhatTheCallerCannotSee(t *testing.T) {
	y := newToy(t)
	y.want(201, y.do("root", "POST", "/v1/projects/a/boats", `{"name":"swan","spec":{"sails":1,"chart":"east","keel":7777}}`))
	y.want(200, y.do("member", "PUT", "/v1/projects/a/boats/swan", `{"spec":{"sails":2}}`))
	var b Boat
	y.want(200, y.do("root", "GET", "/v1/projects/a/boats/swan", "")).into(t, &b)
	if b.Spec.Keel != 7777 || b.Spec.Chart != "" || b.Spec.Sails != 2 {
		t.Errorf("a member replaced it: %+v; the keel is out of their sight and stays, the chart is not and goes", b.Spec)
	}
}

func TestProblemsAreToldWithoutTheOperatorsWords(t *testing.T) {
	b := &Boat{}
	b.Status.Problems = []resource.Problem{{Kind: "exhausted", Message: "full: pier-7", Outside: "full"}}
	if seen := boats.Seen(b, resource.Writer, "").Status.Problems[0]; seen.Message != "full" || seen.Outside != "" {
		t.Errorf("a writer reads %+v", seen)
	}
	if b.Status.Problems[0].Message != "full: pier-7" || boats.Seen(b, resource.Operator, "") != b {
		t.Errorf("the record itself was changed: %+v", b.Status.Problems)
	}
}

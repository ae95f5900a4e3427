package httpapi

import (
	"context"
	"testing"

	"github.com/virga-cloud/virga/engine/fault"
)

func TestADryRunJudgesAndChangesNothing(t *testing.T) {
	y := newToy(t, func(_ *Options, r *Routes[BoatSpec, BoatStatus]) {
		r.Deleting = func(_ context.Context, c *Call, b *Boat) error {
			if b.Spec.Note == "precious" && !c.Force {
				return fault.New(fault.Precondition, "delete boat %s: it is precious; add force", b.Name)
			}
			return nil
		}
	})
	const boats = "/v1/projects/a/boats"
	var b Boat
	y.want(200, y.do("member", "POST", boats+"?dryRun=true", `{"name":"x","spec":{"sails":2}}`, "Idempotency-Key", "k")).into(t, &b)
	if b.Name != "x" || b.Spec.Rig != "sloop" {
		t.Errorf("what would be, with its defaults: %+v", b)
	}
	y.want(404, y.do("member", "GET", boats+"/x", ""))
	y.want(422, y.do("member", "POST", boats+"?dryRun=true", `{"name":"x","spec":{"sails":99}}`))
	y.want(403, y.do("viewer", "POST", boats+"?dryRun=true", `{"name":"x","spec":{"sails":2}}`))
	y.want(201, y.do("member", "POST", boats, `{"name":"x","spec":{"sails":2}}`, "Idempotency-Key", "k")).into(t, &b)
	y.want(409, y.do("member", "POST", boats+"?dryRun=true", `{"name":"x","spec":{"sails":2}}`))

	first := b
	y.want(200, y.do("member", "PATCH", boats+"/x?dryRun=true", `{"labels":{"a":"b"},"spec":{"note":"precious"}}`)).into(t, &b)
	if b.Spec.Note != "precious" || b.Labels["a"] != "b" || b.Spec.Sails != 2 {
		t.Errorf("what would be: %+v", b)
	}
	y.want(422, y.do("member", "PATCH", boats+"/x?dryRun=true", `{"spec":{"sails":99}}`))
	y.want(412, y.do("member", "PATCH", boats+"/x?dryRun=true", `{"spec":{"sails":3}}`, "If-Match", `"7"`))
	y.want(200, y.do("member", "DELETE", boats+"/x?dryRun=true", ""))
	b = Boat{}
	y.want(200, y.do("member", "GET", boats+"/x", "")).into(t, &b)
	if b.Revision != first.Revision || b.Deleting != nil || b.Spec.Note != "" {
		t.Fatalf("it was changed: %+v", b)
	}
	y.want(404, y.do("member", "DELETE", boats+"/y?dryRun=true", ""))

	y.want(200, y.do("member", "PATCH", boats+"/x", `{"spec":{"note":"precious"}}`))
	y.want(409, y.do("member", "DELETE", boats+"/x?dryRun=true", ""))
	y.want(409, y.do("member", "DELETE", boats+"/x", ""))
	y.want(200, y.do("member", "DELETE", boats+"/x?dryRun=true&force=true", ""))
	if got := y.do("member", "DELETE", boats+"/x?force=true", ""); got.StatusCode != 204 && got.StatusCode != 202 {
		t.Errorf("forced: %d, %s", got.StatusCode, got.body)
	}
}

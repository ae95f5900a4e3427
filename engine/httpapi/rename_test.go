package httpapi

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/virga-cloud/virga/engine/store"
)

func TestARecordGetsAnotherNameAndTheOldOneIsFree(t *testing.T) {
	y := newToy(t)
	var ann, bea Boat
	y.want(201, y.do("member", "POST", inA, `{"name":"ann","labels":{"a":"b"},"spec":{"sails":2}}`)).into(t, &ann)
	y.want(201, y.do("member", "POST", inA, `{"name":"bea","spec":{}}`)).into(t, &bea)
	y.want(409, y.do("member", "PATCH", inA+"/ann", `{"name":"bea"}`))
	y.want(422, y.do("member", "PATCH", inA+"/ann", `{"name":"An N"}`))
	var would, renamed, again Boat
	y.want(200, y.do("member", "PATCH", inA+"/ann?dryRun=true", `{"name":"cay"}`)).into(t, &would)
	y.want(404, y.do("member", "GET", inA+"/cay", ""))
	y.want(200, y.do("member", "PATCH", inA+"/ann", `{"name":"cay"}`)).into(t, &renamed)
	if would.Name != "cay" || renamed.Name != "cay" || renamed.ID != ann.ID || renamed.Spec.Sails != 2 || renamed.Labels["a"] != "b" || renamed.Generation != ann.Generation {
		t.Errorf("judged %+v, renamed %+v", would, renamed)
	}
	y.want(404, y.do("member", "GET", inA+"/ann", ""))
	y.want(200, y.do("member", "GET", inA+"/cay", ""))
	y.want(200, y.do("member", "GET", inA+"/"+string(ann.ID), ""))
	y.want(201, y.do("member", "POST", inA, `{"name":"ann","spec":{}}`)).into(t, &again)
	y.want(409, y.do("member", "POST", inA, `{"name":"cay","spec":{}}`))
	// A PUT without a name keeps it, and the same name is no change.
	revision := renamed.Revision
	y.want(200, y.do("member", "PATCH", inA+"/cay", `{"name":"cay"}`)).into(t, &renamed)
	if renamed.Revision != revision || again.ID == ann.ID {
		t.Errorf("%+v %+v", renamed, again)
	}
	y.want(200, y.do("member", "PUT", inA+"/cay", `{"spec":{"sails":3}}`)).into(t, &renamed)
	if renamed.Name != "cay" || renamed.Spec.Sails != 3 {
		t.Errorf("%+v", renamed)
	}
	// Deleted under its new name, it leaves neither taken.
	y.want(204, y.do("member", "DELETE", inA+"/cay?wait=gone", ""))
	y.want(201, y.do("member", "POST", inA, `{"name":"cay","spec":{}}`))
}

func TestOfManyWhoWantOneNameAtOnceOneGetsIt(t *testing.T) {
	y := newToy(t)
	const asking = 8
	for n := range asking {
		y.want(201, y.do("member", "POST", inA, fmt.Sprintf(`{"name":"b%d","spec":{}}`, n)))
	}
	var all sync.WaitGroup
	var got atomic.Int64
	for n := range asking {
		all.Go(func() {
			switch r := y.do("member", "PATCH", fmt.Sprintf("%s/b%d", inA, n), `{"name":"one"}`); r.StatusCode {
			case 200:
				got.Add(1)
			case 409:
			default:
				t.Errorf("%d %s", r.StatusCode, r.body)
			}
		})
	}
	all.Wait()
	if got.Load() != 1 || store.Named(y.DB.Snapshot(), boats, "a", "one") == nil {
		t.Errorf("%d got the name", got.Load())
	}
}

func TestAKindMayKeepItsNames(t *testing.T) {
	y := newToy(t, func(_ *Options, r *Routes[BoatSpec, BoatStatus]) {
		r.Renaming = Named[BoatSpec, BoatStatus]("it is the flagship", "flag")
	})
	y.want(201, y.do("member", "POST", inA, `{"name":"flag","spec":{}}`))
	y.want(201, y.do("member", "POST", inA, `{"name":"ann","spec":{}}`))
	if p := y.want(409, y.do("member", "PATCH", inA+"/flag", `{"name":"x"}`)).problem(t); !strings.Contains(p.Detail, "rename boat flag: it is the flagship") {
		t.Error(p.Detail)
	}
	y.want(200, y.do("member", "PATCH", inA+"/ann", `{"name":"x"}`))
	if n := len(store.Every(y.DB.Snapshot(), boats)); n != 2 {
		t.Errorf("%d boats", n)
	}
}

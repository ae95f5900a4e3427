package httpapi

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

const inA = "/v1/projects/a/boats"

func TestARecordLivesItsLifeOverTheAPI(t *testing.T) {
	y := newToy(t)
	r := y.want(201, y.do("member", "POST", inA, `{"name":"ann","labels":{"x":"1"},"spec":{"sails":2}}`))
	if got := r.Header.Get("Location"); got != inA+"/ann" {
		t.Errorf("location %q", got)
	}
	var b Boat
	r.into(t, &b)
	if b.Spec.Rig != "sloop" || b.Project != "a" || b.Kind != "boat" || b.Revision == 0 || r.Header.Get("ETag") != etag(b.Revision) {
		t.Fatalf("%s", r.body)
	}
	y.want(200, y.do("viewer", "GET", inA+"/"+string(b.ID), ""))
	y.want(200, y.do("member", "PATCH", inA+"/ann", `{"labels":{"x":null,"y":"2"},"spec":{"note":"hi"}}`))
	b = Boat{}
	y.want(200, y.do("viewer", "GET", inA+"/ann", "")).into(t, &b)
	if b.Spec.Note != "hi" || b.Spec.Sails != 2 || b.Labels["y"] != "2" || len(b.Labels) != 1 || b.Generation != 2 {
		t.Fatalf("%+v", b)
	}
	y.want(200, y.do("member", "PUT", inA+"/ann", `{"spec":{"sails":3}}`)).into(t, &b)
	var put Boat
	y.want(200, y.do("member", "GET", inA+"/ann", "")).into(t, &put)
	if put.Spec.Note != "" || put.Spec.Sails != 3 || len(put.Labels) != 0 {
		t.Fatalf("%+v", put)
	}
	y.want(200, y.do("member", "POST", inA+"/ann/sail", `{"to":"cork"}`)).into(t, &b)
	if b.Spec.Note != "to cork" {
		t.Fatalf("%+v", b)
	}
	y.want(204, y.do("member", "DELETE", inA+"/ann", ""))
	p := y.want(404, y.do("member", "GET", inA+"/ann", "")).problem(t)
	if p.Detail != `no boat "ann" in project a` {
		t.Error(p.Detail)
	}
}

func TestARequestIsReadStrictly(t *testing.T) {
	y := newToy(t)
	for _, c := range []struct{ body, field, message string }{
		{`{"name":"x","spec":{"sail":2}}`, "spec.sail", "did you mean sails?"},
		{`{"name":"x","spec":{"Sails":2}}`, "spec.Sails", "did you mean sails?"},
		{`{"name":"x","spec":{"masts":[{"heightCM":2}]}}`, "spec.masts[0].heightCM", "did you mean heightMM?"},
		{`{"name":"x","spce":{}}`, "spce", "did you mean spec?"},
		{`{"name":"x","spec":{"sails":"2 GiB"}}`, "spec.sails", `expected integer, got "2 GiB"`},
		{`{"name":"x","spec":{"sails":1.5}}`, "spec.sails", "expected integer"},
		{`{"name":"x","spec":{"sails":-1}}`, "spec.sails", "expected number >= 0, got -1"},
		{`{"name":"x","spec":{"rig":"slop"}}`, "spec.rig", "sloop, ketch"},
		{`{"name":"x","spec":{"sails":10}}`, "spec.sails", "at most 9"},
		{`{"name":"Not good"}`, "name", "lower case"},
		{`{"name":"` + strings.Repeat("x", 64) + `"}`, "name", "64 characters"},
		{`{"name":"x","labels":{"a b":"c"}}`, "labels.a b", "key"},
		{`{"spec":{}}`, "name", "a name is needed"},
	} {
		p := y.want(422, y.do("member", "POST", inA, c.body)).problem(t)
		if p.Kind != fault.Invalid || len(p.Errors) != 1 || p.Errors[0].Field != c.field || !strings.Contains(p.Errors[0].Message, c.message) {
			t.Errorf("%s: %+v", c.body, p)
		}
	}
	for _, body := range []string{`{`, `[]`, `"x"`, ``} {
		y.want(422, y.do("member", "POST", inA, body)).problem(t)
	}
	y.boat("member", "a", "there")
	p := y.want(422, y.do("member", "PATCH", inA+"/there", `{"spec":{"nte":"x","crew":5}}`)).problem(t)
	if len(p.Errors) != 2 {
		t.Errorf("%+v", p)
	}
	y.want(422, y.do("member", "GET", inA+"?lable=x", "")).problem(t)
	y.want(422, y.do("member", "GET", inA+"?limit=x", "")).problem(t)
	y.want(413, y.do("member", "POST", inA, `{"name":"`+strings.Repeat("x", 2<<20)+`"}`)).problem(t)
	y.want(409, y.do("member", "POST", inA, `{"name":"there"}`)).problem(t)
	y.want(404, y.do("root", "POST", "/v1/projects/none/boats", `{"name":"x"}`)).problem(t)
	y.want(404, y.do("root", "GET", "/v1/projects/none/boats", "")).problem(t)
	y.want(404, y.do("root", "GET", "/v1/nothing", "")).problem(t)
}

func TestEverybodyMayDoWhatTheirRightSays(t *testing.T) {
	y := newToy(t)
	y.boat("root", "b", "beth")
	y.boat("member", "a", "ann")
	for _, c := range []struct {
		who, method, path string
		status            int
	}{
		{"nobody", "GET", inA, 401},
		{"nobody", "GET", "/v1/status", 200},
		{"viewer", "GET", inA, 200},
		{"viewer", "POST", inA, 403},
		{"viewer", "DELETE", inA + "/ann", 403},
		{"viewer", "PATCH", inA + "/ann", 403},
		{"viewer", "POST", inA + "/ann/sail", 403},
		{"member", "GET", "/v1/projects/b/boats", 403},
		{"member", "GET", "/v1/projects/b/boats/beth", 403},
		{"member", "DELETE", "/v1/projects/b/boats/beth", 403},
		{"member", "GET", "/v1/boats", 403},
		{"member", "GET", "/v1/harbours", 403},
		{"member", "GET", "/v1/watch?kinds=harbour", 403},
		{"member", "GET", "/v1/watch?project=b", 403},
		{"host", "GET", inA, 403},
		{"host", "GET", "/v1/watch", 403},
		{"root", "GET", "/v1/boats", 200},
	} {
		r := y.want(c.status, y.do(c.who, c.method, c.path, ""))
		if c.status >= 400 {
			r.problem(t)
		}
		if c.status == 401 && r.Header.Get("WWW-Authenticate") == "" {
			t.Error("401 without WWW-Authenticate")
		}
	}
	// The id of another project's record opens nothing either.
	var b Boat
	y.want(200, y.do("root", "GET", "/v1/projects/b/boats/beth", "")).into(t, &b)
	y.want(404, y.do("member", "GET", inA+"/"+string(b.ID), ""))
}

func TestAnIfMatchThatDoesNotHoldIsStale(t *testing.T) {
	y := newToy(t)
	old := y.boat("member", "a", "ann")
	y.want(200, y.do("member", "PATCH", inA+"/ann", `{"spec":{"sails":5}}`, "If-Match", etag(old.Revision)))
	for _, r := range []reply{
		y.do("member", "PATCH", inA+"/ann", `{"spec":{"sails":6}}`, "If-Match", etag(old.Revision)),
		y.do("member", "PUT", inA+"/ann", `{"spec":{"sails":6}}`, "If-Match", etag(old.Revision)),
		y.do("member", "DELETE", inA+"/ann", "", "If-Match", etag(old.Revision)),
		y.do("member", "POST", inA+"/ann/sail", "", "If-Match", etag(old.Revision)),
	} {
		if p := y.want(412, r).problem(t); p.Kind != fault.Stale {
			t.Errorf("%+v", p)
		}
	}
}

func TestChangesThatRaceAllHappen(t *testing.T) {
	y := newToy(t)
	y.boat("member", "a", "ann")
	var all sync.WaitGroup
	for n := range 4 {
		all.Go(func() { y.do("member", "PATCH", inA+"/ann", fmt.Sprintf(`{"labels":{"n%d":"x"}}`, n)) })
	}
	all.Wait()
	var b Boat
	y.want(200, y.do("member", "GET", inA+"/ann", "")).into(t, &b)
	if len(b.Labels) != 4 {
		t.Fatalf("%v", b.Labels)
	}
}

func TestAnIdempotentCreateRacedByTwentyMakesOneRecord(t *testing.T) {
	y := newToy(t)
	ids := make([]resource.ID, 20)
	var all sync.WaitGroup
	for n := range ids {
		all.Go(func() {
			var b Boat
			r := y.do("member", "POST", inA, `{"name":"ann","spec":{"sails":2}}`, "Idempotency-Key", "k1")
			if r.StatusCode != 201 {
				t.Errorf("%d %s", r.StatusCode, r.body)
				return
			}
			r.into(t, &b)
			ids[n] = b.ID
		})
	}
	all.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Fatal(ids)
		}
	}
	if p := y.want(409, y.do("member", "POST", inA, `{"name":"bob"}`, "Idempotency-Key", "k1")).problem(t); p.Kind != fault.Conflict {
		t.Errorf("%+v", p)
	}
	// A day later the key is worth nothing, and the sweep forgets it.
	later := time.Now().Add(25 * time.Hour)
	y.DB.Now = func() time.Time { return later }
	y.want(201, y.do("member", "POST", inA, `{"name":"bob"}`, "Idempotency-Key", "k1"))
	later = later.Add(25 * time.Hour)
	if err := y.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	entries, _, _ := y.DB.Store().List(t.Context(), store.NameKind)
	for _, e := range entries {
		if strings.HasPrefix(string(e.Key.ID), oncePrefix) {
			t.Error("not forgotten", e.Key)
		}
	}
}

func TestPagingSeesEveryRecordOnceWhileMoreAreMade(t *testing.T) {
	y := newToy(t)
	const before = 1000
	w := store.Specs(store.NewRegistry(), boats, "test")
	for n := 0; n < before; n += 100 {
		b := y.DB.Begin()
		for i := range 100 {
			r := &Boat{}
			r.Name, r.Project = fmt.Sprintf("b%d", n+i), "a"
			w.Create(b, r)
		}
		if err := y.DB.Commit(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	stop := make(chan struct{})
	var making sync.WaitGroup
	making.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
				y.do("member", "POST", inA, fmt.Sprintf(`{"name":"new%d"}`, n))
			}
		}
	})
	seen := map[string]int{}
	for page := ""; ; {
		var p Page[BoatSpec, BoatStatus]
		y.want(200, y.do("viewer", "GET", inA+"?limit=37&page="+page, "")).into(t, &p)
		for _, b := range p.Items {
			seen[b.Name]++
		}
		if page = p.NextPage; page == "" || len(seen) > 3*before {
			break
		}
	}
	close(stop)
	making.Wait()
	for n := range before {
		if seen[fmt.Sprintf("b%d", n)] != 1 {
			t.Fatalf("b%d was seen %d times", n, seen[fmt.Sprintf("b%d", n)])
		}
	}
	for name, times := range seen {
		if times != 1 {
			t.Errorf("%s was seen %d times", name, times)
		}
	}
}

func TestALabelSelectorNarrowsAList(t *testing.T) {
	y := newToy(t)
	y.want(201, y.do("member", "POST", inA, `{"name":"x","labels":{"k":"v","only":"1"}}`))
	y.want(201, y.do("member", "POST", inA, `{"name":"y","labels":{"k":"w"}}`))
	y.want(201, y.do("member", "POST", inA, `{"name":"z"}`))
	for query, want := range map[string]string{"label=k=v": "x", "label=k": "xy", "label=k!=v": "yz", "label=k=v&label=only=1": "x", "label=k&label=k!=v": "y", "name=z": "z", "": "xyz"} {
		var p Page[BoatSpec, BoatStatus]
		y.want(200, y.do("viewer", "GET", inA+"?"+query, "")).into(t, &p)
		got := ""
		for _, b := range p.Items {
			got += b.Name
		}
		if got != want || p.Total != len(want) || p.Revision == 0 {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
}

func TestAGetWaitsUntilTheRecordIsReady(t *testing.T) {
	y := newToy(t)
	b := y.boat("member", "a", "ann")
	if p := y.want(503, y.do("viewer", "GET", inA+"/ann?wait=ready&timeout=50ms", "")).problem(t); !strings.Contains(p.Detail, "not ready after 50ms") {
		t.Error(p.Detail)
	}
	var doing sync.WaitGroup
	defer doing.Wait()
	doing.Go(func() {
		time.Sleep(50 * time.Millisecond)
		batch := y.DB.Begin()
		y.statuses.Set(batch, b, func(s *BoatStatus) { s.SeenGeneration = 1 })
		if err := y.DB.Commit(t.Context(), batch); err != nil {
			t.Error(err)
		}
	})
	var now Boat
	y.want(200, y.do("viewer", "GET", inA+"/ann?wait=ready&timeout=10s", "")).into(t, &now)
	if now.Status.SeenGeneration != 1 {
		t.Fatalf("%+v", now)
	}
}

func TestADeletedRecordGoesWhenItsHolderLetsGo(t *testing.T) {
	y := newToy(t, func(_ *Options, r *Routes[BoatSpec, BoatStatus]) { r.Holders = []string{"agent"} })
	b := y.boat("member", "a", "ann")
	y.want(202, y.do("member", "DELETE", inA+"/ann", "")).into(t, &b)
	if b.Deleting == nil {
		t.Fatal("not marked")
	}
	y.want(202, y.do("member", "DELETE", inA+"/ann", ""))
	if p := y.want(503, y.do("member", "DELETE", inA+"/ann?wait=gone&timeout=20ms", "")).problem(t); !strings.Contains(p.Detail, "held by agent") {
		t.Error(p.Detail)
	}
	y.want(409, y.do("member", "PATCH", inA+"/ann", `{"spec":{"sails":1}}`)).problem(t)
	var doing sync.WaitGroup
	defer doing.Wait()
	doing.Go(func() {
		time.Sleep(50 * time.Millisecond)
		batch := y.DB.Begin()
		store.Release(batch, store.Find(y.DB.Snapshot(), boats, b.ID), "agent")
		if err := y.DB.Commit(t.Context(), batch); err != nil {
			t.Error(err)
		}
	})
	y.want(204, y.do("member", "DELETE", inA+"/ann?wait=gone&timeout=10s", ""))
}

func TestWhatNobodyShallReadIsNotAnswered(t *testing.T) {
	y := newToy(t)
	for _, r := range []reply{
		y.want(201, y.do("root", "POST", "/v1/harbours", `{"name":"h","spec":{"secret":"hush"}}`)),
		y.want(200, y.do("root", "GET", "/v1/harbours/h", "")),
		y.want(200, y.do("root", "GET", "/v1/harbours", "")),
		y.want(200, y.do("root", "PATCH", "/v1/harbours/h", `{"labels":{"a":"b"}}`)),
	} {
		if strings.Contains(string(r.body), "hush") {
			t.Errorf("%s", r.body)
		}
	}
}

// A script whose variable is not set sends an empty name; the domain must not be asked to make a
// record that would be called by its id.
func TestCreationWithoutNameIsRefusedBeforeTheDomainIsAsked(t *testing.T) {
	y := newToy(t, func(_ *Options, r *Routes[BoatSpec, BoatStatus]) {
		r.Creating = func(context.Context, *Call, *Boat) error {
			t.Error("the domain was asked")
			return fault.New(fault.Internal, "asked")
		}
	})
	for _, name := range []string{"", " ", "-x", "a b"} {
		p := y.want(422, y.do("member", "POST", inA, fmt.Sprintf(`{"name":%q,"spec":{}}`, name))).problem(t)
		if !strings.Contains(p.Detail, "name") {
			t.Errorf("%q: %s", name, p.Detail)
		}
	}
}

func TestCreationWaitsUntilReadyWhenAsked(t *testing.T) {
	y := newToy(t)
	p := y.want(503, y.do("member", "POST", inA+"?wait=ready&timeout=10ms", `{"name":"slow","spec":{}}`)).problem(t)
	if !strings.Contains(p.Detail, "boat slow is not ready after 10ms") {
		t.Error(p.Detail)
	}
	y.want(200, y.do("member", "GET", inA+"/slow", "")) // it is made all the same
	y.want(422, y.do("member", "POST", inA+"?wait=ready&timeout=1y", `{"name":"never","spec":{}}`))
	y.want(404, y.do("member", "GET", inA+"/never", ""))
	seen := make(chan reply, 1)
	go func() { seen <- y.do("member", "POST", inA+"?wait=ready&timeout=1m", `{"name":"fast","spec":{}}`) }()
	for {
		if b := store.Named(y.DB.Snapshot(), boats, "a", "fast"); b != nil {
			batch := y.DB.Begin()
			y.statuses.Set(batch, b, func(s *BoatStatus) { s.SeenGeneration = 1 })
			if err := y.DB.Commit(t.Context(), batch); err != nil {
				t.Fatal(err)
			}
			break
		}
		time.Sleep(time.Millisecond)
	}
	y.want(201, <-seen)
}

package httpapi

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
)

func TestConditionalReadOfAnUnchangedRecordIs304AtOnce(t *testing.T) {
	y := newToy(t)
	b := y.boat("member", "a", "ann")
	tag := etag(b.Revision)
	for header, status := range map[string]int{
		tag: 304, "W/" + tag: 304, "*": 304, `"99999", ` + tag: 304, `"99999",,W/` + tag + " ,": 304, `"a,b", ` + tag: 304,
		`"99999"`: 200, `"99999", W/"99998"`: 200, "": 200,
		"1": 422, `"1`: 422, `"99999" "2"`: 422, `w/"1"`: 422, `*, "1"`: 422, ",": 422,
	} {
		headers := []string{"If-None-Match", header}
		if header == "" {
			headers = nil
		}
		for _, method := range []string{"GET", "HEAD"} {
			r := y.want(status, y.do("member", method, inA+"/ann", "", headers...))
			if status == 304 && (len(r.body) > 0 || r.Header.Get("ETag") != tag) {
				t.Errorf("%s %s: %q, ETag %s", method, header, r.body, r.Header.Get("ETag"))
			}
			if method == "GET" && status == 200 && len(r.body) == 0 {
				t.Errorf("%s: nothing was answered", header)
			}
		}
	}
}

func TestConditionsMayBeSpreadOverSeveralLines(t *testing.T) {
	y := newToy(t)
	b := y.boat("member", "a", "ann")
	req, _ := http.NewRequest("GET", y.server.URL+inA+"/ann", nil)
	req.Header = http.Header{"Authorization": {"Bearer member"}, "If-None-Match": {`"99999"`, etag(b.Revision)}}
	resp, err := y.server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, _ := io.ReadAll(resp.Body); resp.StatusCode != 304 {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
}

func TestConditionalReadWaitsForAChangeOnlyWhenAsked(t *testing.T) {
	y := newToy(t)
	b := y.boat("member", "a", "ann")
	tag := etag(b.Revision)
	y.want(304, y.do("member", "GET", inA+"/ann?wait=change&timeout=20ms", "", "If-None-Match", tag))
	y.want(422, y.do("member", "GET", inA+"/ann?wait=change", "")).problem(t)
	var asking sync.WaitGroup
	asking.Go(func() {
		if r := y.do("member", "GET", inA+"/ann?wait=change&timeout=1m", "", "If-None-Match", tag); r.StatusCode != 200 || r.Header.Get("ETag") == tag {
			t.Errorf("%d %s", r.StatusCode, r.body)
		}
	})
	y.want(200, y.do("member", "PATCH", inA+"/ann", `{"labels":{"a":"b"}}`))
	asking.Wait()
	y.want(503, y.do("member", "GET", inA+"/ann?wait=ready&timeout=20ms", "", "If-None-Match", tag))
}

func TestConditionsHoldEveryWrite(t *testing.T) {
	y := newToy(t)
	for _, c := range []struct {
		match, none string
		stale       bool
	}{
		{"*", "", false}, {"NOW", "", false}, {`"99999", NOW`, "", false}, {"", `"99999"`, false}, {"NOW", `"99999"`, false},
		{`"99999"`, "", true}, {"W/NOW", "", true}, {"", "*", true}, {"", "NOW", true}, {"", "W/NOW", true}, {"NOW", "NOW", true},
	} {
		for _, w := range []struct{ method, path, body string }{
			{"PATCH", "", `{"labels":{"x":"` + strings.Repeat("y", 3) + `"}}`}, {"PUT", "", `{"spec":{"sails":3}}`}, {"POST", "/sail", `{"to":"cork"}`}, {"DELETE", "", ""},
		} {
			b := y.boat("member", "a", "ann")
			var headers []string
			for name, text := range map[string]string{"If-Match": c.match, "If-None-Match": c.none} {
				if text != "" {
					headers = append(headers, name, strings.ReplaceAll(text, "NOW", etag(b.Revision)))
				}
			}
			r := y.do("member", w.method, inA+"/ann"+w.path, w.body, headers...)
			if c.stale {
				if p := y.want(412, r).problem(t); p.Kind != fault.Stale {
					t.Errorf("%+v", p)
				}
			} else if r.StatusCode/100 != 2 {
				t.Errorf("%s with %q: %d %s", w.method, headers, r.StatusCode, r.body)
			}
			y.do("member", "DELETE", inA+"/ann", "")
		}
	}
	y.boat("member", "a", "ann")
	y.want(412, y.do("member", "GET", inA+"/ann", "", "If-Match", `"99999"`))
	y.want(422, y.do("member", "PATCH", inA+"/ann", `{}`, "If-Match", "1"))
}

func TestChangesWaitUntilReadyWhenAsked(t *testing.T) {
	y := newToy(t)
	y.boat("member", "a", "ann")
	for method, body := range map[string]string{"PATCH": `{"spec":{"sails":4}}`, "PUT": `{"spec":{"sails":5}}`} {
		p := y.want(503, y.do("member", method, inA+"/ann?wait=ready&timeout=10ms", body)).problem(t)
		if !strings.Contains(p.Detail, "boat ann is not ready after 10ms") {
			t.Error(p.Detail)
		}
		y.want(422, y.do("member", method, inA+"/ann?wait=ready&timeout=1y", body))
	}
	b := y.boat("member", "a", "bob")
	batch := y.DB.Begin()
	y.statuses.Set(batch, b, func(s *BoatStatus) { s.SeenGeneration = 9 })
	if err := y.DB.Commit(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	y.want(200, y.do("member", "PATCH", inA+"/bob?wait=ready&timeout=1m", `{"spec":{"sails":4}}`))
}

func TestRangeIsNotPromised(t *testing.T) {
	y := newToy(t)
	y.boat("member", "a", "ann")
	whole := y.want(200, y.do("member", "GET", inA+"/ann", ""))
	part := y.want(200, y.do("member", "GET", inA+"/ann", "", "Range", "bytes=0-3", "If-Modified-Since", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)))
	if string(whole.body) != string(part.body) {
		t.Errorf("%s", part.body)
	}
}

package httpapi

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/store"
)

// A watch of one whose right went went on for as long as its connection.
func TestWatchEndsWhenItsCallerIsAdmittedNoMore(t *testing.T) {
	for name, c := range map[string]struct {
		revoke func(now *Caller) error
		want   string
	}{
		"deleted": {func(*Caller) error { return fault.New(fault.Unauthenticated, "this token was deleted") }, "this token was deleted"},
		"lowered": {func(now *Caller) error { now.Project = "b"; return nil }, "may write in project b only"},
		"changed": {func(now *Caller) error { now.Right = Read; return nil }, "have changed"},
	} {
		t.Run(name, func(t *testing.T) {
			var revoked atomic.Bool
			y := newToy(t, func(o *Options, _ *Routes[BoatSpec, BoatStatus]) {
				o.Recheck = 10 * time.Millisecond
				admit := o.Authenticate
				o.Authenticate = func(r *http.Request) (Caller, error) {
					now, err := admit(r)
					if err == nil && revoked.Load() {
						err = c.revoke(&now)
					}
					return now, err
				}
			})
			query := "project=a"
			if name == "lowered" {
				query = "" // the right to watch at all is there still
				c.want = "have changed"
			}
			last := ""
			y.listen("member", query, func(h heard) bool {
				revoked.Store(true)
				last = h.event
				return h.event == "error"
			})
			if last != "error" {
				t.Errorf("the last word is %s", last)
			}
		})
	}
}

func TestWatchOfAProjectEndsWithTheProject(t *testing.T) {
	y := newToy(t, func(o *Options, _ *Routes[BoatSpec, BoatStatus]) { o.Recheck = 10 * time.Millisecond })
	remove := sync.OnceFunc(func() {
		b := y.DB.Begin()
		y.projects.Delete(b, store.Find(y.DB.Snapshot(), fleets, "a"))
		if err := y.DB.Commit(t.Context(), b); err != nil {
			t.Error(err)
		}
	})
	y.listen("root", "project=a", func(h heard) bool { remove(); return h.event == "error" })
}

func TestRawRequestsEndWithTheReasonAsCause(t *testing.T) {
	var revoked atomic.Bool
	ended := make(chan error, 1)
	y := newToy(t, func(o *Options, _ *Routes[BoatSpec, BoatStatus]) {
		o.Recheck = 10 * time.Millisecond
		admit := o.Authenticate
		o.Authenticate = func(r *http.Request) (Caller, error) {
			if revoked.Load() {
				return Caller{}, fault.New(fault.Unauthenticated, "expired")
			}
			return admit(r)
		}
	})
	y.Raw(Op{ID: "console", Method: "GET", Path: "/v1/projects/{project}/console", Right: Write, Tag: "x", Summary: "x"},
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			revoked.Store(true)
			<-r.Context().Done()
			ended <- causeOf(r)
		}))
	y.do("member", "GET", "/v1/projects/a/console", "")
	if err := <-ended; !fault.Is(err, fault.Unauthenticated) || !strings.Contains(err.Error(), "expired") {
		t.Error(err)
	}
}

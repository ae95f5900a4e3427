package leader_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/leader"
	"github.com/virga-cloud/virga/engine/store"
)

// term is a leadership that a test takes away.
type term struct {
	n        int64
	over     chan struct{}
	resigned bool
}

func (t *term) Fence() store.Change   { return store.Change{Op: store.Check, Expect: t.n} }
func (t *term) Done() <-chan struct{} { return t.over }
func (t *term) Resign()               { t.resigned = true }

// election gives one term after another; the first ones fail.
type election struct {
	failures int
	terms    []*term
}

func (e *election) stand(ctx context.Context) (leader.Term, error) {
	if e.failures > 0 {
		e.failures--
		return nil, errors.New("nobody counts the votes")
	}
	if n := len(e.terms); n > 0 && !e.terms[n-1].resigned {
		return nil, errors.New("the last term is not over")
	}
	t := &term{n: int64(len(e.terms) + 1), over: make(chan struct{})}
	e.terms = append(e.terms, t)
	return t, nil
}

func TestRoleIsPlayedInEachTermAndNeverTwiceAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var role leader.Role
		e := &election{failures: 2}
		plays, playing := 0, 0
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			role.Run(ctx, e.stand, func(ctx context.Context) {
				if plays, playing = plays+1, playing+1; playing != 1 {
					t.Errorf("%d play at once", playing)
				}
				<-ctx.Done()
				time.Sleep(time.Second) // a step that takes its time to end
				playing--
			})
		}()
		synctest.Wait()
		if _, err := role.Fence(); !fault.Is(err, fault.Unavailable) {
			t.Errorf("the fence of one that does not lead: %v", err)
		}
		time.Sleep(5 * time.Second)
		for n := int64(1); n <= 3; n++ {
			synctest.Wait()
			fence, err := role.Fence()
			if leads, terms := role.Leads(); err != nil || fence.Expect != n || !leads || terms != int(n) {
				t.Fatalf("in term %d it leads %v, for the %dth time, with fence %d: %v", n, leads, terms, fence.Expect, err)
			}
			close(e.terms[n-1].over)
			synctest.Wait()
			if plays != int(n) || playing != 1 {
				t.Errorf("term %d is over: %d plays, %d play", n, plays, playing)
			}
			if fence, err := role.Fence(); err != nil || fence.Expect != n {
				t.Errorf("what winds up has the fence %d (%v) of another term than %d", fence.Expect, err, n)
			}
			time.Sleep(2 * time.Second)
		}
		cancel()
		<-ended
		if leads, _ := role.Leads(); leads || playing != 0 || !e.terms[3].resigned {
			t.Errorf("at the end it leads %v, %d play, resigned %v", leads, playing, e.terms[3].resigned)
		}
	})
}

func TestRoleThatReturnsBeforeItsTermIsOverResigns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var role leader.Role
		e := &election{}
		ctx, cancel := context.WithCancel(t.Context())
		role.Run(ctx, e.stand, func(context.Context) { cancel() })
		if !e.terms[0].resigned {
			t.Error("the leadership is kept by one that does nothing with it")
		}
	})
}

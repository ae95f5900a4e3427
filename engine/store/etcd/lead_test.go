package etcd

import (
	"context"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/store"
)

func lead(t *testing.T, s *Store, name string) *Leadership {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	l, err := s.Lead(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func writeAs(t *testing.T, s *Store, l *Leadership) error {
	t.Helper()
	fence := l.Fence()
	_, err := s.Commit(t.Context(), store.Change{Key: thing("a"), Op: store.Put, Value: []byte("1"), Expect: store.Any}, fence)
	return err
}

func TestADeposedLeaderCannotWrite(t *testing.T) {
	s := open(t, Config{NoSync: true})
	first := lead(t, s, "brain")
	if err := writeAs(t, s, first); err != nil {
		t.Fatalf("the leader cannot write: %v", err)
	}
	// Somebody takes the key away, as another server does when this one's lease has run out.
	if _, err := s.client.Delete(t.Context(), encode(first.key)); err != nil {
		t.Fatal(err)
	}
	if err := writeAs(t, s, first); !fault.Is(err, fault.Conflict) {
		t.Fatalf("a deposed leader's commit gives %v", err)
	}
	select {
	case <-first.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("a deposed leader is not told")
	}
	second := lead(t, s, "brain")
	if err := writeAs(t, s, second); err != nil {
		t.Fatalf("the new leader cannot write: %v", err)
	}
	if err := writeAs(t, s, first); !fault.Is(err, fault.Conflict) {
		t.Fatalf("the old leader's commit under a new leader gives %v", err)
	}
}

func TestOnlyOneLeadsUntilItResigns(t *testing.T) {
	s := open(t, Config{NoSync: true})
	first := lead(t, s, "brain")
	other := lead(t, s, "another") // another name is another leadership
	got := make(chan *Leadership)
	go func() {
		l, _ := s.Lead(t.Context(), "brain")
		got <- l
	}()
	select {
	case <-got:
		t.Fatal("two lead at once")
	case <-time.After(300 * time.Millisecond):
	}
	first.Resign()
	select {
	case l := <-got:
		l.Resign()
	case <-time.After(10 * time.Second):
		t.Fatal("nobody leads after the first has resigned")
	}
	other.Resign()
}

func TestALeadershipOutlivesItsLease(t *testing.T) {
	s := open(t, Config{NoSync: true})
	l := lead(t, s, "brain")
	select {
	case <-l.Done():
		t.Fatal("the lease was not renewed")
	case <-time.After((leaseSeconds + 2) * time.Second):
	}
	if err := writeAs(t, s, l); err != nil {
		t.Fatal(err)
	}
}

func TestARestartedServerLeadsAtOnce(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Dir: dir, NoSync: true})
	l := lead(t, s, "brain")
	// A killed process leaves its key behind: put it back without a lease.
	key, value := encode(l.key), store.Seal([]byte(`"server"`))
	l.Resign()
	if _, err := s.client.Put(t.Context(), key, string(value)); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = open(t, Config{Dir: dir, NoSync: true})
	before := time.Now()
	lead(t, s, "brain")
	if took := time.Since(before); took > 2*time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestWaitingToLeadEndsWithItsContextAndWithTheStore(t *testing.T) {
	s := open(t, Config{NoSync: true})
	lead(t, s, "brain")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := s.Lead(ctx, "brain"); !fault.Is(err, fault.Unavailable) {
		t.Errorf("gives %v", err)
	}
	ended := make(chan error)
	go func() {
		_, err := s.Lead(context.Background(), "brain")
		ended <- err
	}()
	time.Sleep(50 * time.Millisecond)
	go s.Close()
	if err := <-ended; !fault.Is(err, fault.Unavailable) {
		t.Errorf("gives %v", err)
	}
}

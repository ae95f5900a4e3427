package etcd

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

const leaseSeconds = 5

// Leadership is the right of one of several servers to run what only one may run. The leader's
// key is an entry of the store, so that every commit can be held to it: see Fence.
type Leadership struct {
	key      resource.Ref
	revision int64
	done     chan struct{}
	cancel   context.CancelFunc
}

// Done closes when the leadership is lost or resigned.
func (l *Leadership) Done() <-chan struct{} { return l.done }

// Fence gives the check that holds a commit to this leadership. A deposed leader's commit fails with
// fault.Conflict, even if it does not know of it yet.
func (l *Leadership) Fence() store.Change {
	return store.Change{Key: l.key, Op: store.Check, Expect: l.revision}
}

// Resign gives the leadership up and waits until it is free for others.
func (l *Leadership) Resign() {
	l.cancel()
	<-l.done
}

// Lead waits until this server leads under a name.
func (s *Store) Lead(ctx context.Context, name string) (*Leadership, error) {
	if !s.enter() {
		return nil, fault.New(fault.Unavailable, "lead %s: the store is closed", name)
	}
	won := false
	defer func() {
		if !won {
			s.work.Done()
		}
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	key := leaderKey(name)
	for {
		expect, err := s.turn(ctx, encode(key), name)
		var l *Leadership
		if err == nil {
			l, err = s.take(ctx, key, name, expect)
		}
		if err != nil {
			return nil, s.failed(err, "lead %s", name)
		}
		if l != nil {
			won = true
			return l, nil
		}
	}
}

// Leader is the ID of the server that leads under a name; empty: none does at the moment.
func (s *Store) Leader(ctx context.Context, name string) (id string, err error) {
	e, err := s.Get(ctx, leaderKey(name))
	if fault.Is(err, fault.NotFound) {
		return "", nil
	}
	if err == nil {
		err = json.Unmarshal(e.Value, &id)
	}
	return id, fault.Wrap(err, "ask who leads")
}

func leaderKey(name string) resource.Ref { return store.ClaimKey("", "leader:"+name) }

// turn waits until the leader's key may be taken, and gives the revision that it then has.
func (s *Store) turn(ctx context.Context, path, name string) (expect int64, err error) {
	for {
		r, err := s.client.Get(ctx, path)
		switch {
		case err != nil:
			return 0, err
		case len(r.Kvs) == 0:
			return 0, nil
		case s.leftBehind(store.Open(r.Kvs[0].Value), name):
			return r.Kvs[0].ModRevision, nil
		}
		if err := s.waitFree(ctx, path, r.Header.Revision); err != nil {
			return 0, err
		}
	}
}

// take takes the leader's key under a new lease; nil if somebody was faster.
func (s *Store) take(ctx context.Context, key resource.Ref, name string, expect int64) (*Leadership, error) {
	lease, err := s.client.Grant(ctx, leaseSeconds)
	if err != nil {
		return nil, err
	}
	path := encode(key)
	value, _ := json.Marshal(s.config.ID)
	t, err := s.client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(path), "=", expect)).
		Then(clientv3.OpPut(path, string(store.Seal(value)), clientv3.WithLease(lease.ID))).Commit()
	if err != nil || !t.Succeeded {
		s.revoke(lease.ID)
		return nil, err
	}
	// The leadership outlives the call that won it; Resign and Close end it.
	alive, cancel := context.WithCancel(s.ctx)
	l := &Leadership{key: key, revision: t.Header.Revision, done: make(chan struct{}), cancel: cancel}
	s.mu.Lock()
	s.leads[name] = l
	s.mu.Unlock()
	go func() {
		defer s.work.Done()
		s.keep(alive, l, name, lease.ID)
	}()
	return l, nil
}

// leftBehind reports whether a leader's key is that of this server's own previous process.
// It is dead, because the folder is ours now; nobody waits for its lease.
func (s *Store) leftBehind(value []byte, name string) bool {
	var holder string
	_ = json.Unmarshal(value, &holder)
	s.mu.Lock()
	defer s.mu.Unlock()
	return holder == s.config.ID && s.leads[name] == nil
}

func (s *Store) waitFree(ctx context.Context, path string, after int64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for r := range s.client.Watch(ctx, path, clientv3.WithRev(after+1)) {
		if err := r.Err(); err != nil {
			return err
		}
		for _, e := range r.Events {
			if e.Type == clientv3.EventTypeDelete {
				return nil
			}
		}
	}
	return ctx.Err()
}

// keep renews the lease until the leadership ends, and ends it when the key is no longer ours.
func (s *Store) keep(ctx context.Context, l *Leadership, name string, lease clientv3.LeaseID) {
	defer l.cancel()
	defer close(l.done)
	defer func() {
		s.mu.Lock()
		delete(s.leads, name)
		s.mu.Unlock()
	}()
	defer s.revoke(lease)
	renewals, err := s.client.KeepAlive(ctx, lease)
	if err != nil {
		slog.Warn("the leadership cannot be kept", "name", name, "error", err)
		return
	}
	key := s.client.Watch(ctx, encode(l.key), clientv3.WithRev(l.revision+1))
	for {
		select {
		case _, ok := <-renewals:
			if !ok {
				return
			}
		case r, ok := <-key:
			if !ok || r.Err() != nil || len(r.Events) > 0 {
				return
			}
		}
	}
}

func (s *Store) revoke(lease clientv3.LeaseID) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_, _ = s.client.Revoke(ctx, lease)
}

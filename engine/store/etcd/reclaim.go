package etcd

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Compact forgets the past before revision: watches that begin there are too late.
func (s *Store) Compact(ctx context.Context, revision int64) error {
	ctx, leave, err := s.call(ctx)
	if err != nil {
		return err
	}
	defer leave()
	return s.compact(ctx, revision)
}

func (s *Store) compact(ctx context.Context, revision int64) error {
	_, err := s.client.Compact(ctx, revision, clientv3.WithCompactPhysical())
	if err != nil && !errors.Is(err, rpctypes.ErrCompacted) {
		return s.failed(err, "compact")
	}
	return nil
}

// Reclaim forgets the past, gives its space back, and lets a full store take commits again. If
// the present alone fills the quota, the store raises its alarm again at the next commit.
func (s *Store) Reclaim(ctx context.Context) error {
	ctx, leave, err := s.call(ctx)
	if err != nil {
		return err
	}
	defer leave()
	return s.reclaim(ctx)
}

func (s *Store) reclaim(ctx context.Context) error {
	r, err := s.client.Get(ctx, root, clientv3.WithCountOnly())
	if err != nil {
		return err
	}
	if err := s.compact(ctx, r.Header.Revision); err != nil {
		return err
	}
	if err := s.server.Server.Backend().Defrag(); err != nil {
		return err
	}
	s.guard.moved()
	_, err = s.client.AlarmDisarm(ctx, &clientv3.AlarmMember{})
	if s.server.Server.Backend().Size()*2 < s.config.QuotaMiB<<20 {
		s.mu.Lock()
		s.reclaimed = time.Time{} // that was worth it; the next time need not wait
		s.mu.Unlock()
	}
	slog.Warn("the state store was full; its past was forgotten to free space", "sizeMiB", s.server.Server.Backend().Size()>>20, "quotaMiB", s.config.QuotaMiB)
	return err
}

// mayReclaim allows one attempt a minute, unless the last one freed much space: it stops all
// commits while it lasts.
func (s *Store) mayReclaim() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.reclaimed) < time.Minute {
		return false
	}
	s.reclaimed = time.Now()
	return true
}

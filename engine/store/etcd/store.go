package etcd

import (
	"context"
	"errors"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/store"
)

// alone makes one transaction of a commit.
func (s *Store) alone(ctx context.Context, changes []store.Change) (int64, error) {
	if err := s.guard.admit(changes, s.server.Server.Backend().Size()); err != nil {
		return 0, err
	}
	r, err := s.transact(ctx, changes)
	if errors.Is(err, rpctypes.ErrNoSpace) && s.mayReclaim() {
		if err = s.reclaim(ctx); err == nil {
			r, err = s.transact(ctx, changes)
		}
	}
	if err != nil {
		return 0, s.failed(err, "commit")
	}
	if r.Succeeded {
		return r.Header.Revision, nil
	}
	return 0, refused(changes, r)
}

func (s *Store) transact(ctx context.Context, changes []store.Change) (*clientv3.TxnResponse, error) {
	var when []clientv3.Cmp
	var then, otherwise []clientv3.Op
	for _, c := range changes {
		key := encode(c.Key)
		if expects := conditions(c, key); len(expects) > 0 {
			when = append(when, expects...)
			otherwise = append(otherwise, clientv3.OpGet(key, clientv3.WithKeysOnly()))
		}
		switch c.Op {
		case store.Put:
			then = append(then, clientv3.OpPut(key, string(store.Seal(c.Value))))
		case store.Delete:
			then = append(then, clientv3.OpDelete(key))
		}
	}
	return s.client.Txn(ctx).If(when...).Then(then...).Else(otherwise...).Commit()
}

// conditions are what must be true of the key of a change.
func conditions(c store.Change, key string) (out []clientv3.Cmp) {
	switch c.Expect {
	case store.Any:
	case store.Present:
		out = append(out, clientv3.Compare(clientv3.ModRevision(key), ">", 0))
	default:
		out = append(out, clientv3.Compare(clientv3.ModRevision(key), "=", c.Expect))
	}
	if c.Since != 0 {
		out = append(out, clientv3.Compare(clientv3.ModRevision(key), "<", c.Since+1))
	}
	return out
}

// refused finds the first expectation that failed.
func refused(changes []store.Change, r *clientv3.TxnResponse) error {
	i := 0
	for _, c := range changes {
		if c.Expect == store.Any && c.Since == 0 {
			continue
		}
		var there int64
		if kvs := r.Responses[i].GetResponseRange().GetKvs(); len(kvs) > 0 {
			there = kvs[0].ModRevision
		}
		i++
		if err := store.CheckExpectation(c, there); err != nil {
			return err
		}
	}
	return fault.New(fault.Internal, "etcd refused a commit whose expectations all hold")
}

// failed gives an error of etcd its kind.
func (s *Store) failed(err error, doing string, args ...any) error {
	kind := fault.KindOf(err)
	switch {
	case s.ctx.Err() != nil:
		return fault.New(fault.Unavailable, doing+": the store is closed", args...)
	case errors.Is(err, rpctypes.ErrNoSpace):
		return fault.New(fault.Exhausted, "commit: the state store in %s is full (its quota is %d MiB); delete records that are not needed or raise the quota, and restart",
			s.config.Dir, s.config.QuotaMiB)
	case errors.Is(err, rpctypes.ErrCompacted) || errors.Is(err, rpctypes.ErrFutureRev):
		kind = fault.TooLate
	case errors.Is(err, rpctypes.ErrRequestTooLarge) || errors.Is(err, rpctypes.ErrTooManyOps):
		kind = fault.Invalid
	case isTransient(err):
		kind = fault.Unavailable
	}
	return fault.New(kind, doing+": %w", append(args, err)...)
}

func isTransient(err error) bool {
	for _, known := range []error{
		rpctypes.ErrNoLeader, rpctypes.ErrTimeout, rpctypes.ErrTimeoutDueToLeaderFail, rpctypes.ErrTimeoutDueToConnectionLost,
		rpctypes.ErrStopped, rpctypes.ErrTooManyRequests, rpctypes.ErrLeaderChanged, rpctypes.ErrNotCapable, rpctypes.ErrUnhealthy,
	} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

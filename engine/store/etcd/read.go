package etcd

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key resource.Ref) (store.Entry, error) {
	ctx, leave, err := s.call(ctx)
	if err != nil {
		return store.Entry{}, err
	}
	defer leave()
	r, err := s.client.Get(ctx, encode(key))
	if err != nil {
		return store.Entry{}, s.failed(err, "read %s", key)
	}
	if len(r.Kvs) == 0 {
		return store.Entry{}, fault.New(fault.NotFound, "no %s with id %q", key.Kind, key.ID)
	}
	return store.Entry{Key: key, Value: store.Open(r.Kvs[0].Value), Revision: r.Kvs[0].ModRevision}, nil
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, kinds ...resource.Kind) ([]store.Entry, int64, error) {
	for range 5 {
		var entries []store.Entry
		revision, err := s.stream(ctx, kinds, func(some []store.Entry) { entries = append(entries, some...) })
		if fault.Is(err, fault.TooLate) {
			continue // so slow that the revision was forgotten meanwhile
		}
		return entries, revision, err
	}
	return nil, 0, fault.New(fault.Unavailable, "list: the store forgets faster than it is read; try again")
}

// Stream implements store.Streaming.
func (s *Store) Stream(ctx context.Context, each func([]store.Entry)) (int64, error) {
	return s.stream(ctx, nil, each)
}

func (s *Store) stream(ctx context.Context, kinds []resource.Kind, each func([]store.Entry)) (int64, error) {
	ctx, leave, err := s.call(ctx)
	if err != nil {
		return 0, err
	}
	defer leave()
	var revision int64
	for _, p := range spans(kinds) {
		// etcd's client would give all at once, and walk over all that follows a page to count it.
		request := &pb.RangeRequest{Key: []byte(p.from), RangeEnd: []byte(p.to), Revision: revision}
		if err := s.reads.RangeStream(request, &pieces{ctx: ctx, each: each, revision: &revision}); err != nil {
			return 0, s.failed(rpctypes.Error(err), "list")
		}
	}
	return revision, nil
}

// span is all keys from one on, up to another that is not in it.
type span struct{ from, to string }

// spans are where the entries of kinds lie; of none: all records.
func spans(kinds []resource.Kind) (out []span) {
	if len(kinds) == 0 {
		from := root
		for _, beside := range []resource.Kind{store.JournalKind, store.NameKind} { // in the order of their keys
			out = append(out, span{from, prefix(beside)})
			from = clientv3.GetPrefixRangeEnd(prefix(beside))
		}
		return append(out, span{from, clientv3.GetPrefixRangeEnd(root)})
	}
	for _, k := range kinds {
		out = append(out, span{prefix(k), clientv3.GetPrefixRangeEnd(prefix(k))})
	}
	return out
}

// pieces passes on what etcd reads, piece by piece.
type pieces struct {
	pb.KV_RangeStreamServer // what else such a stream has: nothing of it is asked for within one process
	ctx                     context.Context
	each                    func([]store.Entry)
	revision                *int64
}

// Context implements pb.KV_RangeStreamServer.
func (p *pieces) Context() context.Context { return p.ctx }

// Send does too. Only the last piece tells of the revision.
func (p *pieces) Send(r *pb.RangeStreamResponse) error {
	some := make([]store.Entry, len(r.RangeResponse.Kvs))
	for i, kv := range r.RangeResponse.Kvs {
		e, err := entry(kv)
		if err != nil {
			return err
		}
		some[i] = e
	}
	if head := r.RangeResponse.Header; head != nil && *p.revision == 0 {
		*p.revision = head.Revision
	}
	if len(some) > 0 {
		p.each(some)
	}
	return nil
}

func entry(kv *mvccpb.KeyValue) (store.Entry, error) {
	ref, err := decode(string(kv.Key))
	return store.Entry{Key: ref, Value: store.Open(kv.Value), Revision: kv.ModRevision}, err
}

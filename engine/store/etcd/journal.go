package etcd

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// Range implements store.Journals.
func (s *Store) Range(ctx context.Context, journal string, from, to resource.ID, newest bool, most int) ([]store.Entry, error) {
	ctx, leave, err := s.call(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	begin := encode(store.JournalKey(journal, from))
	end := encode(store.JournalKey(journal, to))
	if to == "" {
		end = clientv3.GetPrefixRangeEnd(end)
	}
	if begin >= end {
		return nil, nil
	}
	order := clientv3.SortAscend
	if newest {
		order = clientv3.SortDescend
	}
	r, err := s.client.Get(ctx, begin, clientv3.WithRange(end), clientv3.WithSort(clientv3.SortByKey, order), clientv3.WithLimit(int64(most)))
	if err != nil {
		return nil, s.failed(err, "read the journal %s", journal)
	}
	var out []store.Entry
	for _, kv := range r.Kvs {
		e, err := entry(kv)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

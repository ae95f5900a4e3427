package storetest

import (
	"time"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// journal holds a store that keeps journals to its words.
func journal(s *suite) {
	j, ok := s.Store.(store.Journals)
	if !ok {
		return // an agent's
	}
	began := time.UnixMilli(1_700_000_000_000)
	var ids []resource.ID
	b := store.NewBatch(began)
	for n := range 5 {
		ids = append(ids, store.JournalID(began.Add(time.Duration(n)*time.Second)))
		b.Append("audit", ids[n], n)
	}
	b.Append("auditor", store.JournalID(began), "another")
	changes, err := b.Changes()
	if err != nil {
		s.Fatal(err)
	}
	if _, err := s.Commit(s.ctx, changes...); err != nil {
		s.Fatal(err)
	}
	if all, _, err := s.List(s.ctx); err != nil || len(all) != 0 {
		s.Errorf("a list of everything has the journal: %v, %v", all, err)
	}
	for _, c := range []struct {
		from, to resource.ID
		newest   bool
		most     int
		want     []int
	}{
		{"", "", false, 9, []int{0, 1, 2, 3, 4}},
		{"", "", true, 2, []int{4, 3}},
		{"", ids[3], true, 2, []int{2, 1}},
		{store.JournalTime(began.Add(2 * time.Second)), "", false, 9, []int{2, 3, 4}},
		{"", store.JournalTime(began.Add(2 * time.Second)), false, 9, []int{0, 1}},
		{ids[4], ids[2], false, 9, nil},
	} {
		got, err := j.Range(s.ctx, "audit", c.from, c.to, c.newest, c.most)
		if err != nil || len(got) != len(c.want) {
			s.Errorf("%+v: %v, %v", c, got, err)
			continue
		}
		for i, n := range c.want {
			if got[i].Key.ID != ids[n] {
				s.Errorf("%+v: %v", c, got)
			}
		}
	}
	// What is there is not written over.
	b = store.NewBatch(began)
	b.Append("audit", ids[0], "another")
	changes, _ = b.Changes()
	if _, err := s.Commit(s.ctx, changes...); err == nil {
		s.Error("an entry was written over")
	}
}

package etcd

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/store"
)

func TestSnapshotBroughtBackIsAnotherLifeOfTheSameRecords(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Dir: dir, NoSync: true})
	put := func(s *Store, id, value string, expect int64) int64 {
		t.Helper()
		revision, err := s.Commit(t.Context(), store.Change{Key: thing(id), Op: store.Put, Value: []byte(value), Expect: expect})
		if err != nil {
			t.Fatal(err)
		}
		return revision
	}
	first, err := store.ReadIncarnation(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	var kept int64
	for i := range 50 {
		kept = put(s, fmt.Sprint(i), "1", store.Absent)
	}
	put(s, "0", "2", store.Any)
	if _, err := s.Commit(t.Context(), store.Change{Key: thing("1"), Op: store.Delete, Expect: store.Any}); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "copy")
	if err := s.Snapshot(t.Context(), copied); err != nil {
		t.Fatal(err)
	}
	after := put(s, "later", "1", store.Absent)
	s.Close()

	back := t.TempDir()
	made, now := time.Unix(1000, 0).UTC(), time.Unix(2000, 0).UTC()
	if err := Restore(t.Context(), back, copied, made, now); err != nil {
		t.Fatal(err)
	}
	if err := Verify(back); err != nil {
		t.Error(err)
	}
	if err := Restore(t.Context(), back, copied, made, now); !fault.Is(err, fault.Precondition) {
		t.Errorf("over records that are there: %v", err)
	}
	b := open(t, Config{Dir: back, NoSync: true})
	entries, revision, err := b.List(t.Context(), "thing")
	if err != nil || len(entries) != 49 || revision <= after {
		t.Errorf("%d entries at revision %d, after %d: %v", len(entries), revision, after, err)
	}
	if e, err := b.Get(t.Context(), thing("49")); err != nil || e.Revision != kept {
		t.Errorf("a record that nobody changed: %+v, %v", e, err)
	}
	for _, gone := range []string{"1", "later"} {
		if _, err := b.Get(t.Context(), thing(gone)); !fault.Is(err, fault.NotFound) {
			t.Errorf("%s is there: %v", gone, err)
		}
	}
	now2, err := store.ReadIncarnation(t.Context(), b)
	if err != nil || now2.ID == first.ID || now2.Restored == nil || !now2.Made.Equal(made) {
		t.Errorf("the life is %+v, was %+v: %v", now2, first, err)
	}
	// Who watched the old life, even what was after the copy, begins anew.
	w, err := b.Watch(t.Context(), after)
	if err == nil {
		for range w.Changes() {
		}
		err = w.Err()
	}
	if !fault.Is(err, fault.TooLate) {
		t.Errorf("a watch from the old life goes on: %v", err)
	}
	if put(b, "new", "1", store.Absent) <= revision {
		t.Error("revisions do not rise")
	}
	put(b, "49", "2", kept)
	if err := b.Compact(t.Context(), revision); err != nil {
		t.Error(err)
	}
	b.Close()
	// The way back can be gone twice.
	copied2 := filepath.Join(t.TempDir(), "copy")
	b = open(t, Config{Dir: back, NoSync: true})
	if err := b.Snapshot(t.Context(), copied2); err != nil {
		t.Fatal(err)
	}
	entries2, _, err := ReadSnapshot(copied2)
	if err != nil || len(entries2) != 49+1+1 {
		t.Errorf("%d entries in the second copy: %v", len(entries2), err)
	}
	third := t.TempDir()
	if err := Restore(t.Context(), third, copied2, now, now); err != nil {
		t.Fatal(err)
	}
}

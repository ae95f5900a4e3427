package storetest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

func readBack(s *suite) {
	revision := s.commit(put("a", "one", store.Absent))
	e, err := s.Get(s.ctx, key("a"))
	if err != nil || string(e.Value) != string(value("one")) || e.Revision != revision || e.Key != key("a") {
		s.Fatalf("get gives %+v, %v; committed at %d", e, err, revision)
	}
	second := s.commit(put("a", "two", revision))
	if second <= revision || s.text("a") != string(value("two")) {
		s.Fatalf("second revision %d after %d, value %s", second, revision, s.text("a"))
	}
	s.commit(remove("a", second))
	if s.text("a") != "" {
		s.Fatal("it is there after its removal")
	}
}

func notFound(s *suite) {
	if _, err := s.Get(s.ctx, key("nothing")); !fault.Is(err, fault.NotFound) {
		s.Fatalf("get of what is not there gives %v", err)
	}
}

func strangeKeys(s *suite) {
	refs := []resource.Ref{
		{Kind: "thing", ID: "x"}, {Kind: "thing", Project: "-", ID: "x"}, {Kind: "thing", Project: "a", ID: "b/x"},
		{Kind: "thing", Project: "a/b", ID: "x"}, {Kind: "things", Project: "a", ID: "x"},
		{Kind: store.NameKind, Project: "a", ID: "thing:ä ö%2F..?&=#"}, {Kind: "thing", Project: "%2D", ID: "."},
	}
	for i, ref := range refs {
		s.commit(store.Change{Key: ref, Op: store.Put, Value: value(fmt.Sprint(i)), Expect: store.Absent})
	}
	for i, ref := range refs {
		if e, err := s.Get(s.ctx, ref); err != nil || e.Key != ref || string(e.Value) != string(value(fmt.Sprint(i))) {
			s.Errorf("%s comes back as %+v, %v", ref, e, err)
		}
	}
	entries, _, err := s.List(s.ctx, "thing")
	if err != nil || len(entries) != 5 {
		s.Errorf("the list has %d things of 5: %v", len(entries), err)
	}
}

func createTwice(s *suite) {
	s.commit(put("a", "one", store.Absent))
	s.refuse(fault.Exists, put("a", "two", store.Absent))
	if s.text("a") != string(value("one")) {
		s.Fatal("the refused commit changed it")
	}
}

func oldRevision(s *suite) {
	first := s.commit(put("a", "one", store.Absent))
	second := s.commit(put("a", "two", first))
	s.refuse(fault.Conflict, put("a", "three", first))
	s.refuse(fault.Conflict, remove("a", first))
	s.refuse(fault.Conflict, put("gone", "x", second))
	s.commit(put("a", "three", store.Any))
}

func allOrNothing(s *suite) {
	a := s.commit(put("a", "one", store.Absent))
	revision := s.commit(put("b", "b", store.Absent), put("c", "c", store.Absent), put("a", "two", a))
	s.refuse(fault.Conflict, put("d", "d", store.Absent), remove("b", store.Any), put("a", "three", a))
	s.refuse(fault.Exists, put("d", "d", store.Absent), put("c", "again", store.Absent))
	if s.text("d") != "" || s.text("b") == "" || s.text("a") != string(value("two")) {
		s.Fatal("a refused commit left something")
	}
	for _, id := range []string{"a", "b", "c"} {
		if e, err := s.Get(s.ctx, key(id)); err != nil || e.Revision != revision {
			s.Errorf("%s is at revision %d, want %d: %v", id, e.Revision, revision, err)
		}
	}
}

func namedTwice(s *suite) {
	s.refuse(fault.Internal, put("a", "one", store.Any), put("a", "two", store.Any))
	if s.text("a") != "" {
		s.Fatal("it was written")
	}
}

func checks(s *suite) {
	a := s.commit(put("a", "one", store.Absent))
	s.commit(put("b", "b", store.Absent), check("a", a), check("nothing", store.Absent))
	if e, _ := s.Get(s.ctx, key("a")); e.Revision != a {
		s.Fatal("a check changed what it checked")
	}
	s.commit(put("a", "two", a))
	s.refuse(fault.Conflict, put("c", "c", store.Absent), check("a", a))
	s.refuse(fault.Exists, put("c", "c", store.Absent), check("a", store.Absent))
	s.refuse(fault.Conflict, check("a", a))
	if s.text("c") != "" {
		s.Fatal("a commit went through against its check")
	}
}

func deleteAbsent(s *suite) {
	before := s.commit(put("a", "one", store.Absent))
	if after := s.commit(remove("b", store.Any)); after != before {
		s.Errorf("removing what is absent made revision %d of %d", after, before)
	}
	after := s.commit(remove("b", store.Any), remove("a", store.Any))
	if after <= before || s.text("a") != "" {
		s.Error("the part that was there was not removed")
	}
}

func emptyCommit(s *suite) {
	before := s.commit(put("a", "one", store.Absent))
	if after := s.commit(); after != before {
		s.Errorf("nothing gives revision %d, the present is %d", after, before)
	}
	if after := s.commit(check("a", before)); after != before {
		s.Errorf("a check alone gives revision %d, the present is %d", after, before)
	}
}

func listAtOneRevision(s *suite) {
	const many = 2500 // more than a page of any implementation
	for i := 0; i < many; i += 100 {
		var changes []store.Change
		for j := range 100 {
			changes = append(changes, put(fmt.Sprintf("%05d", i+j), "x", store.Absent))
		}
		s.commit(changes...)
	}
	s.commit(put("counter", "0", store.Absent), store.Change{Key: resource.Ref{Kind: "other", ID: "o"}, Op: store.Put, Value: value("o")})
	// Every commit moves two keys together; a list that mixes revisions sees them differ.
	ctx, cancel := context.WithCancel(s.ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			_, _ = s.Commit(ctx, put("00000", fmt.Sprint(i), store.Any), put("zzzzz", fmt.Sprint(i), store.Any))
		}
	})
	defer wg.Wait()
	defer cancel()
	for range 5 {
		entries, revision, err := s.List(s.ctx, "thing")
		if err != nil {
			s.Fatal(err)
		}
		found := map[resource.ID]store.Entry{}
		for _, e := range entries {
			found[e.Key.ID] = e
			if e.Revision > revision {
				s.Errorf("%s at revision %d in a list of %d", e.Key, e.Revision, revision)
			}
		}
		if len(found) < many+1 || len(found) != len(entries) || found["zzzzz"].Revision != 0 && found["zzzzz"].Revision != found["00000"].Revision {
			s.Fatalf("%d entries, first at %d, last at %d", len(entries), found["00000"].Revision, found["zzzzz"].Revision)
		}
	}
	if all, _, err := s.List(s.ctx); err != nil || len(all) < many+2 {
		s.Errorf("the list of all kinds has %d entries: %v", len(all), err)
	}
	name := store.Change{Key: store.NameKey("thing", "p", "counter"), Op: store.Put, Value: value("counter")}
	s.commit(name)
	all, _, err := s.List(s.ctx)
	if err != nil || slices.ContainsFunc(all, func(e store.Entry) bool { return !store.IsRecord(e.Key.Kind) }) {
		s.Errorf("the list of all records has others too: %v", err)
	}
	if held, err := store.Held(s.ctx, s); err != nil || len(held) < many+3 || held[len(held)-1].Key != name.Key {
		s.Errorf("of records and a name %d are held: %v", len(held), err)
	}
	s.inPieces(many + 2)
	if two, _, err := s.List(s.ctx, "other", "none"); err != nil || len(two) != 1 {
		s.Errorf("the list of two kinds has %d entries: %v", len(two), err)
	}
}

// inPieces reads all records piece by piece, where the store can, while others write: at one revision.
func (s *suite) inPieces(want int) {
	streaming, is := s.Store.(store.Streaming)
	if !is {
		return
	}
	var all []store.Entry
	pieces := 0
	revision, err := streaming.Stream(s.ctx, func(some []store.Entry) { all, pieces = append(all, some...), pieces+1 })
	if err != nil || pieces < 2 || len(all) < want || revision == 0 {
		s.Fatalf("%d records come in %d pieces at revision %d: %v", len(all), pieces, revision, err)
	}
	found := map[resource.Ref]store.Entry{}
	for _, e := range all {
		found[e.Key] = e
		if e.Revision > revision || !store.IsRecord(e.Key.Kind) {
			s.Errorf("%s at revision %d is told of revision %d", e.Key, e.Revision, revision)
		}
	}
	first, last := found[resource.Ref{Kind: "thing", ID: "00000"}], found[resource.Ref{Kind: "thing", ID: "zzzzz"}]
	if len(found) != len(all) || first.Revision != last.Revision {
		s.Errorf("%d of %d records are different ones, the first at revision %d, the last at %d", len(found), len(all), first.Revision, last.Revision)
	}
}

func endedContext(s *suite) {
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	if _, err := s.Commit(ctx, put("a", "one", store.Absent)); !fault.Is(err, fault.Unavailable) {
		s.Errorf("commit with an ended context gives %v", err)
	}
	if s.text("a") != "" {
		s.Error("it was committed")
	}
}

func counter(s *suite) {
	const workers, rounds = 8, 25
	s.commit(store.Change{Key: key("n"), Op: store.Put, Value: []byte("0")})
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for done := 0; done < rounds && s.ctx.Err() == nil; {
				e, err := s.Get(s.ctx, key("n"))
				if err != nil {
					s.Error(err)
					return
				}
				var n int
				_ = json.Unmarshal(e.Value, &n)
				next, _ := json.Marshal(n + 1)
				_, err = s.Commit(s.ctx, store.Change{Key: key("n"), Op: store.Put, Value: next, Expect: e.Revision})
				switch {
				case err == nil:
					done++
				case !fault.Is(err, fault.Conflict):
					s.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if e, _ := s.Get(s.ctx, key("n")); string(e.Value) != fmt.Sprint(workers*rounds) {
		s.Fatalf("counted %s, want %d", e.Value, workers*rounds)
	}
}

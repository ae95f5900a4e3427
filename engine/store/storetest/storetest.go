// Package storetest is the one suite that every store.Store passes.
//
// The suite of an implementation calls Run with a function that opens a fresh, empty store and
// closes it when the test ends. A store that can forget its past has a method
// Compact(ctx, revision) error; without it those tests are skipped.
package storetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// Patience is how long a test waits for what has to come.
const Patience = 20 * time.Second

type suite struct {
	*testing.T
	store.Store
	ctx context.Context
}

// Run runs the suite; open gives a fresh store for each test.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	for _, test := range []struct {
		name string
		run  func(s *suite)
	}{
		{"AnEntryIsReadAsItWasWritten", readBack},
		{"WhatIsNotThereIsNotFound", notFound},
		{"KeysWithStrangeLettersDoNotMix", strangeKeys},
		{"CreatingWhatIsThereExists", createTwice},
		{"AnOldRevisionConflicts", oldRevision},
		{"ACommitHappensWholeOrNotAtAll", allOrNothing},
		{"AKeyNamedTwiceIsRefused", namedTwice},
		{"ACheckHoldsTheCommit", checks},
		{"DeletingWhatIsAbsentChangesNothing", deleteAbsent},
		{"ACommitOfNothingGivesThePresent", emptyCommit},
		{"AListIsOfOneRevision", listAtOneRevision},
		{"AnEndedContextCommitsNothing", endedContext},
		{"AWatchTellsEverythingInOrder", watchInOrder},
		{"AWatchBeginsInThePast", watchFromThePast},
		{"AnEventKnowsOldAndNew", oldAndNew},
		{"AWatchOfAForgottenPastIsTooLate", watchCompacted},
		{"AWatchOfTheFutureIsTooLate", watchFuture},
		{"ASlowReaderBlocksNobody", slowReader},
		{"StopAndContextEndAWatch", stopWatch},
		{"ConcurrentCommitsLoseNothing", counter},
		{"AJournalIsReadByTimeAndIsNoRecord", journal},
		{"PresentAndSinceHoldACommit", presentAndSince},
		{"HiddenKeysAreToldToWhoAsks", hiddenKeys},
		{"WhatOneMayHaveIsHadByOne", oneUser},
		{"WhatIsNeededIsNotDeletedMeanwhile", neededAndDeleted},
		{"NothingIsMadeInADeletedProject", projectDeleted},
		{"RandomBatchesKeepEveryReference", anyBatches},
		{"AQuotaHoldsOnSeveralServers", quota},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := open(t)
			ctx, cancel := context.WithTimeout(context.Background(), 3*Patience)
			t.Cleanup(cancel)
			test.run(&suite{T: t, Store: s, ctx: ctx})
		})
	}
}

func key(id string) resource.Ref {
	return resource.Ref{Kind: "thing", Project: "p", ID: resource.ID(id)}
}

func value(text string) []byte { return fmt.Appendf(nil, "{\"text\":%q}", text) }

func put(id, text string, expect int64) store.Change {
	return store.Change{Key: key(id), Op: store.Put, Value: value(text), Expect: expect}
}

func remove(id string, expect int64) store.Change {
	return store.Change{Key: key(id), Op: store.Delete, Expect: expect}
}

func check(id string, expect int64) store.Change {
	return store.Change{Key: key(id), Op: store.Check, Expect: expect}
}

func (s *suite) commit(changes ...store.Change) int64 {
	s.Helper()
	revision, err := s.Commit(s.ctx, changes...)
	if err != nil {
		s.Fatalf("commit: %v", err)
	}
	return revision
}

func (s *suite) refuse(kind fault.Kind, changes ...store.Change) {
	s.Helper()
	_, err := s.Commit(s.ctx, changes...)
	if !fault.Is(err, kind) {
		s.Fatalf("commit gives %v (%s), want kind %s", err, fault.KindOf(err), kind)
	}
}

func (s *suite) text(id string) string {
	s.Helper()
	e, err := s.Get(s.ctx, key(id))
	if fault.Is(err, fault.NotFound) {
		return ""
	}
	if err != nil {
		s.Fatalf("get %s: %v", id, err)
	}
	return string(e.Value)
}

func (s *suite) watch(after int64) store.Watch {
	s.Helper()
	w, err := s.Watch(s.ctx, after)
	if err != nil {
		s.Fatalf("watch after %d: %v", after, err)
	}
	s.Cleanup(w.Stop)
	return w
}

// next waits for the next Changes that has events.
func (s *suite) next(w store.Watch) store.Changes {
	s.Helper()
	late := time.After(Patience)
	for {
		select {
		case c, ok := <-w.Changes():
			if !ok {
				s.Fatalf("the watch ended: %v", w.Err())
			}
			if len(c.Events) > 0 {
				return c
			}
		case <-late:
			s.Fatal("nothing came from the watch")
		}
	}
}

// drained waits until the watch has ended.
func (s *suite) drained(w store.Watch) {
	s.Helper()
	late := time.After(Patience)
	for {
		select {
		case _, ok := <-w.Changes():
			if !ok {
				return
			}
		case <-late:
			s.Fatal("the watch does not end")
		}
	}
}

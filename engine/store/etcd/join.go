package etcd

import (
	"bytes"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// What one transaction joins at most.
const (
	joinedChanges = 2000
	joinedBytes   = 512 << 10
)

// joint is several commits as one: all that each expects is expected, all that each does is done.
type joint struct {
	changes []store.Change
	at      map[resource.Ref]int // where in changes a key is
	bytes   int
}

// add takes a commit in, if the order in which it and those that are in it already come means nothing. The
// commit names no key twice.
func (j *joint) add(changes []store.Change) bool {
	size := 0
	for _, c := range changes {
		size += len(c.Value)
		if i, there := j.at[c.Key]; there {
			if _, can := both(j.changes[i], c); !can {
				return false
			}
		}
	}
	if len(j.changes) > 0 && (len(j.changes)+len(changes) > joinedChanges || j.bytes+size > joinedBytes) {
		return false
	}
	j.bytes += size
	if j.at == nil {
		j.at = make(map[resource.Ref]int, len(changes))
	}
	for _, c := range changes {
		if i, there := j.at[c.Key]; there {
			j.changes[i], _ = both(j.changes[i], c)
			continue
		}
		j.at[c.Key] = len(j.changes)
		j.changes = append(j.changes, c)
	}
	return true
}

// both makes one change of two of the same key: of two that only look, and of two that write the same
// whatever is there. Of the others the second would find what the first has left.
func both(a, b store.Change) (store.Change, bool) {
	switch {
	case a.Op != b.Op || a.Expect != b.Expect:
		return a, false
	case a.Op == store.Check:
		if a.Since == 0 || b.Since != 0 && b.Since < a.Since {
			a.Since = b.Since
		}
		return a, true
	}
	return a, a.Op == store.Put && a.Expect == store.Any && a.Since == 0 && b.Since == 0 && bytes.Equal(a.Value, b.Value)
}

// names reports whether a commit has to do with a key.
func names(changes []store.Change, key resource.Ref) bool {
	for _, c := range changes {
		if c.Key == key {
			return true
		}
	}
	return false
}

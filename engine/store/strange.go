package store

import (
	"log/slog"
	"slices"

	"github.com/virga-cloud/virga/engine/resource"
)

// Strange is a record that this program does not understand: of a kind, or with a word, that a newer
// version knows, or damaged. Of one that it understood once the view goes on showing the last such
// version. It is there: nothing is destroyed because the view does not show it.
type Strange struct {
	Entry
	Why string
}

func (v *View) remember(e Event, revision int64, why string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, known := v.strange[e.Key.ID]; !known {
		slog.Error("a record is not understood and left alone", "record", e.Key.String(), "why", why)
	}
	v.strange[e.Key.ID] = Strange{Entry{Key: e.Key, Value: e.Value, Revision: revision}, why}
}

// forget reports whether the record was strange: what the view showed of it was older than what was there.
func (v *View) forget(key resource.Ref) (was bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if was = v.strange[key.ID].Key == key; was {
		delete(v.strange, key.ID)
	}
	return was
}

// NotUnderstood lists the records that this program cannot read, and why. They are left alone.
func (v *View) NotUnderstood() map[resource.Ref]string {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := make(map[resource.Ref]string, len(v.strange))
	for _, x := range v.strange {
		out[x.Key] = x.Why
	}
	return out
}

// Understands reports that no record with this id is there that this program cannot read. Where it is
// false, a record that a snapshot does not show may be there all the same, and one that it shows may be
// older than the truth.
func (v *View) Understands(id resource.ID) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, there := v.strange[id]
	return !there
}

// strangeOf gives the records that are not understood; those that the host may not see without their value.
func (v *View) strangeOf(host resource.ID) map[resource.Ref]Strange {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := make(map[resource.Ref]Strange, len(v.strange))
	for _, x := range v.strange {
		hosts := HostsOf(v.catalog, x.Entry)
		if !slices.Contains(hosts, host) && !slices.Contains(hosts, resource.AnyHost) {
			x.Value = nil
		}
		out[x.Key] = x
	}
	return out
}

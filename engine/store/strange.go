package store

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/virga-cloud/virga/engine/resource"
)

// Strange is a record that this program does not understand: of a kind, or with a word, that a newer
// version knows, or damaged. Of one that it understood once the view goes on showing the last such
// version. It is there: nothing is destroyed because the view does not show it.
type Strange struct {
	Entry
	Why string
	// Newer says that another version of the program may well read it; else nobody can.
	Newer bool
}

// Remedy says what to do about it.
func (x Strange) Remedy() string {
	if x.Newer {
		return "a newer version wrote it: update this server; it is left alone until then"
	}
	return "bring it back by virga restore FILE on the server's host, or delete it by virga check --delete " + string(x.Key.Kind) + "/" + string(x.Key.ID) + " there; it is left alone until then"
}

// notYet is why a record may well be read by another version.
type notYet string

func (n notYet) Error() string { return string(n) }

func (v *View) remember(e Event, revision int64, err error) {
	_, newer := err.(notYet)
	why := err.Error()
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, known := v.strange[e.Key.ID]; !known {
		slog.Error("a record is not understood and left alone", "record", e.Key.String(), "why", why)
	}
	v.strange[e.Key.ID] = Strange{Entry{Key: e.Key, Value: e.Value, Revision: revision}, why, newer}
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

// Unreadable lists them in the order of their kinds and ids.
func (v *View) Unreadable() []Strange {
	v.mu.Lock()
	out := slices.Collect(maps.Values(v.strange))
	v.mu.Unlock()
	slices.SortFunc(out, func(a, b Strange) int { return strings.Compare(a.Key.String(), b.Key.String()) })
	return out
}

// UnreadableRecord is the record with this id that cannot be read; ok is false where it can, or there is none.
func (v *View) UnreadableRecord(id resource.ID) (x Strange, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	x, ok = v.strange[id]
	return x, ok
}

// NamesHeld gives the names of records that cannot be read; it reads the store, where the names outlive them.
func NamesHeld(ctx context.Context, s Store, records []Strange) (map[resource.ID]string, error) {
	claims, _, err := s.List(ctx, NameKind)
	if err != nil {
		return nil, err
	}
	out := map[resource.ID]string{}
	for _, e := range claims {
		holder, ok := holderOf(e)
		for _, x := range records {
			if name, is := strings.CutPrefix(string(e.Key.ID), string(x.Key.Kind)+":"); ok && is && x.Key.ID == holder && x.Key.Project == e.Key.Project {
				out[holder] = name
			}
		}
	}
	return out, nil
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

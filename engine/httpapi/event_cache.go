package httpapi

import (
	"encoding/json"
	"sync"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// remembered is how many changes the event cache keeps: watchers are seldom further apart.
const remembered = 256

// eventCache keeps what the last changes look like on the wire. A thousand watchers are told the same,
// and it is read and written once.
type eventCache struct {
	mu   sync.Mutex
	told map[change]*telling
	ring [remembered]change
	next int
}

// change names what one revision made of one record.
type change struct {
	key      resource.Ref
	revision int64
}

// telling is a change, ready to be sent to those of each sight. Object is nil if nobody can read it.
type telling struct {
	once   sync.Once
	kind   *kindRoutes
	name   string // of the project
	event  WatchEvent
	object resource.Object
	texts  [resource.Nobody]struct {
		once sync.Once
		text []byte
	}
}

// to gives the event as it is seen.
func (t *telling) to(as resource.Sight) []byte {
	mine := &t.texts[as]
	mine.once.Do(func() {
		ev := t.event
		ev.Object = encoded(t.kind.See(t.object, as, t.name))
		mine.text = encoded(&ev)
	})
	return mine.text
}

// of gives the change of a record; project is the name of its project.
func (h *eventCache) of(k *kindRoutes, e store.Event, revision int64, project func(resource.ID) string) *telling {
	t := h.find(change{e.Key, revision})
	t.once.Do(func() {
		ev := WatchEvent{Revision: revision, Type: "put", Kind: e.Key.Kind}
		value := e.Value
		if value == nil {
			ev.Type, value = "delete", e.Old
		}
		x, err := k.Decode(value, revision)
		if err != nil {
			return
		}
		t.kind, t.event, t.object, t.name = k, ev, x, project(x.Head().Project)
	})
	return t
}

func (h *eventCache) find(c change) *telling {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t := h.told[c]; t != nil {
		return t
	}
	if h.told == nil {
		h.told = map[change]*telling{}
	}
	delete(h.told, h.ring[h.next])
	t := &telling{}
	h.told[c], h.ring[h.next] = t, c
	h.next = (h.next + 1) % remembered
	return t
}

// encoded is JSON of what always has one.
func encoded(x any) []byte {
	text, _ := json.Marshal(x)
	return text
}

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

// telling is a change, ready to be sent. Object is nil if nobody can read it.
type telling struct {
	once   sync.Once
	object resource.Object
	text   []byte
}

func (h *eventCache) of(k *kindRoutes, e store.Event, revision int64) *telling {
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
		ev.Object = encoded(k.show(x))
		t.object, t.text = x, encoded(&ev)
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

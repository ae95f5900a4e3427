// Package remote is the store over HTTP: an agent's view of the cloud's records.
//
// The server's half, Handler, narrows the store to a Scope: what the caller sees, and what it
// may commit. The agent's half, Open, is a store.Store like any other.
//
//	GET  /entry?kind=&project=&id=      one entry
//	GET  /list?kind=&kind=              entries at one revision
//	POST /commit                        changes, all or none; a report travels as {key, op, expect,
//	                                    status, holders} and is put into the record that is there
//	GET  /watch?after=                  lines of JSON, one for each revision, and one of nothing
//	                                    every few seconds, so that a dead link is noticed
//
// A fault travels as {kind, message, details} with the HTTP status of its kind.
package remote

import (
	"encoding/json"
	"net/http"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// keepaliveHeader tells the reader of a watch how many milliseconds lie between two signs of life.
const keepaliveHeader = "Virga-Keepalive-Ms"

type entryWire struct {
	Key      resource.Ref `json:"key"`
	Value    []byte       `json:"value"`
	Revision int64        `json:"revision"`
}

type listWire struct {
	Entries  []entryWire `json:"entries"`
	Revision int64       `json:"revision"`
}

// changeWire is a change, or with op "report" what an agent observed: the server puts status and
// holders into the record that is there, and keeps all else of it.
type changeWire struct {
	Key     resource.Ref    `json:"key"`
	Op      store.Op        `json:"op"`
	Value   []byte          `json:"value,omitempty"`
	Expect  int64           `json:"expect"`
	Since   int64           `json:"since,omitempty"`
	Status  json.RawMessage `json:"status,omitempty"`
	Holders []string        `json:"holders,omitempty"`
}

type commitWire struct {
	Changes []changeWire `json:"changes"`
}

type revisionWire struct {
	Revision int64 `json:"revision"`
}

type eventWire struct {
	Key   resource.Ref `json:"key"`
	Value []byte       `json:"value,omitempty"`
	Old   []byte       `json:"old,omitempty"`
}

// lineWire is one line of a watch: a revision, the end, or, when all is empty, a sign of life.
type lineWire struct {
	Revision int64       `json:"revision,omitempty"`
	Events   []eventWire `json:"events,omitempty"`
	Fault    *faultWire  `json:"fault,omitempty"`
}

type faultWire struct {
	Kind    fault.Kind     `json:"kind"`
	Message string         `json:"message"`
	Details []fault.Detail `json:"details,omitempty"`
}

func toWire(err error) *faultWire {
	w := &faultWire{Kind: fault.KindOf(err), Message: err.Error()}
	if e, ok := err.(*fault.Error); ok { //nolint:errorlint // the outermost speaks
		w.Details = e.Details
	}
	return w
}

func (w *faultWire) err() error {
	e := fault.New(w.Kind, "%s", w.Message)
	e.Details = w.Details
	return e
}

func refuse(w http.ResponseWriter, err error) {
	kind := fault.KindOf(err)
	answer(w, kind.HTTPStatus(), toWire(err))
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // if the caller has gone, nobody is left to tell
}

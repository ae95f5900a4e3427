package httpapi

import (
	"encoding/json"
	"net/http"

	"github.com/virga-cloud/virga/engine/resource"
)

// A server that passes a request on to another has admitted who asks, and says who that is: the audit log and
// the events of the one that does it name them. Nobody but a server is believed.

// vouchHeader says for whom a server asks.
const vouchHeader = "Virga-Asked-By"

type vouched struct {
	User    string      `json:"user"`
	Shown   string      `json:"shown,omitempty"`
	From    string      `json:"from,omitempty"`
	Request resource.ID `json:"request,omitempty"`
}

// Vouch says in a request that goes on to another server who asks, by the request that came. Whatever the
// caller has said there is overwritten.
func Vouch(out, came *http.Request) {
	c := CallerOf(came.Context())
	v := vouched{User: c.User, Shown: c.Shown, From: addressOf(came)}
	if t, _ := came.Context().Value(trailKey{}).(*trail); t != nil {
		v.Request = t.said.Request
	}
	data, _ := json.Marshal(v)
	out.Header.Set(vouchHeader, string(data))
}

// Passed says that another server has answered, and keeps the entry of the request: it is not kept twice.
func Passed(came *http.Request) {
	if t, _ := came.Context().Value(trailKey{}).(*trail); t != nil {
		t.forget()
	}
}

// behalf makes of a server the one for whom it asks.
func (c Caller) behalf(r *http.Request) Caller {
	var v vouched
	if !c.Server || json.Unmarshal([]byte(r.Header.Get(vouchHeader)), &v) != nil || v.User == "" {
		return c
	}
	c.User, c.Shown, c.vouched = v.User, v.Shown, v
	return c
}

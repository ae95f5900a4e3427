package httpapi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// kept is how long an Idempotency-Key is remembered.
const kept = 24 * time.Hour

const oncePrefix = "once:"

// once is one use of an Idempotency-Key. It is a claim key that is committed with the record, so
// that of two requests at the same time only one can commit. Its value is "<id> <hash> <unix time>".
type once struct {
	api  *API
	key  resource.Ref // zero: no key was given
	hash string
}

func (a *API) idempotency(c *Call, kind, key string, body []byte) once {
	if key == "" {
		return once{}
	}
	sum := func(parts ...string) string {
		h := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
		return hex.EncodeToString(h[:])
	}
	return once{api: a, key: store.ClaimKey(c.Project, oncePrefix+sum(c.User, kind, key)), hash: sum(string(body))}
}

func (o once) claim(b *store.Batch, id resource.ID) {
	if o.api == nil {
		return
	}
	at := strconv.FormatInt(o.api.DB.Now().Unix(), 10)
	b.Claim(o.key, resource.ID(string(id)+" "+o.hash+" "+at))
}

// seen gives what this key has made before, when the view shows it; empty if nothing.
func (o once) seen(ctx context.Context) (resource.ID, error) {
	if o.api == nil {
		return "", nil
	}
	e, err := o.api.DB.Store().Get(ctx, o.key)
	if fault.Is(err, fault.NotFound) {
		return "", nil
	}
	if err != nil {
		return "", fault.Wrap(err, "look up the Idempotency-Key")
	}
	id, hash, at := parseOnce(e.Value)
	if o.api.DB.Now().Sub(at) > kept {
		b := o.api.DB.Begin()
		b.Unclaim(o.key)
		return "", o.api.DB.Commit(ctx, b)
	}
	if hash != o.hash {
		return "", fault.New(fault.Conflict, "this Idempotency-Key was used with another request; use another key")
	}
	return id, o.api.DB.WaitFor(ctx, e.Revision)
}

func parseOnce(value []byte) (resource.ID, string, time.Time) {
	var text string
	_ = json.Unmarshal(value, &text)
	parts := strings.Split(text, " ")
	if len(parts) != 3 {
		return "", "", time.Time{}
	}
	unix, _ := strconv.ParseInt(parts[2], 10, 64)
	return resource.ID(parts[0]), parts[1], time.Unix(unix, 0)
}

// Sweep forgets Idempotency-Keys that are older than a day. The leader calls it now and then.
func (a *API) Sweep(ctx context.Context) error {
	entries, _, err := a.DB.Store().List(ctx, store.NameKind)
	if err != nil {
		return fault.Wrap(err, "list claim keys")
	}
	for _, e := range entries {
		if !strings.HasPrefix(string(e.Key.ID), oncePrefix) {
			continue
		}
		if _, _, at := parseOnce(e.Value); a.DB.Now().Sub(at) > kept {
			b := a.DB.Begin()
			b.Unclaim(e.Key)
			if err := a.DB.Commit(ctx, b); err != nil {
				return fault.Wrap(err, "forget an Idempotency-Key")
			}
		}
	}
	return nil
}

package identity

import (
	"context"
	"time"

	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/identity/keyring"
)

// retireAfter is how long the keys before the newest are kept at least: a value that was sealed with one of
// them may be on its way into the store.
const retireAfter = 10 * time.Minute

// NewSecretLoop wraps with the newest key what an older one wraps. The value itself is not touched. If we
// die at any point, both keys are in the ring, and the next look goes on.
func NewSecretLoop(db *store.DB, w *store.SpecWriter[SecretSpec, SecretStatus], ring *keyring.Ring) *reconcile.Loop {
	return &reconcile.Loop{Name: "identity/secret", Kind: Secrets.Kind, Step: func(ctx context.Context, id resource.ID) (reconcile.Result, error) {
		s := store.Find(db.Snapshot(), Secrets, id)
		if s == nil || s.Deleting != nil || s.Spec.Sealed == nil || s.Spec.Sealed.KeyID == ring.Current() {
			return reconcile.Result{}, nil
		}
		sealed, err := ring.Rewrap(s.Spec.Sealed, s.Ref())
		if err != nil {
			return reconcile.Result{}, err
		}
		b := db.Begin()
		w.Set(b, s, func(spec *SecretSpec) { spec.Sealed = sealed })
		return reconcile.Result{}, db.Commit(ctx, b)
	}}
}

// rewrap looks at every secret that an older key wraps, and then removes the keys that wrap nothing any more.
func rewrap(ctx context.Context, db *store.DB, ring *keyring.Ring, look func(context.Context, resource.ID) (reconcile.Result, error)) error {
	if err := db.CaughtUp(ctx); err != nil {
		return err
	}
	for _, s := range store.Every(db.Snapshot(), Secrets) {
		if _, err := look(ctx, s.ID); err != nil {
			return err
		}
	}
	if db.Now().Sub(ring.Since()) < retireAfter {
		return nil
	}
	used := map[resource.ID]bool{}
	for _, s := range store.Every(db.Snapshot(), Secrets) {
		if s.Spec.Sealed != nil {
			used[s.Spec.Sealed.KeyID] = true
		}
	}
	return ring.Retire(func(id resource.ID) bool { return used[id] })
}

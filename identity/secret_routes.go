package identity

import (
	"context"
	"net/http"
	"reflect"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/identity/keyring"
)

// Revealed is the value of a secret.
type Revealed struct {
	Value []byte `json:"value" doc:"The value, in base64."`
}

// KeyRotation is a new key for secrets.
type KeyRotation struct {
	KeyID string `json:"keyID" doc:"The key that new values use from now on."`
}

// registerSecrets offers secrets, and their rotation.
func registerSecrets(a *httpapi.API, w Writers, ring *keyring.Ring) {
	httpapi.Register(a, Secrets, httpapi.Routes[SecretSpec, SecretStatus]{
		Specs: w.Secrets,
		Ready: func(*Secret) (bool, error) { return true, nil }, // nothing is done to it
		Creating: func(_ context.Context, _ *httpapi.Call, s *Secret) error {
			return seal(ring, s.Ref(), s.Name, &s.Spec, nil)
		},
		Changing: func(_ context.Context, _ *httpapi.Call, old *Secret, spec *SecretSpec) error {
			if reflect.DeepEqual(spec.Sealed, old.Spec.Sealed) {
				spec.Sealed = old.Spec.Sealed
			}
			return seal(ring, old.Ref(), old.Name, spec, old.Spec.Sealed)
		},
	})
	httpapi.Action(a, Secrets, httpapi.Act{Name: "reveal", Summary: "Give the value of a secret",
		Doc: "The audit log tells of it in the commit that comes before the answer."},
		func(_ context.Context, c *httpapi.Call, s *Secret, _ *struct{}) (*Revealed, error) {
			value, err := OpenSecret(ring, s)
			if err != nil {
				return nil, err
			}
			c.Batch.Check(s.Ref(), s.Revision)
			return &Revealed{value}, nil
		})
	type answer struct{ Body KeyRotation }
	httpapi.Handle(a, httpapi.Op{ID: "rotate-secretkey", Action: "secret.rotate-key", Method: http.MethodPost, Path: "/v1/secretkeys/rotate", Right: httpapi.Admin, Tag: "secrets",
		Summary: "Make a new key for secrets", Doc: "New values use it at once; what older keys wrap is wrapped anew, and the older keys go."},
		func(_ context.Context, c *httpapi.Call, _ *struct{}) (*answer, error) {
			if err := ring.Rotate(c.Now()); err != nil {
				return nil, fault.Wrap(err, "rotate the key of secrets")
			}
			return &answer{KeyRotation{string(ring.Current())}}, nil
		})
}

package identity

import (
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/identity/keyring"
)

// maxSecret is how many bytes the value of a secret has at most.
const maxSecret = 64 << 10

// SecretSpec is what a secret is. Its value is written and never read back with it.
type SecretSpec struct {
	// Description is for people.
	Description string `json:"description,omitempty"`
	// Value is a new value, in base64, up to 64 KiB. It is never shown: the action reveal gives it.
	Value []byte `json:"value,omitempty"`
	// Sealed is the value as it is kept, encrypted. Nobody sees it or writes it.
	Sealed *keyring.Sealed `json:"sealed,omitempty"`
}

// SecretStatus has nothing to observe.
type SecretStatus struct{ resource.Observed }

// Secret is a value that others must not see: a password, a key. What needs it refers to it by its id.
type Secret = resource.Record[SecretSpec, SecretStatus]

// Secrets is the kind. It reaches no host: what a host needs of one, it is to ask for.
var Secrets = resource.Define("secret", "secrets", resource.Options[SecretSpec, SecretStatus]{
	Doc: "A value that is kept encrypted and shown only to who may reveal it.", Scope: resource.InProject,
	Counts: map[string]func(*Secret) int64{"secrets": resource.One[SecretSpec, SecretStatus]},
	Guards: map[string]resource.Sight{"spec.value": resource.Nobody, "spec.sealed": resource.Nobody},
})

// seal puts a new value away. Was is how the value was kept before; nil: there was none.
func seal(ring *keyring.Ring, ref resource.Ref, name string, spec *SecretSpec, was *keyring.Sealed) (err error) {
	value := spec.Value
	spec.Value = nil
	wrong := func(field, why string) error {
		return fault.Fields("secret "+name, []fault.Detail{{Field: "spec." + field, Message: why}})
	}
	switch {
	case spec.Sealed != was:
		return wrong("sealed", "is written by the cloud alone; give a value")
	case len(value) > maxSecret:
		return wrong("value", "at most 64 KiB")
	case len(value) > 0:
		spec.Sealed, err = ring.Seal(value, ref)
		return err
	case was == nil:
		return wrong("value", "is needed, in base64")
	}
	return nil
}

// OpenSecret gives the value of a secret, within the server. Who uses it checks first that the record on
// whose behalf it does so refers to it.
func OpenSecret(ring *keyring.Ring, s *Secret) ([]byte, error) {
	if s.Spec.Sealed == nil {
		return nil, fault.New(fault.Precondition, "secret %s has no value; set one: virga secret update %s --from-file FILE", s.Name, s.Name)
	}
	value, err := ring.Open(s.Spec.Sealed, s.Ref())
	return value, fault.Wrap(err, "open secret %s", s.Name)
}

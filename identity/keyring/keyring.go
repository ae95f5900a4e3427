// Package keyring encrypts values with keys that lie outside the record store.
//
// It is an envelope: each value has a data key of its own (AES-256-GCM), which is wrapped by a
// key-encryption key of the ring. The ring is one file of mode 0600 beside the store, never in it and
// never in a backup of the records. A sealed value names the key that wraps it, and is bound to what it
// belongs to: moved to another record it does not open.
//
// Rotation adds a key, which all that is sealed from then on uses; what older keys wrap is wrapped anew
// (the value itself is not touched), one record at a time, and a key goes when nothing names it. The file
// is replaced whole, so that a crash at any step leaves a ring that opens everything: a key is in it
// before anything uses it, and stays until nothing does.
package keyring

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/virga-cloud/virga/engine/durable"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

const keySize = 32

// key is a key-encryption key.
type key struct {
	ID       resource.ID `json:"id"`
	Made     time.Time   `json:"made"`
	Material []byte      `json:"key"`
}

// Ring is the keys of a cloud, the newest last. It may be used by many at once.
type Ring struct {
	path string

	mu   sync.Mutex
	keys []key
}

// Sealed is a value that only a ring with its key opens.
type Sealed struct {
	// KeyID is the key-encryption key.
	KeyID resource.ID `json:"keyID"`
	// DataKey is the value's own key, wrapped.
	DataKey []byte `json:"dataKey"`
	// Value is encrypted with it.
	Value []byte `json:"value"`
}

// Open reads the ring of a file. Existing: the cloud has one, and a file that is missing is an error, as
// another key would open nothing; else the first key is made.
func Open(path string, existing bool, now time.Time) (*Ring, error) {
	r := &Ring{path: path}
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !existing:
		return r, r.Rotate(now)
	case errors.Is(err, fs.ErrNotExist):
		return nil, fault.New(fault.Precondition, "the keys of secrets, %s, are missing: no secret of this cloud can be read; bring the file back from where it was kept", path)
	case err != nil:
		return nil, fault.New(fault.Internal, "read the keys of secrets: %w", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o077 != 0 {
		return nil, fault.New(fault.Precondition, "the keys of secrets, %s, can be read by others; chmod 600 %s, and rotate them", path, path)
	}
	if err := json.Unmarshal(data, &r.keys); err != nil || len(r.keys) == 0 {
		return nil, fault.New(fault.Precondition, "the keys of secrets, %s, are damaged; bring the file back from where it was kept", path)
	}
	for _, k := range r.keys {
		if len(k.Material) != keySize {
			return nil, fault.New(fault.Precondition, "key %s in %s is damaged; bring the file back from where it was kept", k.ID, path)
		}
	}
	return r, nil
}

// InMemory makes a ring that is on no disk: what it seals is for no longer than the program.
func InMemory(now time.Time) (*Ring, error) {
	r := &Ring{}
	return r, r.Rotate(now)
}

// Current is the key that new values use.
func (r *Ring) Current() resource.ID {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.keys[len(r.keys)-1].ID
}

// Since is when the newest key was made.
func (r *Ring) Since() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.keys[len(r.keys)-1].Made
}

// Rotate adds a key. It is on disk before anything uses it.
func (r *Ring) Rotate(now time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := key{ID: resource.NewID(), Made: now.UTC(), Material: make([]byte, keySize)}
	if _, err := rand.Read(k.Material); err != nil {
		return fault.New(fault.Internal, "make a key for secrets: %w", err)
	}
	return r.keep(append(slices.Clone(r.keys), k))
}

// Retire removes the keys that nothing names any more. The newest stays.
func (r *Ring) Retire(used func(resource.ID) bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := r.keys[len(r.keys)-1].ID
	left := slices.DeleteFunc(slices.Clone(r.keys), func(k key) bool { return k.ID != last && !used(k.ID) })
	if len(left) == len(r.keys) {
		return nil
	}
	return r.keep(left)
}

func (r *Ring) keep(keys []key) error {
	if r.path == "" {
		r.keys = keys
		return nil
	}
	data, err := json.Marshal(keys)
	if err == nil {
		err = durable.Write(r.path, data, 0o600)
	}
	if err != nil {
		return fault.New(fault.Internal, "keep the keys of secrets: %w", err)
	}
	r.keys = keys
	return nil
}

// find gives a key; of is what would be opened with it, in words.
func (r *Ring) find(id resource.ID, of string) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range r.keys {
		if k.ID == id {
			return k.Material, nil
		}
	}
	return nil, fault.New(fault.Precondition, "%s cannot be read: its key %s is not in %s; bring that file back from where it was kept, or set the value anew", of, id, r.path)
}

// Seal encrypts a value for what it belongs to.
func (r *Ring) Seal(value []byte, of resource.Ref) (*Sealed, error) {
	own := make([]byte, keySize)
	if _, err := rand.Read(own); err != nil {
		return nil, fault.New(fault.Internal, "make a key for %s: %w", of, err)
	}
	s := &Sealed{KeyID: r.Current()}
	outer, err := r.find(s.KeyID, of.String())
	if err != nil {
		return nil, err
	}
	if s.DataKey, err = encrypt(outer, own, of); err == nil {
		s.Value, err = encrypt(own, value, of)
	}
	return s, err
}

// Open decrypts what was sealed for the same record.
func (r *Ring) Open(s *Sealed, of resource.Ref) ([]byte, error) {
	own, err := r.unwrap(s, of)
	if err != nil {
		return nil, err
	}
	return decrypt(own, s.Value, of)
}

// Rewrap wraps a value's own key with the newest key; it gives the same where that is so already.
func (r *Ring) Rewrap(s *Sealed, of resource.Ref) (*Sealed, error) {
	current := r.Current()
	if s.KeyID == current {
		return s, nil
	}
	own, err := r.unwrap(s, of)
	if err != nil {
		return nil, err
	}
	outer, err := r.find(current, of.String())
	if err != nil {
		return nil, err
	}
	wrapped, err := encrypt(outer, own, of)
	return &Sealed{KeyID: current, DataKey: wrapped, Value: s.Value}, err
}

func (r *Ring) unwrap(s *Sealed, of resource.Ref) ([]byte, error) {
	outer, err := r.find(s.KeyID, of.String())
	if err != nil {
		return nil, err
	}
	return decrypt(outer, s.DataKey, of)
}

// encrypt binds a text to what it belongs to. The nonce stands before it: each key but the outer ones
// encrypts once, and those far fewer than 2^32 times.
func encrypt(with, text []byte, of resource.Ref) ([]byte, error) {
	gcm, err := gcmOf(with)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, gcm.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return nil, fault.New(fault.Internal, "encrypt %s: %w", of, err)
	}
	return gcm.Seal(nonce, nonce, text, []byte(of.String())), nil
}

func decrypt(with, text []byte, of resource.Ref) ([]byte, error) {
	gcm, err := gcmOf(with)
	if err != nil {
		return nil, err
	}
	if len(text) < gcm.NonceSize() {
		return nil, fault.New(fault.Internal, "%s is damaged: what is kept of it is too short", of)
	}
	plain, err := gcm.Open(nil, text[:gcm.NonceSize()], text[gcm.NonceSize():], []byte(of.String()))
	if err != nil {
		return nil, fault.New(fault.Internal, "%s is damaged, or is another record's: %w", of, err)
	}
	return plain, nil
}

func gcmOf(with []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(with)
	if err != nil {
		return nil, fault.New(fault.Internal, "use a key of secrets: %w", err)
	}
	return cipher.NewGCM(block)
}

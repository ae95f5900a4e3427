package identity

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"strings"

	"github.com/virga-cloud/virga/engine/resource"
)

const secretPrefix = "virga."

// NewSecret makes the secret of the record with this id. The id is in it, so that the record is
// found without looking at every other.
func NewSecret(id resource.ID) string {
	b := make([]byte, 32)
	if _, err := rand.Read(b); err != nil {
		panic("identity: no random numbers: " + err.Error())
	}
	return secretPrefix + string(id) + "." + base64.RawURLEncoding.EncodeToString(b)
}

// SecretID is the record that a secret says it belongs to.
func SecretID(secret string) (resource.ID, bool) {
	rest, ok := strings.CutPrefix(secret, secretPrefix)
	if !ok {
		return "", false
	}
	id, _, ok := strings.Cut(rest, ".")
	return resource.ID(id), ok
}

// HashSecret is what is stored of a secret.
func HashSecret(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// Proves reports whether a secret is the one of a hash, in a time that tells nothing.
func Proves(secret, hash string) bool {
	return hash != "" && subtle.ConstantTimeCompare([]byte(HashSecret(secret)), []byte(hash)) == 1
}

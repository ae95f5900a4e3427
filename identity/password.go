package identity

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/argon2"
	"golang.org/x/time/rate"

	"github.com/virga-cloud/virga/engine/fault"
)

// How a password is hashed: 19 MiB and two passes, which OWASP names as the least for Argon2id.
const (
	hashMemory = 19 << 10 // KiB
	hashPasses = 2
	hashLength = 32
	saltLength = 16
)

// How many hashes are made at a time, and how many requests may wait for one: each takes memory and a processor.
const (
	hashing = 2
	waiting = 32
)

// A wrong password may be given a few times; then once in a while. It counts for a user at an address, so that
// nobody locks out somebody else.
const (
	wrongAtOnce = 5
	wrongEvery  = 10 * time.Second
	mostTries   = 10_000 // pairs that are remembered
)

// passwords hashes and proves passwords.
type passwords struct {
	now   func() time.Time
	slots chan struct{}
	queue chan struct{}

	mu    sync.Mutex
	tries map[string]*rate.Limiter
}

func newPasswords(now func() time.Time) *passwords {
	return &passwords{now: now, slots: make(chan struct{}, hashing), queue: make(chan struct{}, waiting), tries: map[string]*rate.Limiter{}}
}

// keep makes the hash of a password that a request brought, and forgets the password.
func (p *passwords) keep(ctx context.Context, spec *UserSpec) error {
	if spec.Password == "" {
		return nil
	}
	salt := make([]byte, saltLength)
	if _, err := rand.Read(salt); err != nil {
		return fault.New(fault.Internal, "make the salt of a password: %w", err)
	}
	sum, err := p.hash(ctx, spec.Password, salt)
	if err != nil {
		return err
	}
	spec.Password = ""
	spec.PasswordHash = fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=1$%s$%s", argon2.Version, hashMemory, hashPasses, coded(salt), coded(sum))
	return nil
}

// prove fails unless a password is the one of a hash. It takes as long where there is no hash, so that nobody learns
// which users there are.
func (p *passwords) prove(ctx context.Context, user, from, password, hash string) error {
	try := user + "\n" + from
	if !p.mayTry(try) {
		return fault.New(fault.Unavailable, "sign in %s: too many wrong passwords from here; wait %s, and try again", user, wrongEvery)
	}
	salt, want := make([]byte, saltLength), make([]byte, hashLength)
	parts := strings.Split(hash, "$")
	known := len(parts) == 6
	if known {
		salt, want = decoded(parts[4]), decoded(parts[5])
	}
	got, err := p.hash(ctx, password, salt)
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(got, want) != 1 || !known {
		p.failed(try)
		return fault.New(fault.Unauthenticated, "the name or the password is wrong")
	}
	return nil
}

func (p *passwords) hash(ctx context.Context, password string, salt []byte) ([]byte, error) {
	select {
	case p.queue <- struct{}{}:
		defer func() { <-p.queue }()
	default:
		return nil, fault.New(fault.Unavailable, "too many sign in at this moment; try again")
	}
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return nil, fault.New(fault.Unavailable, "the caller has gone: %w", ctx.Err())
	}
	return argon2.IDKey([]byte(password), salt, hashPasses, hashMemory, 1, hashLength), nil
}

func (p *passwords) mayTry(try string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.tries[try]
	return l == nil || l.TokensAt(p.now()) >= 1
}

func (p *passwords) failed(try string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.tries) >= mostTries {
		for k, l := range p.tries {
			if l.TokensAt(p.now()) >= wrongAtOnce {
				delete(p.tries, k)
			}
		}
	}
	if p.tries[try] == nil {
		p.tries[try] = rate.NewLimiter(rate.Every(wrongEvery), wrongAtOnce)
	}
	p.tries[try].AllowN(p.now(), 1)
}

func coded(b []byte) string { return base64.RawStdEncoding.EncodeToString(b) }

func decoded(s string) []byte {
	b, _ := base64.RawStdEncoding.DecodeString(s)
	return b
}

package host

import (
	"sync"
	"time"

	"github.com/virga-cloud/virga/engine/resource"
)

// DefaultGrace is how long a host may be silent before it is lost.
const DefaultGrace = 10 * time.Second

// firstWords is how long the servers that just began wait for the hosts before they call one
// unknown that was alive: two heartbeats and some.
const firstWords = 2500 * time.Millisecond

// Listener remembers when the last heartbeat of each host came. Heartbeats are no records: it lives in memory
// and begins anew with the server.
//
// It measures silence in time during which it really listened. Somebody looks several times
// within a grace; a longer pause between two looks means that the clock jumped, or that this
// process stood still (SIGSTOP, a paused host, a busy disk) and could hear nobody. Such a
// pause counts as one look's worth, so a server that wakes up does not declare everybody lost.
type Listener struct {
	grace time.Duration

	mu       sync.Mutex
	last     time.Time
	listened time.Duration
	heard    map[resource.ID]time.Duration // in the time of listened
}

// NewListener begins to listen now. Grace is how long a host may be silent; 0: DefaultGrace.
func NewListener(grace time.Duration, now time.Time) *Listener {
	if grace <= 0 {
		grace = DefaultGrace
	}
	return &Listener{grace: grace, last: now, heard: map[resource.ID]time.Duration{}}
}

// Restart forgets all heartbeats: a server that leads again has not listened meanwhile.
func (l *Listener) Restart(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last, l.listened = now, 0
	clear(l.heard)
}

// Heartbeat takes a heartbeat.
func (l *Listener) Heartbeat(id resource.ID, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pass(at)
	l.heard[id] = l.listened
}

// Forget drops a host that is gone.
func (l *Listener) Forget(id resource.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.heard, id)
}

// State says what is known of a host, and when that may change if no heartbeat comes.
func (l *Listener) State(id resource.ID, now time.Time) (LifeState, time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pass(now)
	at, ever := l.heard[id]
	return judge(l.grace, l.listened, at, ever)
}

// settled reports whether every host that lives has had the time to send two heartbeats.
func (l *Listener) settled() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.listened >= min(firstWords, l.grace/2)
}

// Every is how often somebody has to look for a pause to be noticed as one.
func (l *Listener) Every() time.Duration { return min(l.grace/4, time.Second) }

func (l *Listener) pass(now time.Time) {
	passed := now.Sub(l.last)
	l.last = now
	l.listened += min(max(passed, 0), 2*l.Every())
}

// judge decides. All times are times of listening.
func judge(grace, listened, heardAt time.Duration, ever bool) (LifeState, time.Duration) {
	silence := listened
	if ever {
		silence -= heardAt
	}
	switch {
	case silence >= grace:
		return Lost, 0
	case ever:
		return Alive, grace - silence
	default:
		return Unknown, grace - silence
	}
}

package onhost

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limit is what one guest may ask of a responder. The switch lets no guest forge its address, so
// that one that floods harms itself alone.
type Limit struct {
	// PerSecond and Burst are questions.
	PerSecond float64
	Burst     int
	// AtOnce are questions that are being answered.
	AtOnce int
	// Connections are open TCP connections.
	Connections int
}

// Limiter holds guests to a Limit. It remembers a guest while it asks, and a minute longer.
type Limiter struct {
	limit  Limit
	mu     sync.Mutex
	guests map[netip.Addr]*asker
	swept  time.Time
}

type asker struct {
	rate              *rate.Limiter
	asking, connected int
	last              time.Time
}

const askerKept = time.Minute

// NewLimiter makes a limiter.
func NewLimiter(l Limit) *Limiter { return &Limiter{limit: l, guests: map[netip.Addr]*asker{}} }

// Begin counts a question; without ok it is not to be answered. Done says that it was answered.
func (l *Limiter) Begin(guest netip.Addr) (done func(), ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.asker(guest)
	if a.asking >= l.limit.AtOnce || !a.rate.Allow() {
		return nil, false
	}
	a.asking++
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		a.asking--
	}), true
}

// Listener closes a guest's connections that are too many.
func (l *Limiter) Listener(inner net.Listener) net.Listener { return &limited{inner, l} }

type limited struct {
	net.Listener
	limiter *Limiter
}

func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if done, ok := l.limiter.connect(c.RemoteAddr()); ok {
			return &counted{c, done}, nil
		}
		c.Close()
	}
}

type counted struct {
	net.Conn
	done func()
}

func (c *counted) Close() error {
	c.done()
	return c.Conn.Close()
}

func (l *Limiter) connect(remote net.Addr) (done func(), ok bool) {
	var guest netip.Addr
	if tcp, isTCP := remote.(*net.TCPAddr); isTCP {
		guest = tcp.AddrPort().Addr().Unmap()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.asker(guest)
	if a.connected >= l.limit.Connections {
		return nil, false
	}
	a.connected++
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		a.connected--
	}), true
}

func (l *Limiter) asker(guest netip.Addr) *asker {
	now := time.Now()
	if now.Sub(l.swept) > askerKept {
		l.swept = now
		for who, a := range l.guests {
			if a.asking == 0 && a.connected == 0 && now.Sub(a.last) > askerKept {
				delete(l.guests, who)
			}
		}
	}
	a := l.guests[guest]
	if a == nil {
		a = &asker{rate: rate.NewLimiter(rate.Limit(l.limit.PerSecond), l.limit.Burst)}
		l.guests[guest] = a
	}
	a.last = now
	return a
}

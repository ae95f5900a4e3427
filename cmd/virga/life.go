package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/virga-cloud/virga/engine/durable"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// Which life of the records this is, the server says in the answer to each heartbeat, and a host compares it
// with what it knows.
const (
	lifeHeader    = "Virga-Incarnation"
	settledHeader = "Virga-Incarnation-Settled"
)

// life is what the server says, read again every few seconds: a person settles it by any server.
type life struct {
	mu  sync.Mutex
	now store.Incarnation
}

func (l *life) read(ctx context.Context, s store.Store) error {
	i, err := store.ReadIncarnation(ctx, s)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = i
	return nil
}

func (l *life) run(ctx context.Context, s store.Store) {
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := l.read(ctx, s); err != nil && ctx.Err() == nil {
			slog.Warn("which life of the records this is cannot be read", "error", err)
		}
	}
}

// said puts it into the answers of a handler.
func (l *life) said(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.mu.Lock()
		i := l.now
		l.mu.Unlock()
		w.Header().Set(lifeHeader, string(i.ID))
		w.Header().Set(settledHeader, i.Settled)
		h.ServeHTTP(w, r)
	})
}

// hearLife takes it on a host.
func (a *agent) hearLife(h http.Header) {
	id := resource.ID(h.Get(lifeHeader))
	if id == "" {
		return
	}
	f := folders{state: a.c.state}
	before := f.acquaintance()
	now := before.Hear(id, h.Get(settledHeader))
	if now != before {
		if err := f.acquaint(now); err != nil {
			slog.Error("which life of the records this host knows cannot be kept; nothing is removed here", "error", err)
			now = store.Acquaintance{Known: before.Known, Other: id}
		}
		if err := now.Doubt(); err != nil {
			slog.Warn("the records are not those that this host knew", "why", err)
		} else if before.Doubt() != nil {
			slog.Info("the records are settled; what has no record may be removed again")
		}
	}
	a.known.Store(&now)
}

// seenFile has the highest revision that this server has seen of its records. It lies beside the store, so
// that an older copy of the store alone is found to be one.
func (c *config) seenFile() string { return c.in("seen") }

// notOlder refuses records that end before what was seen of them.
func (c *config) notOlder(revision int64) error {
	data, err := os.ReadFile(c.seenFile())
	if err != nil {
		return nil
	}
	seen, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	if err != nil || revision >= seen {
		return nil
	}
	return fault.New(fault.Precondition, "the records in %s are older than this cloud: they end at revision %d, and %d was there already. Bring back the newest backup by virga restore FILE%s, or take these as one by virga restore --in-place",
		c.in("store"), revision, seen, c.newestBackup())
}

// keepSeen writes it down every now and then, and at the end.
func (s *server) keepSeen(ctx context.Context) {
	tick := time.NewTicker(30 * time.Second)
	defer tick.Stop()
	for last := int64(0); ; {
		if now := s.db.Revision(); now > last {
			if err := durable.Write(s.c.seenFile(), fmt.Appendln(nil, now), 0o600); err != nil {
				slog.Warn("how far the records go cannot be written down", "error", err)
			}
			last = now
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

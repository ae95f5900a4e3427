package remote

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/store"
)

const buffer = 4096 // revisions a watcher may lag behind

// Watch implements store.Store.
func (r *remote) Watch(ctx context.Context, after int64) (store.Watch, error) {
	inner, cancel := context.WithCancel(ctx)
	request, err := http.NewRequestWithContext(inner, http.MethodGet, r.watchURL(after), nil)
	if err != nil {
		cancel()
		return nil, fault.New(fault.Internal, "watch: %w", err)
	}
	// The server answers at once, with a sign of life; one that does not is not there.
	guard := time.AfterFunc(30*time.Second, cancel)
	answer, err := r.watcher.Do(request)
	guard.Stop()
	if err != nil {
		cancel()
		return nil, fault.New(fault.Unavailable, "watch: %w", err)
	}
	if answer.StatusCode != http.StatusOK {
		defer cancel()
		defer drain(answer.Body)
		return nil, readFault(answer)
	}
	w := &watch{cancel: cancel, changes: make(chan store.Changes, buffer), done: make(chan struct{}), silence: 3 * keepalive}
	if ms, err := strconv.Atoi(answer.Header.Get(keepaliveHeader)); err == nil && ms > 0 {
		w.silence = 3 * time.Duration(ms) * time.Millisecond
	}
	go func() {
		defer close(w.done)
		defer cancel()
		defer answer.Body.Close()
		w.end(ctx, w.read(answer))
	}()
	return w, nil
}

type watch struct {
	cancel  context.CancelFunc
	changes chan store.Changes
	done    chan struct{}
	silence time.Duration

	mu      sync.Mutex
	stopped bool
	err     error
}

func (w *watch) Changes() <-chan store.Changes { return w.changes }

func (w *watch) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// Stop ends the watch and waits for it.
func (w *watch) Stop() {
	w.mu.Lock()
	w.stopped = true
	w.mu.Unlock()
	w.cancel()
	<-w.done
}

// read passes lines on until the link breaks, is silent for too long, or the reader is too slow.
func (w *watch) read(answer *http.Response) error {
	silent := false
	guard := time.AfterFunc(w.silence, func() {
		w.mu.Lock()
		silent = true
		w.mu.Unlock()
		w.cancel()
	})
	defer guard.Stop()
	in := bufio.NewReader(answer.Body)
	for {
		text, err := in.ReadBytes('\n')
		if err != nil {
			w.mu.Lock()
			defer w.mu.Unlock()
			if silent {
				return fault.New(fault.Unavailable, "watch: nothing came from the server for %s", w.silence)
			}
			return fault.New(fault.Unavailable, "watch: the link to the server broke: %w", err)
		}
		guard.Reset(w.silence)
		var line lineWire
		if err := json.Unmarshal(text, &line); err != nil {
			return fault.New(fault.Unavailable, "watch: read what the server tells: %w", err)
		}
		if line.Fault != nil {
			return line.Fault.err()
		}
		if line.Revision == 0 {
			continue
		}
		c := store.Changes{Revision: line.Revision}
		for _, e := range line.Events {
			c.Events = append(c.Events, store.Event(e))
		}
		select {
		case w.changes <- c:
		default:
			return fault.New(fault.TooLate, "watch: the reader is more than %d revisions behind; list again", buffer)
		}
	}
}

// end keeps why the watch ended, unless its owner wanted it to, and only then closes it.
func (w *watch) end(ctx context.Context, err error) {
	w.mu.Lock()
	if !w.stopped && ctx.Err() == nil {
		w.err = err
	}
	w.mu.Unlock()
	close(w.changes)
}

package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/virga-cloud/virga/engine/resource"
)

// Registry hands out the right to write one half of one kind, once. It is made in cmd/virga, which
// thereby reads as the list of who writes what. A right that is asked for twice is an error of
// the program: Err gives it after everything is wired, and the daemon does not start.
type Registry struct {
	mu    sync.Mutex
	given map[string]string
	errs  []error
}

// NewRegistry makes an empty registry.
func NewRegistry() *Registry { return &Registry{given: map[string]string{}} }

// Err lists every right that was handed out twice.
func (l *Registry) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(l.errs...)
}

// Given lists who holds which right: "vm spec" -> "api".
func (l *Registry) Given() map[string]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make(map[string]string, len(l.given))
	for k, v := range l.given {
		out[k] = v
	}
	return out
}

func (l *Registry) give(kind resource.Kind, half, writer string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	right := string(kind) + " " + half
	if first, taken := l.given[right]; taken {
		l.errs = append(l.errs, fmt.Errorf("the right to write %s is asked for by %q and was given to %q", right, writer, first))
		return
	}
	l.given[right] = writer
}

// SpecWriter writes the specs of one kind: creation, spec, deletion mark.
type SpecWriter[S, T any] struct{ kind *resource.Type[S, T] }

// Specs hands the right to write the specs of a kind to a writer.
func Specs[S, T any](l *Registry, t *resource.Type[S, T], writer string) *SpecWriter[S, T] {
	l.give(t.Kind, "spec", writer)
	return &SpecWriter[S, T]{kind: t}
}

// Create adds a new record. The id is minted here unless the caller did; holders are who must
// let go before it can be deleted.
func (w *SpecWriter[S, T]) Create(b *Batch, r *resource.Record[S, T], holders ...string) {
	r.Kind = w.kind.Kind
	if r.ID == "" {
		r.ID = resource.NewID()
	}
	if r.Name == "" {
		r.Name = string(r.ID)
	}
	r.Holders = append(r.Holders, holders...)
	create(b, r)
}

// Set changes the spec; the generation rises by one if that changes anything.
func (w *SpecWriter[S, T]) Set(b *Batch, r *resource.Record[S, T], change func(*S)) {
	edit(b, r, func(mine *resource.Record[S, T]) {
		before, _ := json.Marshal(mine.Spec)
		change(&mine.Spec)
		if after, _ := json.Marshal(mine.Spec); !bytes.Equal(before, after) {
			mine.Generation++
		}
	})
	b.widen(r.Ref())
}

// Label replaces the labels.
func (w *SpecWriter[S, T]) Label(b *Batch, r *resource.Record[S, T], labels map[string]string) {
	edit(b, r, func(mine *resource.Record[S, T]) { mine.Labels = labels })
	b.widen(r.Ref())
}

// Rename gives the record another name, which nobody else of its kind and project may have.
func (w *SpecWriter[S, T]) Rename(b *Batch, r *resource.Record[S, T], name string) {
	edit(b, r, func(mine *resource.Record[S, T]) { mine.Name = name })
	b.widen(r.Ref())
}

// Own makes a record go with another one, or, without one, stand alone.
func (w *SpecWriter[S, T]) Own(b *Batch, r *resource.Record[S, T], owner *resource.Ref) {
	edit(b, r, func(mine *resource.Record[S, T]) { mine.Owner = owner })
	b.widen(r.Ref())
}

// Delete marks the record for deletion; it goes when the last holder lets go.
func (w *SpecWriter[S, T]) Delete(b *Batch, r *resource.Record[S, T]) { MarkDeleting(b, r) }

// StatusWriter writes the observations of one kind.
type StatusWriter[S, T any] struct{ kind *resource.Type[S, T] }

// Statuses hands the right to write the statuses of a kind to a writer.
func Statuses[S, T any](l *Registry, t *resource.Type[S, T], writer string) *StatusWriter[S, T] {
	l.give(t.Kind, "status", writer)
	return &StatusWriter[S, T]{kind: t}
}

// Set changes the status; writing what is there already writes nothing.
func (w *StatusWriter[S, T]) Set(b *Batch, r *resource.Record[S, T], change func(*T)) {
	edit(b, r, func(mine *resource.Record[S, T]) { change(&mine.Status) })
}

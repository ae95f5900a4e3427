package store

import (
	"fmt"

	"github.com/hashicorp/go-memdb"

	"github.com/virga-cloud/virga/engine/resource"
)

// The indexes of the view make their keys from the records when they need them, and keep none beside: a
// cloud has millions of records, and the words in their keys are in the records already.

// one is an index with one key a record.
type one func(*row) string

// FromObject implements memdb.SingleIndexer.
func (f one) FromObject(raw any) (bool, []byte, error) { return true, key(f(raw.(*row))), nil }

// FromArgs implements memdb.Indexer.
func (f one) FromArgs(args ...any) ([]byte, error) { return keyOf(args) }

// PrefixFromArgs implements memdb.PrefixIndexer.
func (f one) PrefixFromArgs(args ...any) ([]byte, error) { return prefixOf(args) }

// several is an index with any number of keys a record.
type several func(*row) []string

// FromObject implements memdb.MultiIndexer.
func (f several) FromObject(raw any) (bool, [][]byte, error) {
	texts := f(raw.(*row))
	out := make([][]byte, len(texts))
	for i, text := range texts {
		out[i] = key(text)
	}
	return len(out) > 0, out, nil
}

// FromArgs implements memdb.Indexer.
func (f several) FromArgs(args ...any) ([]byte, error) { return keyOf(args) }

// PrefixFromArgs implements memdb.PrefixIndexer.
func (f several) PrefixFromArgs(args ...any) ([]byte, error) { return prefixOf(args) }

// key ends with a zero, so that no key is the beginning of another.
func key(text string) []byte { return append([]byte(text), 0) }

func keyOf(args []any) ([]byte, error) {
	prefix, err := prefixOf(args)
	return append(prefix, 0), err
}

func prefixOf(args []any) ([]byte, error) {
	if len(args) == 1 {
		if text, ok := args[0].(string); ok {
			return []byte(text), nil
		}
	}
	return nil, fmt.Errorf("an index of the view is asked with one text, not %v", args)
}

var schema = &memdb.DBSchema{Tables: map[string]*memdb.TableSchema{totals: totalsTable, table: {
	Name: table,
	Indexes: map[string]*memdb.IndexSchema{
		"id":    {Name: "id", Unique: true, Indexer: one(func(r *row) string { return string(r.head().ID) })},
		"kind":  {Name: "kind", Indexer: one(func(r *row) string { return string(r.head().Kind) })},
		"name":  {Name: "name", Unique: true, Indexer: one(func(r *row) string { return named(r.head().Kind, r.head().Project, r.head().Name) })},
		"place": {Name: "place", Unique: true, Indexer: one(func(r *row) string { return place(r.head().Ref()) })},
		"ref":   {Name: "ref", AllowMissing: true, Indexer: several(func(r *row) []string { return r.mentions() })},
		"host":  {Name: "host", AllowMissing: true, Indexer: several(func(r *row) []string { return r.hosts() })},
	},
}}}

// row is what the in-memory database holds: one table for all kinds.
type row struct {
	kind   *resource.Descriptor
	Object resource.Object
}

func (r *row) head() *resource.Meta { return r.Object.Head() }

// mentions lists what the record refers to, for who asks by the other and the kind of this one.
func (r *row) mentions() (out []string) {
	for _, ref := range r.kind.Refs(r.Object) {
		out = append(out, mention(ref.ID, r.head().Kind))
	}
	return out
}

func (r *row) hosts() (out []string) {
	for _, id := range r.kind.Hosts(r.Object) {
		out = append(out, string(id))
	}
	return out
}

func mention(of resource.ID, by resource.Kind) string { return string(of) + "\x00" + string(by) }

func named(kind resource.Kind, project, name string) string {
	return string(kind) + "\x00" + project + "\x00" + name
}

func place(ref resource.Ref) string { return named(ref.Kind, ref.Project, string(ref.ID)) }

package resource

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sort"
)

// Scope says to whom a kind belongs.
type Scope string

// The scopes.
const (
	InProject Scope = "project" // owned by a tenant; key, name and route carry the project
	InCloud   Scope = "cloud"   // one for the whole cloud; the project is empty
)

// Reach says which hosts' agents may see a kind.
type Reach string

// The reaches.
const (
	NoHost    Reach = ""      // agents never see it
	NamedHost Reach = "named" // the agents of the hosts that the record refers to
	EveryHost Reach = "every" // all agents
)

// Tie says what a need means for what is needed.
type Tie string

// The ties.
const (
	Keeping   Tie = ""          // it is not deleted meanwhile: who tries is told who needs it
	Alone     Tie = "alone"     // the same, and only one record may need it so: a volume is a disk of one VM
	Following Tie = "following" // it may be deleted: who needs it goes with it, or outlives it
)

// Need is a reference of a spec that is held by the commit that makes it: what is needed exists then
// and is not being deleted, or the commit fails.
type Need struct {
	Ref
	Tie Tie
}

// Descriptor is what generic code knows of a kind.
type Descriptor struct {
	Kind   Kind
	Plural string // the word in routes and on the command line: "vms"
	Doc    string // one sentence for the reference
	Scope  Scope
	Reach  Reach
	// HostMakes allows an agent to create and remove records of this kind that refer to its host.
	HostMakes bool
	// New makes an empty record to decode into.
	New func() Object
	// Tenant marks the kind whose records are the projects of all others.
	Tenant bool
	// Past marks what tells of the past: it neither needs its project nor keeps it.
	Past bool
	// Refs lists the records that a record speaks of, its owner and its needs among them. It feeds the one index of
	// the view, the triggers of the loops, and what an agent may see. Empty ids are dropped.
	Refs func(Object) []Ref
	// Needs lists the references that the commit holds which makes them. Empty ids are dropped.
	Needs func(Object) []Need
	// Takes lists what this record alone may have, in words: "ip:<network>:10.0.0.7".
	Takes func(Object) []string
	// Totals are the names under which a quota may limit what a project has of this kind, sorted, and Count says by
	// how much a record adds to one of them.
	Totals []string
	Count  func(x Object, total string) int64
	// See gives a record as it is shown: with the name that its project has now, and without what is not to
	// be seen. It is the one place where fields are left out.
	See func(x Object, as Sight, project string) Object
	// Guards are the fields that not everybody sees, by their JSON paths.
	Guards map[string]Sight
}

// Type is a Descriptor that knows its Go types.
type Type[S, T any] struct {
	Descriptor
	guards []guard
}

// Options are the optional parts of a kind.
type Options[S, T any] struct {
	Doc       string
	Scope     Scope
	Reach     Reach
	HostMakes bool
	Tenant    bool
	Past      bool
	Refs      func(*Record[S, T]) []Ref // beside the needs: of the status, and back to who made it
	Needs     func(*Record[S, T]) []Need
	Takes     func(*Record[S, T]) []string
	// Counts says what a quota may limit, by its name ("vms", "memoryMiB"), and by how much a record adds to it.
	Counts map[string]func(*Record[S, T]) int64
	// Guards say of fields, by their JSON paths ("spec.hash"), how much sight it takes to see them.
	// Those that are not named are seen by everybody who may read the record.
	Guards map[string]Sight
}

// Define makes a kind. It is called once for each noun, in the noun's own file.
func Define[S, T any](kind Kind, plural string, o Options[S, T]) *Type[S, T] {
	for path, least := range o.Guards {
		if least == Nobody && o.Reach != NoHost {
			panic(fmt.Sprintf("resource: nobody may see %s of kind %q, but it reaches hosts", path, kind))
		}
	}
	t := &Type[S, T]{guards: guards(kind, reflect.TypeFor[Record[S, T]](), o.Guards)}
	t.Descriptor = Descriptor{
		Kind: kind, Plural: plural, Doc: o.Doc, Scope: o.Scope, Reach: o.Reach, HostMakes: o.HostMakes, Tenant: o.Tenant, Past: o.Past, Guards: o.Guards,
		New: func() Object { return new(Record[S, T]) },
		Needs: func(x Object) []Need {
			return slices.DeleteFunc(told(o.Needs, x), func(n Need) bool { return n.ID == "" })
		},
		Takes:  func(x Object) []string { return told(o.Takes, x) },
		Totals: slices.Sorted(maps.Keys(o.Counts)),
		Count:  func(x Object, total string) int64 { return o.Counts[total](x.(*Record[S, T])) },
		See: func(x Object, as Sight, project string) Object {
			return t.Seen(x.(*Record[S, T]), as, project)
		},
	}
	t.Refs = func(x Object) []Ref {
		var out []Ref
		if owner := x.Head().Owner; owner != nil {
			out = append(out, *owner)
		}
		for _, ref := range told(o.Refs, x) {
			if ref.ID != "" {
				out = append(out, ref)
			}
		}
		for _, n := range t.Needs(x) {
			if !slices.Contains(out, n.Ref) {
				out = append(out, n.Ref)
			}
		}
		return out
	}
	return t
}

// One counts each record as one.
func One[S, T any](*Record[S, T]) int64 { return 1 }

// told asks a part of a kind that may be left out.
func told[S, T, Out any](ask func(*Record[S, T]) Out, x Object) (out Out) {
	if ask == nil {
		return out
	}
	return ask(x.(*Record[S, T]))
}

// Describe gives the descriptor; it lets a list of types of different Go types be made.
func (t *Type[S, T]) Describe() Descriptor { return t.Descriptor }

// Noun is a Type of any Go types; a domain lists its own.
type Noun interface{ Describe() Descriptor }

// Catalog is the closed list of kinds that a program knows.
type Catalog struct {
	kinds  map[Kind]Descriptor
	tenant Descriptor
}

// NewCatalog makes a catalog; a kind that is given twice is an error of the program.
func NewCatalog(types ...Noun) *Catalog {
	c := &Catalog{kinds: map[Kind]Descriptor{}}
	for _, t := range types {
		d := t.Describe()
		if _, twice := c.kinds[d.Kind]; twice {
			panic(fmt.Sprintf("resource: kind %q is defined twice", d.Kind))
		}
		c.kinds[d.Kind] = d
		if d.Tenant {
			c.tenant = d
		}
	}
	return c
}

// Lookup finds a kind.
func (c *Catalog) Lookup(kind Kind) (Descriptor, bool) {
	d, ok := c.kinds[kind]
	return d, ok
}

// Tenant gives the kind whose records are projects.
func (c *Catalog) Tenant() (Descriptor, bool) { return c.tenant, c.tenant.Tenant }

// All lists the kinds by name.
func (c *Catalog) All() []Descriptor {
	out := make([]Descriptor, 0, len(c.kinds))
	for _, d := range c.kinds {
		out = append(out, d)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Kind < out[j].Kind })
	return out
}

// Totals lists what a quota may limit, by name.
func (c *Catalog) Totals() []string {
	all := map[string]bool{}
	for _, d := range c.kinds {
		for _, name := range d.Totals {
			all[name] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// AnyHost stands among the hosts of a record for all of them.
const AnyHost ID = "*"

// Hosts lists the hosts whose agents may see a record; AnyHost: all.
func (d Descriptor) Hosts(x Object) []ID {
	switch d.Reach {
	case EveryHost:
		return []ID{AnyHost}
	case NamedHost:
		return d.HostsNamed(x)
	}
	return nil
}

// HostsNamed lists the hosts that a record refers to, and the host that it is.
func (d Descriptor) HostsNamed(x Object) []ID {
	var out []ID
	if d.Kind == hostKind {
		out = append(out, x.Head().ID)
	}
	for _, ref := range d.Refs(x) {
		if ref.Kind == hostKind && !slices.Contains(out, ref.ID) {
			out = append(out, ref.ID)
		}
	}
	return out
}

// hostKind is the one kind that the engine has heard of: records go to hosts by it.
const hostKind Kind = "host"

// Decode makes a record of its stored form. The revision is the store's.
func (d Descriptor) Decode(value []byte, revision int64) (Object, error) {
	x := d.New()
	if err := read(value, x); err != nil {
		return nil, fmt.Errorf("decode %s: %w", d.Kind, err)
	}
	x.Head().Revision = revision
	return x, nil
}

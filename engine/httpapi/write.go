package httpapi

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// Judging asks what would be; exported, as huma sees no other embedded fields.
type Judging struct {
	DryRun bool `query:"dryRun" doc:"Judge the request and answer what would be, and change nothing."`
}

type createIn struct {
	rawBody
	Readiness
	Judging
	Key string `header:"Idempotency-Key" maxLength:"200" doc:"A word of the caller's: the same key with the same request within 24 hours makes one record."`
}

func (k *kind[S, T]) registerCreate() {
	op := Op{ID: "create-" + string(k.Kind), Action: k.action(Create), Method: http.MethodPost, Path: k.path(), Right: k.Writing, Tag: k.Plural, Status: http.StatusCreated,
		Summary: "Create a " + string(k.Kind), Doc: k.Doc, params: pathParameters(k.path()),
		body: documented(map[string]*huma.Schema{"application/json": k.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Draft[S]](), true, "")})}
	handle(k.api, op, func(ctx context.Context, c *Call, in *createIn) (*one[S, T], error) {
		if _, err := timeout(in.Timeout); err != nil {
			return nil, err // before anything is made
		}
		made, err := k.create(ctx, c, in)
		if err != nil {
			return nil, err
		}
		if in.DryRun {
			return k.answer(c, http.StatusOK, made), nil
		}
		if made, err = k.await(ctx, c, in.Readiness, made); err != nil {
			return nil, err
		}
		out := k.answer(c, http.StatusCreated, made)
		out.Location = strings.ReplaceAll(k.path(), "{project}", k.api.projectName(c.Project)) + "/" + made.Name
		return out, nil
	})
}

// create makes one record, also when the same request comes twice at the same time.
func (k *kind[S, T]) create(ctx context.Context, c *Call, in *createIn) (*resource.Record[S, T], error) {
	if c.dry = in.DryRun; c.dry {
		in.Key = "" // a request that makes nothing is not the one that will
	}
	body := in.Body
	if slices.Contains(slices.Collect(maps.Values(k.Guards)), resource.Nobody) {
		body = nil // a hash of what nobody may see would let it be guessed
	}
	once := k.api.idempotency(c, string(k.Kind), in.Key, body)
	if id, err := once.seen(ctx); err != nil {
		return nil, err
	} else if id != "" {
		return k.madeBefore(c, id)
	}
	var made *resource.Record[S, T]
	err := k.api.commit(ctx, c, func() (err error) {
		if made, err = k.build(ctx, c, in.Body); err == nil {
			once.claim(c.Batch, made.ID)
			c.Note("create", &made.Meta)
		}
		return err
	})
	if fault.Is(err, fault.Exists) {
		// Somebody was faster; perhaps it was this very request.
		if id, again := once.seen(ctx); again != nil {
			return nil, again
		} else if id != "" {
			return k.madeBefore(c, id)
		}
	}
	if fault.Is(err, fault.Exists) && made != nil && store.Named(k.api.DB.Snapshot(), k.Type, c.Project, made.Name) != nil {
		return nil, fault.New(fault.Exists, "%s %q is there already; pick another name, or use it", k.Kind, made.Name)
	}
	if err != nil || c.dry {
		return made, err
	}
	return store.Need(k.api.DB.Snapshot(), k.Type, made.ID)
}

func (k *kind[S, T]) madeBefore(c *Call, id resource.ID) (*resource.Record[S, T], error) {
	r := store.Find(k.api.DB.Snapshot(), k.Type, id)
	if r == nil || !k.sees(c.Caller, r) {
		return nil, fault.New(fault.NotFound, "the %s that this Idempotency-Key made is deleted; use another key", k.Kind)
	}
	return r, nil
}

// build makes the record and its writes.
func (k *kind[S, T]) build(ctx context.Context, c *Call, raw []byte) (*resource.Record[S, T], error) {
	project, err := k.api.project(c)
	if err != nil {
		return nil, err
	}
	if project != nil && project.Deleting != nil { // early and in words; the commit holds it
		return nil, fault.New(fault.Precondition, "project %s is being deleted; use another", project.Name)
	}
	in := &Draft[S]{}
	if err := k.request(c, raw, in); err != nil {
		return nil, err
	}
	made := &resource.Record[S, T]{Meta: resource.Meta{Kind: k.Kind, ID: resource.NewID(), Name: in.Name, Project: c.Project, Labels: in.Labels}, Spec: in.Spec}
	if err := CheckName(in.Name); err != nil {
		return made, err
	}
	if err := checkLabels(in.Labels); err != nil {
		return made, err
	}
	if store.Named(c.Snapshot, k.Type, c.Project, made.Name) != nil {
		return made, fault.New(fault.Exists, "%s %q is there already; pick another name, or use it", k.Kind, made.Name)
	}
	if err := k.checked("create", made.Name, &made.Spec); err != nil {
		return made, err
	}
	if k.Creating != nil {
		if err := k.Creating(ctx, c, made); err != nil {
			return made, err
		}
	}
	k.Specs.Create(c.Batch, made, k.Holders...)
	return made, nil
}

// request reads one strictly, with the ids of records in the place of their names.
func (k *kind[S, T]) request(c *Call, raw []byte, into any) error {
	raw, err := k.written(c, raw)
	if err != nil {
		return err
	}
	if err := k.api.decode(raw, into); err != nil {
		return err
	}
	return k.api.resolve(c, into)
}

// checked fills a spec's defaults and refuses what is wrong with it.
func (k *kind[S, T]) checked(verb, name string, spec *S) error {
	if k.Default != nil {
		k.Default(spec)
	}
	if k.Check == nil {
		return nil
	}
	details := k.Check(spec)
	for i, d := range details {
		if d.Field != "spec" && !strings.HasPrefix(d.Field, "spec.") {
			details[i].Field = "spec." + d.Field
		}
	}
	return fault.Fields(verb+" "+string(k.Kind)+" "+name, details)
}

type changeIn struct {
	rawBody
	Readiness
	Conditions
	Judging
}

func (k *kind[S, T]) registerUpdate() {
	whole := k.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Change[S]](), true, "")
	part := &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true,
		Description: "A JSON merge patch (RFC 7396) of name, labels and spec: what is named is changed, null removes, the rest stays."}
	op := Op{Action: k.action(Update), Path: k.onePath(), Right: k.Writing, Tag: k.Plural, Doc: k.Doc, params: pathParameters(k.onePath())}
	put, patch := op, op
	put.ID, put.Method, put.Summary = "replace-"+string(k.Kind), http.MethodPut, "Replace name, labels and spec of a "+string(k.Kind)
	put.body = documented(map[string]*huma.Schema{"application/json": whole})
	patch.ID, patch.Method, patch.Summary = "update-"+string(k.Kind), http.MethodPatch, "Change name, labels and spec of a "+string(k.Kind)
	patch.body = documented(map[string]*huma.Schema{"application/json": part, "application/merge-patch+json": part})
	patch.params = pathParameters(k.onePath())
	handle(k.api, put, func(ctx context.Context, c *Call, in *changeIn) (*one[S, T], error) {
		return k.change(ctx, c, in, func(*resource.Record[S, T]) map[string]any { return map[string]any{} })
	})
	handle(k.api, patch, func(ctx context.Context, c *Call, in *changeIn) (*one[S, T], error) {
		return k.change(ctx, c, in, func(r *resource.Record[S, T]) map[string]any {
			return tree(Change[S]{Name: r.Name, Labels: r.Labels, Spec: r.Spec})
		})
	})
}

// change writes a record anew: what the request says, on top of what base says.
func (k *kind[S, T]) change(ctx context.Context, c *Call, in *changeIn, base func(*resource.Record[S, T]) map[string]any) (*one[S, T], error) {
	if _, err := timeout(in.Timeout); err != nil {
		return nil, err // before anything is changed
	}
	var id resource.ID
	var would *resource.Record[S, T]
	c.dry = in.DryRun
	err := k.api.commit(ctx, c, func() error {
		r, err := k.find(c, c.PathValue("name"))
		if err != nil {
			return err
		}
		id = r.ID
		if _, err := c.conditions(&r.Meta); err != nil {
			return err
		}
		if r.Deleting != nil {
			return fault.New(fault.Precondition, "%s %s is being deleted and is changed no more", k.Kind, r.Name)
		}
		wanted, err := k.merged(c, r, base(r), in.Body)
		if err != nil {
			return err
		}
		if k.Changing != nil {
			if err := k.Changing(ctx, c, r, &wanted.Spec); err != nil {
				return err
			}
		}
		verb := "update"
		if wanted.Name != "" && wanted.Name != r.Name {
			verb = "rename"
			if err := k.rename(c, r, wanted.Name); err != nil {
				return err
			}
		}
		k.Specs.Set(c.Batch, r, func(s *S) { *s = wanted.Spec })
		k.Specs.Label(c.Batch, r, wanted.Labels)
		if c.dry {
			would = resource.Copy(r)
			would.Name, would.Spec, would.Labels = cmp.Or(wanted.Name, r.Name), wanted.Spec, wanted.Labels
		}
		if !c.Batch.Empty() {
			c.Note(verb, &r.Meta)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if would != nil {
		return k.answer(c, http.StatusOK, would), nil
	}
	r, err := store.Need(k.api.DB.Snapshot(), k.Type, id)
	if err == nil {
		r, err = k.await(ctx, c, in.Readiness, r)
	}
	if err != nil {
		return nil, err
	}
	return k.answer(c, http.StatusOK, r), nil
}

// rename gives a record another name. What refers to it does so by its id.
func (k *kind[S, T]) rename(c *Call, r *resource.Record[S, T], name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	if other := store.Named(c.Snapshot, k.Type, c.Project, name); other != nil && other.ID != r.ID {
		return fault.New(fault.Exists, "rename %s %s: %q is there already; pick another name", k.Kind, r.Name, name)
	}
	if k.Renaming != nil {
		if err := k.Renaming(c, r, name); err != nil {
			return err
		}
	}
	k.Specs.Rename(c.Batch, r, name)
	return nil
}

// Named is a Renaming that refuses to rename records, or those of one name.
func Named[S, T any](why string, only ...string) func(*Call, *resource.Record[S, T], string) error {
	return func(_ *Call, r *resource.Record[S, T], _ string) error {
		if len(only) > 0 && !slices.Contains(only, r.Name) {
			return nil
		}
		return fault.New(fault.Precondition, "rename %s %s: %s", r.Kind, r.Name, why)
	}
}

// merged reads a request on top of base, strictly, with defaults and checks.
func (k *kind[S, T]) merged(c *Call, r *resource.Record[S, T], base map[string]any, raw []byte) (*Change[S], error) {
	raw, err := k.written(c, raw)
	if err != nil {
		return nil, err
	}
	var patch map[string]any
	if err := json.Unmarshal(raw, &patch); err != nil {
		return nil, fault.New(fault.Invalid, "the request is no JSON: %w", err)
	}
	c.said = patch
	text, err := json.Marshal(merge(base, patch))
	if err != nil {
		return nil, fault.New(fault.Internal, "merge: %w", err)
	}
	wanted := &Change[S]{}
	if err := k.api.decode(text, wanted); err != nil {
		return nil, err
	}
	if err := k.api.resolve(c, wanted); err != nil {
		return nil, err
	}
	if err := checkLabels(wanted.Labels); err != nil {
		return nil, err
	}
	whole := resource.Record[S, T]{Spec: wanted.Spec}
	k.Keep(r, &whole, c.Sight(r.Project))
	wanted.Spec = whole.Spec
	return wanted, k.checked("change", r.Name, &wanted.Spec)
}

type deleteIn struct {
	Conditions
	Judging
	Force   bool   `query:"force" doc:"Delete also what is refused because something would be lost that the refusal names."`
	Wait    string `query:"wait" enum:"gone" doc:"Answer only when the record is gone."`
	Timeout string `query:"timeout" default:"30s" doc:"How long to wait at most; at most 10m."`
}

func (k *kind[S, T]) registerDelete() {
	op := Op{ID: "delete-" + string(k.Kind), Action: k.action(Delete), Method: http.MethodDelete, Path: k.onePath(), Right: k.Writing, Tag: k.Plural, Status: http.StatusAccepted,
		Summary: "Delete a " + string(k.Kind), params: pathParameters(k.onePath()),
		Doc: "The record is marked, and goes (204) when everybody who holds it has let go; until then it is answered (202)."}
	handle(k.api, op, func(ctx context.Context, c *Call, in *deleteIn) (*one[S, T], error) {
		limit, err := timeout(in.Timeout)
		if err != nil {
			return nil, err
		}
		c.dry, c.Force = in.DryRun, in.Force
		last, err := k.mark(ctx, c)
		if err != nil {
			return nil, err
		}
		if in.DryRun {
			return k.answer(c, http.StatusOK, last), nil
		}
		if in.Wait == "" {
			limit = 0
		}
		err = k.api.until(ctx, c, limit, &last.ID, func() (bool, error) {
			r := store.Find(c.Snapshot, k.Type, last.ID)
			if r != nil {
				last = r
			}
			return r == nil, nil
		})
		switch {
		case err == nil:
			return &one[S, T]{Status: http.StatusNoContent}, nil
		case err == errTimeout && in.Wait != "":
			return nil, fault.New(fault.Unavailable, "%s %s is not gone after %s; it is held by %s", k.Kind, last.Name, limit, strings.Join(last.Holders, ", "))
		case err == errTimeout:
			return k.answer(c, http.StatusAccepted, last), nil
		}
		return nil, err
	})
}

func (k *kind[S, T]) mark(ctx context.Context, c *Call) (*resource.Record[S, T], error) {
	var r *resource.Record[S, T]
	err := k.api.commit(ctx, c, func() (err error) {
		if r, err = k.find(c, c.PathValue("name")); err != nil {
			return err
		}
		if _, err := c.conditions(&r.Meta); err != nil || r.Deleting != nil {
			return err
		}
		if k.Deleting != nil {
			if err := k.Deleting(ctx, c, r); err != nil {
				return err
			}
		}
		k.Specs.Delete(c.Batch, r)
		store.DeleteOwned(c.Batch, c.Snapshot, r.ID)
		c.Note("delete", &r.Meta)
		return nil
	})
	return r, err
}

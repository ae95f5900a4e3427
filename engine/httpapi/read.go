package httpapi

import (
	"context"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// listing are the questions of a list.
type listing struct {
	Label []string `query:"label,explode" doc:"A selector: k=v, k!=v, or k alone for having it. Given several times, all must hold."`
	Name  string   `query:"name" doc:"The name wanted."`
	Limit int      `query:"limit" minimum:"1" maximum:"1000" default:"200" doc:"How many records a page has."`
	Page  string   `query:"page" doc:"The token of a page, from nextPage of the page before."`
}

type pageOut[S, T any] struct{ Body Page[S, T] }

func (k *kind[S, T]) registerList() {
	list := func(_ context.Context, c *Call, in *listing) (*pageOut[S, T], error) {
		return k.list(c, in)
	}
	handle(k.api, Op{ID: "list-" + k.Plural, Method: http.MethodGet, Path: k.path(), Action: k.action("read"), Right: k.Reading, Tag: k.Plural,
		Summary: "List " + k.Plural, Doc: k.Doc, params: pathParameters(k.path())}, list)
	if k.Scope == resource.InProject {
		handle(k.api, Op{ID: "list-all-" + k.Plural, Method: http.MethodGet, Path: "/v1/" + k.Plural, Action: k.action("read"), Right: k.Reading, Tag: k.Plural,
			Summary: "List " + k.Plural + " of all projects", Doc: k.Doc}, list)
	}
}

func (k *kind[S, T]) list(c *Call, in *listing) (*pageOut[S, T], error) {
	wanted, err := selector(in.Label)
	if err != nil {
		return nil, err
	}
	after, err := base64.RawURLEncoding.DecodeString(in.Page)
	if err != nil {
		return nil, fault.New(fault.Invalid, "page %q is no token of a page; use nextPage of the page before", in.Page)
	}
	// Read before the picture is taken, so that a watch from here misses nothing.
	page := Page[S, T]{Items: []*resource.Record[S, T]{}, Revision: c.DB.Revision()}
	c.Snapshot = c.DB.Snapshot()
	if _, err := k.api.project(c); err != nil {
		return nil, err
	}
	if k.whole(c, in) {
		k.turn(c, in, resource.ID(after), &page)
		return &pageOut[S, T]{Body: page}, nil
	}
	everywhere := k.Scope == resource.InCloud || c.Project == ""
	candidates := slices.Values(store.Every(c.Snapshot, k.Type))
	if !everywhere && k.Lending.To == nil {
		candidates = store.InProject(c.Snapshot, k.Type, c.Project, "")
	}
	for r := range candidates {
		lent := !everywhere && k.Lending.lent(c.Snapshot, c.Project, r)
		if !everywhere && r.Project != c.Project && !lent || in.Name != "" && r.Name != in.Name || !wanted(r.Labels) || !lent && !k.sees(c.Caller, r) {
			continue
		}
		page.Total++
		switch {
		case string(r.ID) <= string(after):
		case len(page.Items) < in.Limit:
			page.Items = append(page.Items, k.shown(c.Caller, r))
		default:
			page.NextPage = pageAfter(page.Items[len(page.Items)-1].ID)
		}
	}
	return &pageOut[S, T]{Body: page}, nil
}

func pageAfter(id resource.ID) string { return base64.RawURLEncoding.EncodeToString([]byte(id)) }

// whole reports whether all records of a project are asked for, and nothing has to be asked of each.
func (k *kind[S, T]) whole(c *Call, in *listing) bool {
	return k.Scope == resource.InProject && c.Project != "" && k.Lending.To == nil && k.Visible == nil &&
		in.Name == "" && len(in.Label) == 0 && k.api.allows(c.Caller, k.action("read"), resource.Ref{Kind: k.Kind, Project: c.Project})
}

// turn fills a page of a project's records, and looks at no others.
func (k *kind[S, T]) turn(c *Call, in *listing, after resource.ID, page *Page[S, T]) {
	page.Total = c.Snapshot.CountInProject(k.Kind, c.Project)
	for r := range store.InProject(c.Snapshot, k.Type, c.Project, after) {
		if len(page.Items) == in.Limit {
			page.NextPage = pageAfter(page.Items[in.Limit-1].ID)
			return
		}
		page.Items = append(page.Items, k.shown(c.Caller, r))
	}
}

// selector makes a test of label selectors.
func selector(terms []string) (func(map[string]string) bool, error) {
	type term struct {
		key, value  string
		any, differ bool
	}
	var all []term
	for _, t := range terms {
		key, value, valued := strings.Cut(t, "=")
		x := term{key: strings.TrimSuffix(key, "!"), value: value, any: !valued, differ: strings.HasSuffix(key, "!")}
		if !labelForm.MatchString(x.key) { // no record has such a label: what was meant is something else
			return nil, fault.New(fault.Invalid, "label %q is no selector; write k=v, k!=v or k", t)
		}
		all = append(all, x)
	}
	return func(labels map[string]string) bool {
		for _, t := range all {
			v, there := labels[t.key]
			if t.differ && there && v == t.value || !t.differ && (!there || !t.any && v != t.value) {
				return false
			}
		}
		return true
	}, nil
}

// Readiness asks to wait until a record is ready; exported, as huma sees no other embedded fields.
type Readiness struct {
	Wait    string `query:"wait" enum:"ready" doc:"Answer only when the record is ready, or cannot become so."`
	Timeout string `query:"timeout" default:"30s" doc:"How long to wait at most, for example 30s or 5m; at most 10m."`
}

// waiting are the questions of a get.
type waiting struct {
	Conditions
	Wait    string `query:"wait" enum:"ready,change" doc:"ready: answer only when the record is ready, or cannot become so. change: when it has none of the ETags in If-None-Match any more; 304 when the time is over."`
	Timeout string `query:"timeout" default:"30s" doc:"How long to wait at most, for example 30s or 5m; at most 10m."`
}

const longest = 10 * time.Minute

func timeout(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > longest {
		return 0, fault.Fields("the request", []fault.Detail{{Field: "query.timeout", Message: "a time up to 10m is wanted, for example 30s, got " + text}})
	}
	return d, nil
}

func (k *kind[S, T]) registerGet() {
	handle(k.api, Op{ID: "get-" + string(k.Kind), Method: http.MethodGet, Path: k.onePath(), Action: k.action("read"), Right: k.Reading, Tag: k.Plural,
		Summary: "Get a " + string(k.Kind) + ", by name or id", Doc: k.Doc, params: pathParameters(k.onePath())},
		func(ctx context.Context, c *Call, in *waiting) (*one[S, T], error) {
			limit, err := timeout(in.Timeout)
			if err != nil {
				return nil, err
			}
			if in.Wait == "change" && in.IfNoneMatch == "" {
				return nil, fault.New(fault.Invalid, "wait for a change: from what? send the ETag that you have in If-None-Match")
			}
			var last *resource.Record[S, T]
			unchanged := false
			var id resource.ID
			err = k.api.until(ctx, c, limit, &id, func() (bool, error) {
				r, err := k.read(c, c.PathValue("name"))
				if err != nil {
					return false, k.vanished(last, err)
				}
				last, id = r, r.ID
				if unchanged, err = c.conditions(&r.Meta); err != nil {
					return false, err
				}
				switch in.Wait {
				case "change":
					return !unchanged, nil
				case "ready":
					return k.Ready(k.shown(c.Caller, r))
				}
				return true, nil
			})
			if err != nil && !(in.Wait == "change" && err == errTimeout) {
				return nil, k.unready(c, err, last, limit)
			}
			if unchanged {
				return &one[S, T]{Status: http.StatusNotModified, ETag: etag(last.Revision)}, nil
			}
			return k.answer(c, http.StatusOK, last), nil
		})
}

// await waits for a record that was just written, if that is asked for. When the time is over, the
// record is there and goes on.
func (k *kind[S, T]) await(ctx context.Context, c *Call, asked Readiness, r *resource.Record[S, T]) (*resource.Record[S, T], error) {
	if asked.Wait == "" {
		return r, nil
	}
	limit, err := timeout(asked.Timeout)
	if err != nil {
		return nil, err
	}
	last := r
	err = k.api.until(ctx, c, limit, &r.ID, func() (bool, error) {
		now := store.Find(c.Snapshot, k.Type, r.ID)
		if now == nil {
			return false, fault.New(fault.NotFound, "%s %s was deleted while waiting for it", k.Kind, r.Name)
		}
		last = now
		return k.Ready(k.shown(c.Caller, now))
	})
	if err != nil {
		return nil, k.unready(c, err, last, limit)
	}
	return last, nil
}

// vanished says that a record went while somebody waited for it.
func (k *kind[S, T]) vanished(last *resource.Record[S, T], err error) error {
	if last == nil {
		return err
	}
	return fault.New(fault.NotFound, "%s %s was deleted while waiting for it", k.Kind, last.Name)
}

// unready says in words what a wait that was too short waited for.
func (k *kind[S, T]) unready(c *Call, err error, last *resource.Record[S, T], limit time.Duration) error {
	if last == nil || err != errTimeout {
		return err
	}
	if o := observedOf(&k.shown(c.Caller, last).Status); o != nil && len(o.Problems) > 0 {
		return fault.New(fault.Unavailable, "%s %s is not ready after %s: %s", k.Kind, last.Name, limit, o.Problems[0].Message)
	}
	return fault.New(fault.Unavailable, "%s %s is not ready after %s; wait longer", k.Kind, last.Name, limit)
}

var errTimeout = fault.New(fault.Unavailable, "the time to wait is over")

// until looks again at every change of a record until look is content, fails, or the time is over. It is
// given the record's id, which the first look may find.
func (a *API) until(ctx context.Context, c *Call, limit time.Duration, id *resource.ID, look func() (bool, error)) error {
	wait, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		known := *id
		changed, leave := a.DB.Changed(known)
		c.Snapshot = a.DB.Snapshot()
		done, err := look()
		if !done && err == nil && *id == known {
			select {
			case <-changed:
			case <-wait.Done():
				err = errTimeout
			}
		}
		leave()
		switch {
		case done:
			return nil
		case err != nil && ctx.Err() != nil:
			return fault.New(fault.Unavailable, "the caller has gone: %w", ctx.Err())
		case err != nil:
			return err
		}
	}
}

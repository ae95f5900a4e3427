package client

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kind is a kind of records: R is what one of them is read into. Those of the API are in
// kinds.gen.go; As reads one into another type, for example one that keeps the raw JSON.
type Kind[R any] struct {
	Name, Plural string // the words of routes: vm, vms
	InProject    bool   // its records belong to projects, not to the cloud as a whole
}

// As is the same kind, its records read into another type.
func As[To, R any](k Kind[R]) Kind[To] { return Kind[To]{k.Name, k.Plural, k.InProject} }

// Draft is the request for a record: S is its spec.
type Draft[S any] struct {
	Name   string            `json:"name,omitempty"`
	Labels map[string]string `json:"labels,omitempty"`
	Spec   S                 `json:"spec"`
}

// ListOptions narrow a list. Every page is read; Page is how many records one has.
type ListOptions struct {
	Labels []string // k=v, k!=v or k
	Page   int
}

// Path is where a kind's records are, or one of them, or something of it. Without a project it is
// where those of all projects are.
func (k Kind[R]) Path(project string, more ...string) string {
	p := "/v1"
	if k.InProject && project != "" {
		p += "/projects/" + url.PathEscape(project)
	}
	p += "/" + k.Plural
	for _, part := range more {
		p += "/" + url.PathEscape(part)
	}
	return p
}

// one is the path of a record. An empty name would be the path of the list.
func (k Kind[R]) one(project, name string, more ...string) (string, error) {
	if strings.TrimSpace(name) == "" {
		return "", newError("invalid", "which %s? the name is empty", k.Name)
	}
	return k.Path(project, append([]string{name}, more...)...), nil
}

// List reads all records of a project, or of all if project is empty.
func (k Kind[R]) List(ctx context.Context, c *Connection, project string, o ListOptions) ([]*R, error) {
	var all []*R
	query := url.Values{"limit": {strconv.Itoa(max(1, min(o.Page, 1000)))}, "label": slices.Clone(o.Labels)}
	if o.Page == 0 {
		query.Set("limit", "1000")
	}
	for {
		var page struct {
			Items    []*R   `json:"items"`
			NextPage string `json:"nextPage"`
		}
		if err := c.Call(ctx, Call{Method: "GET", Path: k.Path(project), Query: query, Out: &page}); err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if page.NextPage == "" {
			return all, nil
		}
		query.Set("page", page.NextPage)
	}
}

// call is a call about one record that answers it.
func (k Kind[R]) call(ctx context.Context, c *Connection, project, name string, a Call) (*R, error) {
	path, err := k.one(project, name)
	if err != nil {
		return nil, err
	}
	r := new(R)
	a.Path, a.Out = path, r
	if err := c.Call(ctx, a); err != nil {
		return nil, err
	}
	return r, nil
}

// Get reads one record by name or id.
func (k Kind[R]) Get(ctx context.Context, c *Connection, project, name string) (*R, error) {
	return k.call(ctx, c, project, name, Call{Method: "GET"})
}

// Wait reads a record when it is ready, or cannot become so; at most so long as the limit.
func (k Kind[R]) Wait(ctx context.Context, c *Connection, project, name string, limit time.Duration) (*R, error) {
	return k.call(ctx, c, project, name, Call{Method: "GET", Query: url.Values{"wait": {"ready"}, "timeout": {limit.String()}}})
}

// Create makes a record of a draft. A connection that breaks does not make two.
func (k Kind[R]) Create(ctx context.Context, c *Connection, project string, draft any) (*R, error) {
	r := new(R)
	if err := c.Call(ctx, Call{Method: "POST", Path: k.Path(project), In: draft, Out: r, Once: true}); err != nil {
		return nil, err
	}
	return r, nil
}

// Update changes what a merge patch names, and leaves the rest. A revision other than 0 holds it to that one.
func (k Kind[R]) Update(ctx context.Context, c *Connection, project, name string, patch any, revision int64) (*R, error) {
	return k.call(ctx, c, project, name, Call{Method: "PATCH", In: patch, IfMatch: revision})
}

// Delete asks for a record to be deleted; it goes when everything of it has gone. With a limit it
// waits for that.
func (k Kind[R]) Delete(ctx context.Context, c *Connection, project, name string, limit *time.Duration) error {
	path, err := k.one(project, name)
	if err != nil {
		return err
	}
	a := Call{Method: "DELETE", Path: path}
	if limit != nil {
		a.Query = url.Values{"wait": {"gone"}, "timeout": {limit.String()}}
	}
	return c.Call(ctx, a)
}

// Action does something to a record that has a route of its own; out may be nil.
func (k Kind[R]) Action(ctx context.Context, c *Connection, project, name, action string, in, out any) error {
	path, err := k.one(project, name, action)
	if err != nil {
		return err
	}
	if in == nil {
		in = struct{}{}
	}
	return c.Call(ctx, Call{Method: "POST", Path: path, In: in, Out: out})
}

// Change is what a watch of one kind tells of a record. Gone: it is not there any more.
type Change[R any] struct {
	Revision int64
	Gone     bool
	Record   *R
	Synced   bool // everything that was there at the start has been told; there is no record
}

// Watch tells every change of a kind's records, those that are there first, until ctx ends or tell fails.
func (k Kind[R]) Watch(ctx context.Context, c *Connection, project string, tell func(Change[R]) error) error {
	return c.Follow(ctx, WatchOptions{Kinds: []string{k.Name}, Project: project}, func(n Notice) error {
		switch n.Name {
		case "synced":
			return tell(Change[R]{Revision: n.Revision, Synced: true})
		case "change":
			r := new(R)
			if err := json.Unmarshal(n.Object, r); err != nil && len(n.Object) > 0 {
				return newError("internal", "read a change of %s: %v", k.Plural, err)
			}
			return tell(Change[R]{Revision: n.Revision, Gone: n.Type == "delete", Record: r})
		}
		return nil
	})
}

package httpapi

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// permission is an action of the route table: "vm.create". Right is what it takes, Routes what it opens.
type permission struct {
	Right  Right
	Routes []string
}

// roles are the sets of actions that people are given: each has those of the ones before it.
var roles = []struct {
	right Right
	name  string
}{{Read, "viewer"}, {Write, "member"}, {Admin, "admin"}}

// actionOf makes the name of an action out of the id of an operation: "upload-image" is image.upload.
func actionOf(id string) string {
	verb, noun, found := strings.Cut(id, "-")
	if !found {
		return "cloud." + id
	}
	switch verb {
	case "get", "list":
		verb = "read"
	}
	return noun + "." + verb
}

// permit puts a route into the table of actions. One action takes one right, whatever routes it opens.
func (a *API) permit(action string, right Right, route string) {
	p := a.actions[action]
	if p == nil {
		p = &permission{Right: right}
		a.actions[action] = p
	}
	if p.Right != right {
		panic(fmt.Sprintf("httpapi: %s takes the right to %s for %s, and to %s elsewhere", action, right, route, p.Right))
	}
	p.Routes = append(p.Routes, route)
}

// Authorize is the one judge of who may do what. Every route asks it before it runs; lists, watches
// and explanations ask it of each record. Ref is what it is done to; of what is yet to be made, and of
// all of a kind, the project counts.
func (a *API) Authorize(c Caller, action string, ref resource.Ref) error {
	called := string(ref.Project)
	if c.May(Read, ref.Project) {
		called = a.projectName(ref.Project)
	}
	return a.authorize(c, action, ref.Project, called)
}

// authorize judges, and refuses with the words by which the caller called the project: they do not learn
// whether there is one.
func (a *API) authorize(c Caller, action string, project resource.ID, called string) error {
	p := a.actions[action]
	switch {
	case p == nil:
		return fault.New(fault.Internal, "no route has the action %s", action)
	case c.May(p.Right, project):
		return nil
	}
	return c.refuse(action, p.Right, called)
}

// allows is Authorize without words.
func (a *API) allows(c Caller, action string, ref resource.Ref) bool {
	p := a.actions[action]
	return p != nil && c.May(p.Right, ref.Project)
}

// refuse names the action that is missing, and who can grant it.
func (c Caller) refuse(action string, right Right, project string) error {
	where := "the cloud"
	if project != "" {
		where = "project " + project
	}
	missing := fmt.Sprintf("%s lacks the action %s in %s", c.User, action, where)
	switch {
	case right == AsServer:
		return fault.New(fault.Denied, "%s: only a server of this cloud has it, by its certificate", missing)
	case right == AsHost:
		return fault.New(fault.Denied, "%s: only a host has it, by its certificate", missing)
	case c.Host != "":
		return fault.New(fault.Denied, "%s: a host may not do this; show a token", missing)
	case project != "" && (right == Read || right == Write):
		role := roleOf(right)
		return fault.New(fault.Denied, "%s, which the role %s has; an administrator grants it: virga token create --role %s --project %s", missing, role, role, project)
	}
	return fault.New(fault.Denied, "%s, which administrators alone have; ask one of them to do it", missing)
}

func roleOf(right Right) string {
	for _, r := range roles {
		if r.right == right {
			return r.name
		}
	}
	return ""
}

// Authorize asks whether the caller may do something to a record, or in a project.
func (c *Call) Authorize(action string, ref resource.Ref) error {
	return c.api.Authorize(c.Caller, action, ref)
}

// AuthorizeIn asks whether the caller may do something in the project of a name or id, and gives its id.
func (c *Call) AuthorizeIn(action, project string) (resource.ID, error) {
	id := c.api.projectID(c.Snapshot, project)
	return id, c.api.authorize(c.Caller, action, id, project)
}

// Sees reports whether the caller may read a record.
func (c *Call) Sees(x resource.Object) bool {
	k, offered := c.api.kinds[x.Head().Kind]
	return offered && k.visible(c.Caller, x)
}

// WriteActions writes the table of actions, in Markdown: what each opens, and which roles have it.
func WriteActions(a *API, w io.Writer) error {
	var out strings.Builder
	out.WriteString("# Actions\n\nWhat there is to be allowed, made of the routes by `make gen`. `viewer` and `member` have their actions in one project, `admin` everywhere.\n\n| action | who has it | routes |\n|---|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(a.actions)) {
		p := a.actions[name]
		routes := slices.Sorted(slices.Values(p.Routes))
		fmt.Fprintf(&out, "| `%s` | %s | `%s` |\n", name, holders(p.Right), strings.Join(routes, "`, `"))
	}
	_, err := io.WriteString(w, out.String())
	return err
}

func holders(right Right) string {
	switch right {
	case Public:
		return "anybody"
	case Known:
		return "every role"
	case AsHost:
		return "hosts"
	case AsServer:
		return "servers"
	}
	var out []string
	for _, r := range roles {
		if rank[r.right] >= rank[right] {
			out = append(out, r.name)
		}
	}
	return strings.Join(out, ", ")
}

package httpapi

import (
	"context"
	"net/http"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// Right is what a route needs and what a caller has.
type Right string

// The rights. Read, Write and Admin hold within the caller's project, or everywhere when it has none.
const (
	Public Right = "public" // nobody is asked
	Known  Right = "known"  // anybody who may read anything
	Read   Right = "read"
	Write  Right = "write"
	Admin  Right = "admin"
	AsHost Right = "host" // a host with its certificate

	AsServer Right = "server" // another server with its certificate
)

var rank = map[Right]int{Read: 1, Write: 2, Admin: 3}

// Caller is who asks.
type Caller struct {
	User    string      // the person or program, for events
	Right   Right       // the highest of Read, Write, Admin; empty: none
	Project resource.ID // limits Right to one project; empty: everywhere, and the cloud itself
	Shown   string      // by what they are known: a token's name, a certificate, a socket
	Session resource.ID // of a browser, that the request came by
	Host    resource.ID // the host that showed its certificate
	Server  bool        // another server of the cloud, which has admitted whom it asks for
	vouched vouched     // by that server
}

// May reports whether the caller has a right in a project; an empty project means the cloud itself.
func (c Caller) May(right Right, project resource.ID) bool {
	switch right {
	case Public:
		return true
	case Known:
		return rank[c.Right] > 0
	case AsHost:
		return c.Host != ""
	case AsServer:
		return c.Server
	}
	return rank[right] > 0 && rank[c.Right] >= rank[right] && (c.Project == "" || c.Project == project)
}

// Sight is how much the caller sees of the records of a project; an empty project means the cloud itself.
func (c Caller) Sight(project resource.ID) resource.Sight {
	switch {
	case c.May(Admin, ""):
		return resource.Operator
	case c.May(Write, project):
		return resource.Writer
	case c.May(Read, project):
		return resource.Reader
	}
	return resource.Borrower
}

type callerKey struct{}

// CallerOf gives who asks, within a handler that was given to Raw.
func CallerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}

// admit says who asks and whether they may, in a project that is called so.
func (a *API) admit(r *http.Request, action string, project resource.ID, called string) (Caller, error) {
	public := a.actions[action].Right == Public
	if a.options.Authenticate == nil {
		if public {
			return Caller{}, nil
		}
		return Caller{}, fault.New(fault.Unauthenticated, "this server knows nobody yet")
	}
	c, err := a.options.Authenticate(r)
	c = c.behalf(r)
	if public {
		return c, nil
	}
	if err != nil {
		return Caller{}, err
	}
	return c, a.authorize(c, action, project, called)
}

// Become says, in a route that everybody may call, who has shown now who they are: events and the audit log name them.
func (c *Call) Become(who Caller) {
	c.Caller = who
	if c.trail != nil {
		c.trail.said.User, c.trail.said.Shown = short(who.User), who.Shown
	}
}

// From is the address that the request came from; empty: the unix socket.
func (c *Call) From() string { return addressOf(c.request) }

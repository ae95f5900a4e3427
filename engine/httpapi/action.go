package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// Act describes an action on a record: POST <record>/<name>.
type Act struct {
	Name    string // a verb: "migrate"
	Summary string
	Doc     string
	Right   Right // default: Write in a project, Admin in the cloud
	Status  int   // of success; default 200; 202 where work only begins
}

type actIn struct {
	Body *json.RawMessage
	Conditions
}

type actOut[Out any] struct{ Body *Out }

// Action offers an action on a kind. In is the request's body, read strictly; an empty body is an
// empty In. A record that is returned is read again after the commit.
func Action[S, T, In, Out any](a *API, t *resource.Type[S, T], act Act, do func(context.Context, *Call, *resource.Record[S, T], *In) (*Out, error)) {
	k := &kind[S, T]{Type: t, api: a}
	if act.Right == "" {
		act.Right = Write
		if t.Scope == resource.InCloud {
			act.Right = Admin
		}
	}
	if act.Status == 0 {
		act.Status = http.StatusOK
	}
	a.prepare(reflect.TypeFor[In]())
	path := k.onePath() + "/" + act.Name
	body := documented(map[string]*huma.Schema{"application/json": a.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[In](), true, title(string(t.Kind))+title(act.Name))})
	body.Required = false
	op := Op{ID: string(t.Kind) + "-" + act.Name, Action: k.action(Verb(act.Name)), Method: http.MethodPost, Path: path, Right: act.Right, Tag: t.Plural, Status: act.Status,
		Summary: act.Summary, Doc: act.Doc, params: pathParameters(path), body: body}
	handle(a, op, func(ctx context.Context, c *Call, in *actIn) (*actOut[Out], error) {
		var out *Out
		err := a.commit(ctx, c, func() (err error) {
			out, err = acted(ctx, c, k, act, in, do)
			return err
		})
		if err != nil {
			return nil, err
		}
		if x, isRecord := any(out).(resource.Object); isRecord && out != nil {
			if fresh, ok := a.DB.Snapshot().Lookup(x.Head().ID).(any).(*Out); ok {
				out = fresh
			}
			if routes, ok := a.kinds[x.Head().Kind]; ok {
				out = routes.See(any(out).(resource.Object), c.Sight(x.Head().Project), a.projectName(x.Head().Project)).(any).(*Out)
			}
		}
		return &actOut[Out]{Body: out}, nil
	})
}

func acted[S, T, In, Out any](ctx context.Context, c *Call, k *kind[S, T], act Act, in *actIn, do func(context.Context, *Call, *resource.Record[S, T], *In) (*Out, error)) (*Out, error) {
	r, err := k.find(c, c.PathValue("name"))
	if err != nil {
		return nil, err
	}
	if _, err := c.conditions(&r.Meta); err != nil {
		return nil, err
	}
	if r.Deleting != nil {
		return nil, fault.New(fault.Precondition, "%s %s is being deleted", k.Kind, r.Name)
	}
	input := new(In)
	if in.Body != nil {
		if err := k.api.decode(*in.Body, input); err != nil {
			return nil, err
		}
	}
	out, err := do(ctx, c, r, input)
	if err == nil && !c.Batch.Empty() {
		c.Note(act.Name, &r.Meta)
	}
	return out, err
}

package httpapi

import (
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/validation"

	"github.com/virga-cloud/virga/engine/fault"
)

// Problem is how a fault leaves: an RFC 9457 problem document.
type Problem struct {
	Type   string         `json:"type" doc:"A URN of the kind: urn:virga:fault:<kind>."`
	Kind   fault.Kind     `json:"kind" doc:"The kind of the fault; it says who does what next."`
	Title  string         `json:"title" doc:"What to do next, in a few words."`
	Status int            `json:"status" doc:"The HTTP status."`
	Detail string         `json:"detail" doc:"What was being done to what, the cause, and what to do."`
	Errors []fault.Detail `json:"errors,omitempty" doc:"The fields of the request that are wrong."`

	header http.Header
}

const typePrefix = "urn:virga:fault:"

func (p *Problem) Error() string { return p.Detail }

// GetStatus tells the router the status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType tells the router that this is no plain JSON.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// GetHeaders tells the router what the status is incomplete without.
func (p *Problem) GetHeaders() http.Header {
	if p.Kind == fault.Unauthenticated {
		return http.Header{"Www-Authenticate": {`Bearer realm="virga"`}}
	}
	return p.header
}

// TransformSchema lists the closed list of kinds in the reference.
func (p *Problem) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	kind := s.Properties["kind"]
	var text strings.Builder
	text.WriteString("What went wrong. Kind, status and what to do next:\n")
	for _, k := range fault.Kinds() {
		kind.Enum = append(kind.Enum, string(k))
		text.WriteString("\n- `" + string(k) + "` (" + http.StatusText(k.HTTPStatus()) + "): " + k.Next())
	}
	s.Description = text.String()
	return s
}

// AsProblem makes the problem document of any error.
func AsProblem(err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	kind := fault.KindOf(err)
	p := &Problem{Type: typePrefix + string(kind), Kind: kind, Title: kind.Next(), Status: kind.HTTPStatus(), Detail: err.Error()}
	if e, ok := errors.AsType[*fault.Error](err); ok {
		p.Errors = e.Details
	}
	return p
}

func writeProblem(w http.ResponseWriter, r *http.Request, err error) {
	p := AsProblem(err)
	if p.Kind == fault.Internal {
		slog.Error("a request failed by our own fault", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	maps.Copy(w.Header(), p.GetHeaders())
	if p.Kind == fault.Unauthenticated && r.Header.Get("Authorization") != "" {
		w.Header().Set("WWW-Authenticate", `Bearer realm="virga", error="invalid_token"`)
	}
	answering(w)
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}

// The router has its own errors (a parameter that is no number, a body that is no JSON); they leave
// in the same shape. The router keeps these functions in variables of its package.
func init() {
	huma.DefaultArrayNullable = false
	huma.ValidateStrictCasing = true
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
		return foreign(nil, status, msg, errs)
	}
	huma.NewErrorWithContext = func(ctx huma.Context, status int, msg string, errs ...error) huma.StatusError {
		return foreign(ctx.Operation(), status, msg, errs)
	}
}

// registryKey is where an operation carries the schemas that its body refers to.
const registryKey = "schemas"

// near makes the words for a field that an operation's body does not have.
func near(op *huma.Operation, location string) string {
	if op == nil || op.RequestBody == nil || op.RequestBody.Content["application/json"] == nil {
		return "no such field"
	}
	registry, _ := op.Metadata[registryKey].(huma.Registry)
	return unknown(fieldsAt(registry, op.RequestBody.Content["application/json"].Schema, location), location)
}

func foreign(op *huma.Operation, status int, msg string, errs []error) *Problem {
	for _, err := range errs {
		if e, ok := errors.AsType[*fault.Error](err); ok {
			return AsProblem(e)
		}
	}
	kind := fault.Invalid
	if status >= 500 {
		kind = fault.Internal
	}
	var details []fault.Detail
	for _, err := range errs {
		d := detailOf(err)
		if d.Message == validation.MsgUnexpectedProperty {
			d.Message = near(op, d.Field)
		}
		details = append(details, d)
	}
	if len(details) > 0 {
		msg += ": " + details[0].Field + ": " + details[0].Message
	}
	return AsProblem(&fault.Error{Kind: kind, Message: msg, Details: details})
}

func detailOf(err error) fault.Detail {
	if d, ok := errors.AsType[*huma.ErrorDetail](err); ok {
		return fault.Detail{Field: strings.TrimPrefix(d.Location, "body."), Message: d.Message}
	}
	return fault.Detail{Message: err.Error()}
}

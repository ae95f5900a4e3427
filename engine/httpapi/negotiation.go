package httpapi

import (
	"maps"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/virga-cloud/virga/engine/fault"
)

// refusal is a problem whose status says more than its kind does: the request has a method, a size or
// a type that the route does not take.
func refusal(status int, format string, args ...any) *Problem {
	p := AsProblem(fault.New(fault.Invalid, format, args...))
	p.Status = status
	return p
}

// negotiate refuses a body that the route does not read, and a caller who does not read JSON.
// A body that does not say what it is is taken for what the route reads.
func negotiate(op *huma.Operation, r *http.Request) error {
	if accept := r.Header.Values("Accept"); len(accept) > 0 && !accepts(strings.Join(accept, ","), "application/json") {
		return refusal(http.StatusNotAcceptable, "this answers application/json, and the caller accepts only %s", strings.Join(accept, ", "))
	}
	if op.RequestBody == nil || r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	reads := slices.Sorted(maps.Keys(op.RequestBody.Content))
	refuse := func(format string, args ...any) error {
		p := refusal(http.StatusUnsupportedMediaType, format+"; this reads "+strings.Join(reads, ", "), args...)
		p.header = http.Header{"Accept": {strings.Join(reads, ", ")}}
		if r.Method == http.MethodPatch {
			p.header.Set("Accept-Patch", strings.Join(reads, ", "))
		}
		return p
	}
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return refuse("the request has Content-Encoding %s, which is not undone here", encoding)
	}
	kind := r.Header.Get("Content-Type")
	if kind == "" {
		return nil
	}
	media, parameters, err := mime.ParseMediaType(kind)
	if err != nil {
		return refuse("the request has Content-Type %q, which is none: %v", kind, err)
	}
	if !slices.Contains(reads, media) {
		return refuse("the request has Content-Type %s", media)
	}
	if charset := parameters["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
		return refuse("the request is in %s; JSON is UTF-8", charset)
	}
	r.Header.Set("Content-Type", media) // the router takes it by the letter
	return nil
}

// accepts reports whether an Accept header takes a media type: the closest range that speaks of it decides.
func accepts(header, media string) bool {
	kind, _, _ := strings.Cut(media, "/")
	closest, wanted := 0, false
	for _, part := range strings.Split(header, ",") {
		if strings.TrimSpace(part) == "" {
			continue
		}
		words, parameters, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		near := map[string]int{"*/*": 1, kind + "/*": 2, media: 3}[words]
		if near < closest || near == 0 {
			continue
		}
		q := 1.0
		if text, given := parameters["q"]; given {
			if q, err = strconv.ParseFloat(text, 64); err != nil {
				continue
			}
		}
		closest, wanted = near, q > 0
	}
	return wanted || strings.TrimSpace(header) == ""
}

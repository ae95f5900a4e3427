package httpapi

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// Conditions are the headers that hold a request to what is there (RFC 9110, 13). Exported, as the
// router sees no other embedded fields.
type Conditions struct {
	IfMatch     string `header:"If-Match" doc:"ETags, or *: go on only if the record has one of them; else 412."`
	IfNoneMatch string `header:"If-None-Match" doc:"ETags, or *: go on only if the record has none of them; else a read answers 304, and a write 412."`
}

func etag(revision int64) string { return `"` + strconv.FormatInt(revision, 10) + `"` }

// conditions judges a record by the headers of the request. Unchanged: a read is answered by 304.
// They are taken from the request itself, since a list may be spread over several lines.
func (c *Call) conditions(r *resource.Meta) (unchanged bool, err error) {
	must, err := readTags(c.request.Header, "If-Match")
	if err != nil {
		return false, err
	}
	mustNot, err := readTags(c.request.Header, "If-None-Match")
	if err != nil {
		return false, err
	}
	current := etag(r.Revision)
	if must != nil && !must.any && !must.strong[current] {
		return false, fault.New(fault.Stale, "%s %s has changed: it is at revision %d, the request is for %s; read again, and send the new ETag", r.Kind, r.Name, r.Revision, must.text)
	}
	if mustNot == nil || !mustNot.any && !mustNot.strong[current] && !mustNot.weak[current] {
		return false, nil
	}
	if c.request.Method == http.MethodGet || c.request.Method == http.MethodHead {
		return true, nil
	}
	return false, fault.New(fault.Stale, "%s %s is there at revision %d, and the request is for anything but %s; read again, and decide on what is there", r.Kind, r.Name, r.Revision, mustNot.text)
}

// tags are what a conditional header names.
type tags struct {
	any          bool
	strong, weak map[string]bool // with their quotes
	text         string
}

// readTags reads a header with a list of entity tags; nil if there is none.
func readTags(h http.Header, name string) (*tags, error) {
	if len(h.Values(name)) == 0 {
		return nil, nil
	}
	t := &tags{strong: map[string]bool{}, weak: map[string]bool{}, text: strings.Join(h.Values(name), ", ")}
	wrong := fault.New(fault.Invalid, `%s: %s is no list of ETags; write them as they were answered, in quotes, with commas between them, or * alone`, name, t.text)
	rest := strings.Trim(t.text, " \t")
	if rest == "*" {
		t.any = true
		return t, nil
	}
	for first := true; rest != ""; first = false {
		if !first {
			if rest[0] != ',' {
				return nil, wrong
			}
			rest = strings.TrimLeft(rest, ", \t") // empty elements are allowed
			if rest == "" {
				break
			}
		}
		list := t.strong
		if after, weak := strings.CutPrefix(rest, "W/"); weak {
			list, rest = t.weak, after
		}
		length := tagLength(rest)
		if length == 0 {
			return nil, wrong
		}
		list[rest[:length]] = true
		rest = strings.TrimLeft(rest[length:], " \t")
	}
	if len(t.strong)+len(t.weak) == 0 {
		return nil, wrong
	}
	return t, nil
}

// tagLength is how long the quoted tag is that a text begins with; 0: it begins with none.
func tagLength(text string) int {
	if text == "" || text[0] != '"' {
		return 0
	}
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] == '"':
			return i + 1
		case text[i] < 0x21 || text[i] == 0x7f:
			return 0
		}
	}
	return 0
}

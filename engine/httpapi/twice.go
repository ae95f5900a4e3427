package httpapi

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/virga-cloud/virga/engine/fault"
)

// twice refuses JSON in which an object says a field twice: readers differ in which of the two they
// keep (RFC 8259, 4), and the other one would be lost without a word. What is no JSON at all is left
// to whoever reads it.
func twice(raw []byte) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	return members(d, "", 0)
}

// deepest is how far lists and objects of a request lie in each other; no record comes near it.
const deepest = 64

// members reads one value, and what is in it.
func members(d *json.Decoder, at string, depth int) error {
	open, err := d.Token()
	if err != nil {
		return nil
	}
	if depth > deepest {
		return fault.New(fault.Invalid, "the request has lists and objects in each other, more than %d deep", deepest)
	}
	switch open {
	case json.Delim('['):
		for i := 0; d.More(); i++ {
			if err := members(d, at+"["+strconv.Itoa(i)+"]", depth+1); err != nil {
				return err
			}
		}
	case json.Delim('{'):
		seen := map[string]bool{}
		for d.More() {
			key, err := d.Token()
			name, isName := key.(string)
			if err != nil || !isName {
				return nil
			}
			where := name
			if at != "" {
				where = at + "." + name
			}
			if seen[name] {
				return fault.Fields("the request", []fault.Detail{{Field: where, Message: "it is said twice; say it once"}})
			}
			seen[name] = true
			if err := members(d, where, depth+1); err != nil {
				return err
			}
		}
	default:
		return nil
	}
	_, _ = d.Token() // what closes it
	return nil
}

// asked refuses a parameter that a route does not have, and one that is given several times where one
// value is taken.
func asked(query url.Values, declared []*huma.Param) error {
	var wrong []fault.Detail
	var there []string
	known := map[string]bool{} // whether it takes several
	for _, p := range declared {
		if p.In == "query" {
			known[p.Name] = p.Schema != nil && p.Schema.Type == huma.TypeArray
			there = append(there, p.Name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		several, is := known[name]
		switch {
		case !is && len(there) == 0:
			wrong = append(wrong, fault.Detail{Field: "query." + name, Message: "no such parameter; this takes none"})
		case !is:
			wrong = append(wrong, fault.Detail{Field: "query." + name, Message: unknown(there, name)})
		case len(query[name]) > 1 && !several:
			wrong = append(wrong, fault.Detail{Field: "query." + name, Message: "it is given several times; give it once"})
		}
	}
	return fault.Fields("the request", wrong)
}

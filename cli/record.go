package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// record is a record of any kind.
type record struct {
	Kind       string            `json:"kind"`
	ID         string            `json:"id"`
	Name       string            `json:"name"`
	Project    string            `json:"project"`
	Labels     map[string]string `json:"labels"`
	Generation int64             `json:"generation"`
	Revision   int64             `json:"revision"`
	Created    time.Time         `json:"created"`
	Deleting   *time.Time        `json:"deleting"`
	Holders    []string          `json:"holders"`
	raw        json.RawMessage
	tree       map[string]any
	gone       bool // a watch told that it is not there any more
}

// UnmarshalJSON keeps the whole record beside the parts that are the same for all.
func (r *record) UnmarshalJSON(data []byte) error {
	type plain record
	if err := json.Unmarshal(data, (*plain)(r)); err != nil {
		return err
	}
	r.raw = slices.Clone(data)
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	return d.Decode(&r.tree)
}

// at gives the value at a path like "spec.source.url"; nil if there is none.
func (r *record) at(path string) any {
	var v any = r.tree
	for step := range strings.SplitSeq(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[step]
	}
	return v
}

// text gives the value at a path as people read it; empty if there is none.
func (r *record) text(path string) string { return plain(r.at(path)) }

func plain(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case []any:
		var parts []string
		for _, x := range v {
			parts = append(parts, plain(x))
		}
		return strings.Join(parts, ", ")
	case map[string]any:
		data, _ := json.Marshal(v)
		return string(data)
	}
	return fmt.Sprint(v)
}

// number gives the value at a path; 0 if there is none.
func (r *record) number(path string) int64 {
	n, ok := r.at(path).(json.Number)
	if !ok {
		return 0
	}
	i, _ := n.Int64()
	return i
}

// list gives the values at a path.
func (r *record) list(path string) []any {
	v, _ := r.at(path).([]any)
	return v
}

// time gives the moment at a path; zero if there is none.
func (r *record) time(path string) time.Time {
	t, _ := time.Parse(time.RFC3339, r.text(path))
	return t
}

// problem is one reason why a record is not as specified.
type problem struct {
	Kind, Message string
	Since         time.Time
}

func (r *record) problems() []problem {
	var out []problem
	for _, v := range r.list("status.problems") {
		data, _ := json.Marshal(v)
		var p problem
		if json.Unmarshal(data, &p) == nil {
			out = append(out, p)
		}
	}
	return out
}

// state says in a word how a record is.
func (r *record) state() string {
	switch phase := r.text("status.phase"); {
	case r.gone:
		return "deleted"
	case r.Deleting != nil:
		return "deleting"
	case phase != "":
		return phase
	}
	return "-"
}

// member gives one text of a value that is an object.
func member(v any, name string) string {
	m, _ := v.(map[string]any)
	return plain(m[name])
}

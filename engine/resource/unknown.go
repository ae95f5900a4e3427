package resource

import (
	"bytes"
	"encoding/json"
	"reflect"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"
)

// plain is a Record without the methods below.
type plain[S, T any] Record[S, T]

// HostsField is the field of a stored record that names the hosts whose agents may see it. It stands
// beside the record, so that a server passes on also what it does not understand.
const HostsField = "hosts"

// form is how records are written: as encoding/json writes them, in one pass and without its copies.
var form = jsonv1.DefaultOptionsV1()

// text is an object that is read and written without the ways round of the encoding of any value.
type text interface {
	encode() ([]byte, error)
	UnmarshalJSON([]byte) error
}

// Encode writes a record as it is stored.
func Encode(x Object) ([]byte, error) {
	if t, is := x.(text); is {
		return t.encode()
	}
	return jsonv2.Marshal(x, form)
}

// read is Encode's way back.
func read(data []byte, x Object) error {
	if t, is := x.(text); is {
		return t.UnmarshalJSON(data)
	}
	return jsonv2.Unmarshal(data, x, form)
}

// UnmarshalJSON reads a record of any version. One that has fields which this program does not know is
// kept as it was read, so that MarshalJSON can give them back.
func (r *Record[S, T]) UnmarshalJSON(data []byte) error {
	before := *r
	stored := struct {
		*plain[S, T]
		Hosts jsontext.Value `json:"hosts"`
	}{plain: (*plain[S, T])(r)}
	if jsonv2.Unmarshal(data, &stored, form, jsonv2.RejectUnknownMembers(true)) == nil {
		return nil
	}
	*r = before
	if err := jsonv2.Unmarshal(data, (*plain[S, T])(r), form); err != nil {
		return err
	}
	r.stored = bytes.Clone(data)
	return nil
}

// MarshalJSON writes the record, with the fields that this program does not know as they were read.
func (r Record[S, T]) MarshalJSON() ([]byte, error) { return r.encode() }

func (r *Record[S, T]) encode() ([]byte, error) {
	mine, err := jsonv2.Marshal((*plain[S, T])(r), form)
	if err != nil || r.stored == nil {
		return mine, err
	}
	var known plain[S, T]
	if err := jsonv2.Unmarshal(r.stored, &known, form); err != nil {
		return nil, err
	}
	read, err := jsonv2.Marshal(&known, form)
	if err != nil {
		return nil, err
	}
	return mergeJSON(r.stored, read, mine)
}

// mergeJSON makes in a stored record the changes that lead from what was read of it to what is written.
func mergeJSON(stored, read, written []byte) ([]byte, error) {
	var values [3]any
	for i, text := range [][]byte{stored, read, written} {
		in := json.NewDecoder(bytes.NewReader(text))
		in.UseNumber()
		if err := in.Decode(&values[i]); err != nil {
			return nil, err
		}
	}
	merged := mergeValue(values[0], values[1], values[2])
	if fields, ok := merged.(map[string]any); ok {
		delete(fields, HostsField) // it is derived anew
	}
	return json.Marshal(merged)
}

// mergeValue keeps of what is stored all that was not read, and all that was not changed since.
func mergeValue(stored, read, written any) any {
	if reflect.DeepEqual(read, written) {
		return stored
	}
	if s, r, w, ok := three[map[string]any](stored, read, written); ok {
		return mergeFields(s, r, w)
	}
	if s, r, w, ok := three[[]any](stored, read, written); ok && len(s) == len(r) {
		return mergeList(s, r, w)
	}
	return written
}

func three[T any](a, b, c any) (x, y, z T, ok bool) {
	x, first := a.(T)
	y, second := b.(T)
	z, third := c.(T)
	return x, y, z, first && second && third
}

func mergeFields(stored, read, written map[string]any) map[string]any {
	out := make(map[string]any, len(stored))
	for field, value := range stored {
		if _, known := read[field]; !known {
			out[field] = value
		}
	}
	for field, value := range written {
		if old, there := stored[field]; there {
			value = mergeValue(old, read[field], value)
		}
		out[field] = value
	}
	return out
}

// mergeList finds each element again: by what it was, by its id or name, or else by its place.
func mergeList(stored, read, written []any) []any {
	out := make([]any, len(written))
	for i, value := range written {
		out[i] = value
		if at := sameElement(read, value, i); at >= 0 {
			out[i] = mergeValue(stored[at], read[at], value)
		}
	}
	return out
}

func sameElement(read []any, value any, place int) int {
	for at, old := range read {
		if reflect.DeepEqual(old, value) {
			return at
		}
	}
	fields, ok := value.(map[string]any)
	if !ok {
		return -1
	}
	for _, key := range []string{"id", "name"} {
		if fields[key] == nil {
			continue
		}
		for at, old := range read {
			if o, ok := old.(map[string]any); ok && o[key] == fields[key] {
				return at
			}
		}
		return -1
	}
	if place < len(read) {
		return place
	}
	return -1
}

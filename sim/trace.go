package sim

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"regexp"
	"strings"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

const tailLines = 60

// trace is what happened, in order. Ids are random; they are written as numbers in the order in
// which they were met, so that equal runs have equal traces.
type trace struct {
	hash  hash.Hash
	met   map[resource.ID]int
	lines []string
}

func newTrace() *trace { return &trace{hash: sha256.New(), met: map[resource.ID]int{}} }

// id is the number of an id.
func (t *trace) id(id resource.ID) string {
	n, known := t.met[id]
	if !known {
		n = len(t.met) + 1
		t.met[id] = n
	}
	return fmt.Sprintf("#%d", n)
}

var (
	anyID  = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)
	hashed = regexp.MustCompile(`(ip|mac|uid):.*`) // made of an id, and as random
)

// key is a record's number, or the words of a unique key.
func (t *trace) key(key resource.Ref) string {
	if key.Kind != store.NameKind {
		return t.id(key.ID)
	}
	words := hashed.ReplaceAllString(string(key.ID), "$1")
	return anyID.ReplaceAllStringFunc(words, func(id string) string { return t.id(resource.ID(id)) })
}

func (t *trace) add(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	t.hash.Write([]byte(line + "\n"))
	if len(t.lines) >= 4*tailLines {
		t.lines = append([]string(nil), t.lines[len(t.lines)-tailLines:]...)
	}
	t.lines = append(t.lines, line)
}

func (t *trace) tail() string {
	last := t.lines[max(0, len(t.lines)-tailLines):]
	return "  " + strings.Join(last, "\n  ")
}

func (t *trace) sum() string { return hex.EncodeToString(t.hash.Sum(nil)) }

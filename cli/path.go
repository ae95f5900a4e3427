package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/theory/jsonpath"
)

// pathPrefix begins an output format that is a path of RFC 9535.
const pathPrefix = "jsonpath="

// parsePath reads a path as the standard writes it, $.status.phase, and as people shorten it:
// .status.phase, status.phase, {.status.phase}.
func parsePath(text string) (*jsonpath.Path, error) {
	text = strings.TrimSpace(text)
	if inner, braced := strings.CutPrefix(text, "{"); braced {
		text = strings.TrimSpace(strings.TrimSuffix(inner, "}"))
	}
	switch {
	case strings.HasPrefix(text, "$"):
	case strings.HasPrefix(text, "."), strings.HasPrefix(text, "["):
		text = "$" + text
	default:
		text = "$." + text
	}
	p, err := jsonpath.Parse(text)
	if err != nil {
		return nil, refuse("%q is no path: %v; for example jsonpath=.status.phase", text, err)
	}
	return p, nil
}

// writePath writes what a path finds in a value, one a line: texts as they are, all else as JSON.
func writePath(w io.Writer, text string, v any) error {
	p, err := parsePath(text)
	if err != nil {
		return err
	}
	for _, found := range p.Select(v) {
		if said, isText := found.(string); isText {
			fmt.Fprintln(w, said)
			continue
		}
		out, err := json.Marshal(found)
		if err != nil {
			return fail("internal", "write the answer: %v", err)
		}
		fmt.Fprintln(w, string(out))
	}
	return nil
}

package etcd

import (
	"net/url"
	"strings"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

const (
	root   = "/virga/records/"
	hidden = "/virga/hidden/" // neither listed nor watched with everything
)

func prefix(kind resource.Kind) string {
	under := root
	if store.Hidden(kind) {
		under = hidden
	}
	return under + url.PathEscape(string(kind)) + "/"
}

// encode makes the key of an entry. A project whose id is "-" is escaped, as "-" means none.
func encode(ref resource.Ref) string {
	project := url.PathEscape(string(ref.Project))
	switch project {
	case "":
		project = "-"
	case "-":
		project = "%2D"
	}
	return prefix(ref.Kind) + project + "/" + url.PathEscape(string(ref.ID))
}

func decode(key string) (resource.Ref, error) {
	rest, known := strings.CutPrefix(key, root)
	if !known {
		rest, known = strings.CutPrefix(key, hidden)
	}
	var parts [3]string
	var whole, second bool
	parts[0], rest, whole = strings.Cut(rest, "/")
	parts[1], parts[2], second = strings.Cut(rest, "/")
	if !known || !whole || !second || strings.Contains(parts[2], "/") {
		return resource.Ref{}, fault.New(fault.Internal, "%q is no key of a record", key)
	}
	if parts[1] == "-" {
		parts[1] = ""
	}
	for i, p := range parts {
		plain, err := url.PathUnescape(p)
		if err != nil {
			return resource.Ref{}, fault.New(fault.Internal, "%q is no key of a record: %w", key, err)
		}
		parts[i] = plain
	}
	return resource.Ref{Kind: resource.Kind(parts[0]), Project: resource.ID(parts[1]), ID: resource.ID(parts[2])}, nil
}

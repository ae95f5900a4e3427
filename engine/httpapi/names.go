package httpapi

import (
	"fmt"
	"path"
	"reflect"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// namer names the schemas of the document: VM, VMSpec, VMList. A name that two packages have gets
// the package in front for the second.
type namer struct{ taken map[string]reflect.Type }

// newNamer keeps the names of the kinds for their records: the clients find the models of kinds by them.
func newNamer(kinds *resource.Catalog) *namer {
	n := &namer{taken: map[string]reflect.Type{}}
	for _, d := range kinds.All() {
		record := reflect.TypeOf(d.New()).Elem()
		n.taken[Noun(field(record, "Spec"))] = record
	}
	return n
}

func (n *namer) name(t reflect.Type, hint string) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	name := schemaName(t, hint)
	if t.Kind() != reflect.Struct {
		return name
	}
	if first, taken := n.taken[name]; taken && first != t {
		name = title(path.Base(t.PkgPath())) + name
	}
	n.taken[name] = t
	return name
}

func schemaName(t reflect.Type, hint string) string {
	generic, _, _ := strings.Cut(t.Name(), "[")
	switch {
	case generic == "Record" && generic != t.Name():
		return Noun(field(t, "Spec"))
	case generic == "Page" && generic != t.Name():
		return schemaName(field(t, "Items").Elem().Elem(), "") + "List"
	case generic == "Draft" && generic != t.Name(), generic == "Change" && generic != t.Name():
		return Noun(field(t, "Spec")) + generic
	case t.Name() == "Spec" || t.Name() == "Status" && !strings.HasSuffix(t.PkgPath(), "/httpapi"):
		return title(path.Base(t.PkgPath())) + t.Name()
	case t.Name() == "Status":
		return "ServerStatus"
	}
	return huma.DefaultSchemaNamer(t, hint)
}

func field(t reflect.Type, name string) reflect.Type {
	f, _ := t.FieldByName(name)
	return f.Type
}

// Noun is the name of a record in the document, made of its spec's: VMSpec is of VM, host.Spec of Host.
func Noun(spec reflect.Type) string {
	if noun := strings.TrimSuffix(spec.Name(), "Spec"); noun != "" {
		return title(noun)
	}
	return title(path.Base(spec.PkgPath()))
}

func title(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

var nameForm = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)

// CheckName refuses what is no name: an RFC 1123 label.
func CheckName(name string) error {
	why := ""
	switch {
	case name == "":
		why = "a name is needed"
	case len(name) > 63:
		why = fmt.Sprintf("it has %d characters, at most 63 are allowed", len(name))
	case !nameForm.MatchString(name):
		why = "only lower case letters, digits and dashes are allowed, and no dash at either end"
	case resource.IsID(name):
		why = "it has the form of an id, and would be taken for one"
	default:
		return nil
	}
	return fault.Fields(fmt.Sprintf("name %q", name), []fault.Detail{{Field: "name", Message: why}})
}

var labelForm = regexp.MustCompile(`^[a-zA-Z0-9]([-a-zA-Z0-9_./]*[a-zA-Z0-9])?$`)

func checkLabels(labels map[string]string) error {
	var wrong []fault.Detail
	for k, v := range labels {
		switch {
		case len(k) > 128 || !labelForm.MatchString(k):
			wrong = append(wrong, fault.Detail{Field: "labels." + k, Message: "a label's key has up to 128 letters, digits, and - _ . / between them"})
		case utf8.RuneCountInString(v) > 256 || strings.ContainsAny(v, ",\n"):
			wrong = append(wrong, fault.Detail{Field: "labels." + k, Message: "a label's value has up to 256 characters, no comma and no line break"})
		}
	}
	if len(labels) > 64 {
		wrong = append(wrong, fault.Detail{Field: "labels", Message: "at most 64 labels are allowed"})
	}
	return fault.Fields("labels", wrong)
}

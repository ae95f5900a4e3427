package httpapi

import (
	"bytes"
	"encoding/json"
	"html/template"
	"sort"
	"strings"

	"github.com/virga-cloud/virga/engine/fault"
)

// referencePage makes a plain page of an OpenAPI document: no script, nothing from elsewhere.
func referencePage(document []byte) ([]byte, error) {
	var d apiDocument
	if err := json.Unmarshal(document, &d); err != nil {
		return nil, fault.New(fault.Internal, "read the OpenAPI document: %w", err)
	}
	var out bytes.Buffer
	if err := pageTemplate.Execute(&out, d.chapters()); err != nil {
		return nil, fault.New(fault.Internal, "write the reference page: %w", err)
	}
	return out.Bytes(), nil
}

type apiDocument struct {
	Info       struct{ Title, Version string }
	Paths      map[string]map[string]apiRoute
	Components struct{ Schemas map[string]apiSchema }
}

type apiRoute struct {
	Summary, Description string
	Tags                 []string
	Action               string `json:"x-action"`
	Parameters           []struct {
		Name, In, Description string
		Required              bool
	}
	RequestBody struct {
		Content map[string]struct{ Schema apiSchema }
	}
	Responses map[string]struct {
		Content map[string]struct{ Schema apiSchema }
	}
	Method, Path string `json:"-"`
}

type apiSchema struct {
	Type                 any
	Ref                  string `json:"$ref"`
	Description, Format  string
	Enum                 []any
	Required             []string
	Properties           map[string]apiSchema
	Items                *apiSchema
	AdditionalProperties any
}

// Name is the type in words.
func (s apiSchema) Name() string {
	switch {
	case s.Ref != "":
		return s.Ref[strings.LastIndexByte(s.Ref, '/')+1:]
	case s.Items != nil:
		return "list of " + s.Items.Name()
	case s.Type == nil:
		return "anything"
	}
	text, _ := json.Marshal(s.Type)
	name := strings.Trim(string(text), `"`)
	if s.Format != "" {
		name += " (" + s.Format + ")"
	}
	return name
}

// Link is the schema that the type refers to, if any.
func (s apiSchema) Link() string {
	if s.Items != nil {
		return s.Items.Link()
	}
	if s.Ref == "" {
		return ""
	}
	return s.Name()
}

// Request is the schema of the body.
func (r apiRoute) Request() *apiSchema {
	if c, ok := r.RequestBody.Content["application/json"]; ok {
		return &c.Schema
	}
	return nil
}

// Answer is the schema of success.
func (r apiRoute) Answer() *apiSchema {
	for status, a := range r.Responses {
		if c, ok := a.Content["application/json"]; ok && strings.HasPrefix(status, "2") {
			return &c.Schema
		}
	}
	return nil
}

type chapter struct {
	Tag    string
	Routes []apiRoute
}

type reference struct {
	Title, Version string
	Chapters       []chapter
	Schemas        map[string]apiSchema
}

func (d *apiDocument) chapters() reference {
	byTag := map[string][]apiRoute{}
	for path, methods := range d.Paths {
		for method, r := range methods {
			r.Method, r.Path = strings.ToUpper(method), path
			tag := "server"
			if len(r.Tags) > 0 {
				tag = r.Tags[0]
			}
			byTag[tag] = append(byTag[tag], r)
		}
	}
	out := reference{Title: d.Info.Title, Version: d.Info.Version, Schemas: d.Components.Schemas}
	for tag, routes := range byTag {
		sort.Slice(routes, func(i, j int) bool { return routes[i].Path+routes[i].Method < routes[j].Path+routes[j].Method })
		out.Chapters = append(out.Chapters, chapter{tag, routes})
	}
	sort.Slice(out.Chapters, func(i, j int) bool { return out.Chapters[i].Tag < out.Chapters[j].Tag })
	return out
}

var pageTemplate = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Title}} API</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
nav a { margin-right: .8rem; } h2 { margin-top: 2.5rem; border-bottom: 1px solid #ccc; } h3 { margin: 1.6rem 0 .2rem; font-size: 1rem; }
code { font-family: ui-monospace, monospace; } .doc { white-space: pre-line; margin: .2rem 0; } .small { color: #666; }
table { border-collapse: collapse; width: 100%; } td { border-top: 1px solid #eee; padding: .2rem .6rem .2rem 0; vertical-align: top; }
@media (prefers-color-scheme: dark) { body { background: #161616; color: #ddd; } a { color: #8bf; } td { border-color: #333; } }
</style></head><body>
<h1>{{.Title}} API <span class="small">{{.Version}}</span></h1>
<p>The same as a document for programs: <a href="/openapi.json">/openapi.json</a></p>
<nav>{{range .Chapters}}<a href="#{{.Tag}}">{{.Tag}}</a> {{end}}</nav>
{{range .Chapters}}<h2 id="{{.Tag}}">{{.Tag}}</h2>
{{range .Routes}}<h3><code>{{.Method}} {{.Path}}</code></h3>
<p class="doc">{{.Summary}} <span class="small">(action: {{.Action}})</span>{{with .Description}}
{{.}}{{end}}</p>
{{if .Parameters}}<table>{{range .Parameters}}<tr><td><code>{{.Name}}</code></td><td class="small">{{.In}}{{if .Required}}, required{{end}}</td><td>{{.Description}}</td></tr>{{end}}</table>{{end}}
{{with .Request}}<p class="small">Request: {{if .Link}}<a href="#s-{{.Link}}">{{.Name}}</a>{{else}}{{.Name}} {{.Description}}{{end}}</p>{{end}}
{{with .Answer}}<p class="small">Answer: {{if .Link}}<a href="#s-{{.Link}}">{{.Name}}</a>{{else}}{{.Name}}{{end}}</p>{{end}}
{{end}}{{end}}
<h2>Schemas</h2>
{{range $name, $s := .Schemas}}<h3 id="s-{{$name}}">{{$name}}</h3>
<p class="doc">{{$s.Description}}</p>
<table>{{range $field, $f := $s.Properties}}<tr><td><code>{{$field}}</code></td><td class="small">{{if $f.Link}}<a href="#s-{{$f.Link}}">{{$f.Name}}</a>{{else}}{{$f.Name}}{{end}}</td><td>{{$f.Description}}{{range $i, $e := $f.Enum}}{{if $i}},{{else}} <span class="small">One of</span>{{end}} <code>{{$e}}</code>{{end}}</td></tr>{{end}}</table>
{{end}}</body></html>
`))

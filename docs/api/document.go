// Package api holds the OpenAPI document of Virga's HTTP API, as it is served at /openapi.json and
// shown at /docs.
package api

import _ "embed"

// Document is the document in YAML. It is generated: go generate ./client.
//
//go:embed openapi.yaml
var Document []byte

// Package client is the Go client of Virga's HTTP API.
//
// api.gen.go is generated from docs/api/openapi.yaml. Connect reaches a server by its unix socket
// or by HTTPS with a token; every answer that is a problem comes back as an *Error with the kind
// of the fault, so that a caller looks at err alone. Watch follows changes over breaks of the
// connection, Dial opens a websocket.
package client

//go:generate go run ../cmd/virga document ../docs/api
//go:generate go -C ../tools tool oapi-codegen -config ../client/oapi.yaml ../docs/api/openapi.yaml

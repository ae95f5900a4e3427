// Package client is the Go client of Virga's HTTP API.
//
// Connect reaches a server by its unix socket or by HTTPS with a token. The models of records and
// requests, and the list of kinds, are generated; the verbs are written once, on Kind, for all:
//
//	vm, err := client.VMs.Get(ctx, conn, "default", "web")
//
// Call is for the routes that are no verb of a kind. Every answer that is a problem comes back as an
// *Error with the kind of the fault, so that a caller looks at err alone. Watch and Follow go on over
// breaks of the connection, Dial opens a websocket.
package client

//go:generate ../tools/document.sh
//go:generate go -C ../tools tool oapi-codegen -config ../client/oapi.yaml ../docs/api/openapi.yaml
//go:generate ../tools/document.sh

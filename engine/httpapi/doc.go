// Package httpapi is the machinery of the HTTP API: typed routes for records, a watch as a
// server-sent stream, faults as problem documents, and the OpenAPI document of all of it.
//
// It has never heard of a virtual machine. A domain hands it a kind with Routes, and gets list,
// get, create, update, delete and actions in one manner:
//
//   - what is read comes from one Snapshot; what is written goes into one Batch; the machinery
//     commits it, and begins anew from a fresh Snapshot when somebody else was faster, unless
//     the caller named the revision that it must be (If-Match).
//   - every error is a fault, and leaves as application/problem+json with the status of its kind.
//   - a request is read strictly: a field that is not known is refused, with the nearest ones that are.
//   - nobody is asked twice who they are: Authenticate says it once for each request, and each
//     route says which Right it needs.
package httpapi

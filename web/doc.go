// Package web is the console: a program in the browser that knows the HTTP API alone, and the handler that hands
// it out.
//
// The sources are in src (React, TypeScript); `make web` builds dist, which is checked in under stable names and
// becomes a part of the binary, so that building and running Virga needs no Node.js. A test compares dist/SOURCE
// with the sources: what was not built anew does not pass.
//
// What a person may do is decided by the API alone. The page has no secret: a session is in a cookie that scripts
// cannot read. It loads nothing from another server, and the content security policy holds it to that.
package web

// Package cli is the command line: virga <noun> <verb>.
//
// It knows the cloud only through its HTTP API. Records are treated generically: a noun is an
// entry of a table (one file a noun) with its columns, its flags for creation and its verbs; list,
// show, delete, label, waiting, output formats and completion are the same for all of them.
//
// What a command has to say goes to standard output, everything else to standard error: progress
// only when a person looks at it. The exit code is that of the fault that the server answered.
package cli

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// exitCodes are the exit codes of the kinds of faults; 1 is an internal one, or one we do not know.
var exitCodes = map[string]int{
	"invalid": 2, "unauthenticated": 3, "denied": 4, "not-found": 5, "exists": 6, "conflict": 7,
	"precondition": 8, "exhausted": 9, "unavailable": 10, "too-late": 11, "internal": 1,
}

const exitInterrupted = 130

// detail is one wrong field of a request.
type detail struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

// failure is a fault: of the server, or of what was typed.
type failure struct {
	Kind    string   `json:"kind"`
	Message string   `json:"detail"`
	Details []detail `json:"errors"`
}

func (f *failure) Error() string { return f.Message }

// refuse makes the failure of what was typed.
func refuse(format string, args ...any) error { return fail("invalid", format, args...) }

func fail(kind, format string, args ...any) error {
	return &failure{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// isFailure reports whether err is a fault of a kind.
func isFailure(err error, kind string) bool {
	f, ok := errors.AsType[*failure](err)
	return ok && f.Kind == kind
}

// exitCode is the one exit code of an error.
func exitCode(err error) int {
	if err == nil {
		return 0
	}
	if f, ok := errors.AsType[*failure](err); ok {
		if code, known := exitCodes[f.Kind]; known {
			return code
		}
		return 1
	}
	if errors.Is(err, context.Canceled) {
		return exitInterrupted
	}
	return 1
}

// complain says an error in words.
func complain(w io.Writer, err error) {
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(w, "virga: interrupted; what was asked for goes on in the cloud")
		return
	}
	fmt.Fprintln(w, "virga: "+err.Error())
	f, ok := errors.AsType[*failure](err)
	if !ok || len(f.Details) < 2 {
		return
	}
	for _, d := range f.Details {
		fmt.Fprintf(w, "  %s: %s\n", d.Field, d.Message)
	}
}

// Package fault is the closed list of error kinds that the whole system speaks.
//
// A kind answers one question: who does what next. It is chosen where the cause is known,
// carried unchanged through every layer, and mapped exactly once to an HTTP status and a
// CLI exit code. Text is for people; code decides on the kind and never on the text.
//
// Messages are lower case and say what was being done to what, the cause once, and what to do.
package fault

import (
	"context"
	"errors"
	"fmt"
)

// Kind says who has to act next.
type Kind string

// The closed list. A new kind needs a new answer to "who does what next".
const (
	Invalid         Kind = "invalid"         // the caller corrects the request
	Unauthenticated Kind = "unauthenticated" // the caller shows who they are
	Denied          Kind = "denied"          // the caller asks somebody for the right
	NotFound        Kind = "not-found"       // the caller names something that is there
	Exists          Kind = "exists"          // the caller picks another name, or uses what is there
	Conflict        Kind = "conflict"        // the caller reads again and retries
	Stale           Kind = "stale"           // the caller reads again and decides anew: the revision that it named is past
	Precondition    Kind = "precondition"    // the caller first brings the thing into the needed state
	Exhausted       Kind = "exhausted"       // somebody adds capacity or raises a quota
	Unavailable     Kind = "unavailable"     // the caller waits and retries
	TooLate         Kind = "too-late"        // the caller starts over: the past it asks for is gone
	Internal        Kind = "internal"        // we fix a bug
)

// Kinds returns the closed list in the order of the documentation.
func Kinds() []Kind {
	return []Kind{Invalid, Unauthenticated, Denied, NotFound, Exists, Conflict, Stale, Precondition, Exhausted, Unavailable, TooLate, Internal}
}

type mapping struct {
	status, exit int
	next         string
}

var mappings = map[Kind]mapping{
	Invalid:         {422, 2, "correct the request"},
	Unauthenticated: {401, 3, "show who you are: a token, a certificate, or the unix socket as root"},
	Denied:          {403, 4, "ask an administrator for the right"},
	NotFound:        {404, 5, "name something that is there"},
	Exists:          {409, 6, "pick another name, or use what is there"},
	Conflict:        {409, 7, "read again and retry"},
	Stale:           {412, 12, "read again, and decide on what is there now"},
	Precondition:    {409, 8, "bring it into the needed state first"},
	Exhausted:       {507, 9, "add capacity, free some, or raise the quota"},
	Unavailable:     {503, 10, "wait and retry"},
	TooLate:         {410, 11, "start over from the present"},
	Internal:        {500, 1, "report this as a bug"},
}

// HTTPStatus is the one status code of a kind. By RFC 9110 a conflict with the state of what is there
// is 409, whatever its kind, and 412 says that an If-Match did not hold. No route demands an If-Match,
// so none answers 428.
func (k Kind) HTTPStatus() int { return k.of().status }

// ExitCode is the one exit code of the command line for a kind.
func (k Kind) ExitCode() int { return k.of().exit }

// Next says in a few words who does what next.
func (k Kind) Next() string { return k.of().next }

func (k Kind) of() mapping {
	if m, ok := mappings[k]; ok {
		return m
	}
	return mappings[Internal]
}

// Detail points at one field of a request that is wrong.
type Detail struct {
	// Field is the JSON path of the field, for example "spec.memoryMiB".
	Field string `json:"field"`
	// Message says what is wrong with it.
	Message string `json:"message"`
}

// Error is a kind with a sentence for people and, below it, the cause.
type Error struct {
	Kind    Kind
	Message string
	Details []Detail
	// Outside is said instead of Message to who does not run the cloud; none: Message.
	Outside string
	cause   error
}

// New makes an error. A %w in format keeps the cause; the kind given here wins over the cause's.
func New(kind Kind, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Kind: kind, Message: err.Error(), cause: errors.Unwrap(err)}
}

// ForTenants says what is said instead to who does not run the cloud: a message that names no host.
func (e *Error) ForTenants(format string, args ...any) *Error {
	e.Outside = fmt.Sprintf(format, args...)
	return e
}

// Fields makes an invalid error that lists every wrong field at once; nil if there is none.
func Fields(what string, details []Detail) error {
	if len(details) == 0 {
		return nil
	}
	text := what + ": " + details[0].Field + ": " + details[0].Message
	if n := len(details) - 1; n > 0 {
		text += fmt.Sprintf(" (and %d more)", n)
	}
	return &Error{Kind: Invalid, Message: text, Details: details}
}

func (e *Error) Error() string { return e.Message }

// ExitCode is the exit code of a command that ends with this error.
func (e *Error) ExitCode() int { return e.Kind.ExitCode() }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.cause }

// KindOf finds the kind of any error. A context that ended is unavailable; what carries no kind is internal.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return Unavailable
	}
	return Internal
}

// OutsideOf gives what is said of err to who does not run the cloud; empty: what is said to everybody.
func OutsideOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Outside
	}
	return ""
}

// Is reports whether err is of kind.
func Is(err error, kind Kind) bool { return err != nil && KindOf(err) == kind }

// Wrap says what was being done when err happened, and keeps its kind. Wrap of nil is nil.
func Wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	wrapped := New(KindOf(err), "%s: %w", fmt.Sprintf(format, args...), err)
	if e, ok := errors.AsType[*Error](err); ok {
		wrapped.Details, wrapped.Outside = e.Details, e.Outside
	}
	return wrapped
}

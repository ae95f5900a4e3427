package fault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
)

func TestEveryKindHasAStatusAndItsOwnExitCodeAndAnswer(t *testing.T) {
	exits, answers := map[int]Kind{}, map[string]Kind{}
	for _, k := range Kinds() {
		if other, taken := answers[k.Next()]; taken {
			t.Errorf("%s and %s have one answer: %s", k, other, k.Next())
		}
		if other, taken := exits[k.ExitCode()]; taken {
			t.Errorf("%s and %s both exit with %d", k, other, k.ExitCode())
		}
		answers[k.Next()], exits[k.ExitCode()] = k, k
		if k.Next() == "" || k.ExitCode() == 0 || k.HTTPStatus() < 400 {
			t.Errorf("%s: %d, %d, %q", k, k.HTTPStatus(), k.ExitCode(), k.Next())
		}
	}
	if len(mappings) != len(Kinds()) {
		t.Errorf("%d kinds are mapped, %d listed", len(mappings), len(Kinds()))
	}
	if Kind("nonsense").HTTPStatus() != 500 {
		t.Error("a kind that is none is not internal")
	}
}

func TestConflictsWithTheStateAre409AndAStaleIfMatchIs412(t *testing.T) {
	for kind, want := range map[Kind]int{Exists: 409, Conflict: 409, Precondition: 409, Stale: 412} {
		if got := kind.HTTPStatus(); got != want {
			t.Errorf("%s is HTTP %d, want %d", kind, got, want)
		}
	}
	for _, k := range Kinds() {
		if k.HTTPStatus() == 428 {
			t.Errorf("%s is HTTP 428, which says that an If-Match is missing, and no route demands one", k)
		}
	}
}

func TestTheKindOfAnyError(t *testing.T) {
	for _, test := range []struct {
		err  error
		want Kind
	}{
		{nil, ""},
		{errors.New("x"), Internal},
		{New(Denied, "x"), Denied},
		{fmt.Errorf("around: %w", New(Denied, "x")), Denied},
		{context.Canceled, Unavailable},
		{fmt.Errorf("around: %w", context.DeadlineExceeded), Unavailable},
		{New(Invalid, "x: %w", New(Denied, "y")), Invalid},
		{errors.Join(errors.New("a"), New(Exists, "b")), Exists},
	} {
		if got := KindOf(test.err); got != test.want {
			t.Errorf("%v is %q, want %q", test.err, got, test.want)
		}
	}
}

func TestWrapKeepsKindCauseAndDetails(t *testing.T) {
	cause := Fields("vm web", []Detail{{"spec.cpus", "must be 1 or more"}, {"spec.name", "is empty"}})
	err := Wrap(cause, "create %s", "web")
	if err.Error() != "create web: vm web: spec.cpus: must be 1 or more (and 1 more)" {
		t.Errorf("it says %q", err)
	}
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Kind != Invalid || len(e.Details) != 2 || !errors.Is(err, cause) {
		t.Errorf("it is %+v", e)
	}
	if Wrap(nil, "x") != nil || Fields("x", nil) != nil {
		t.Error("nothing became an error")
	}
	if err := Wrap(io.EOF, "read"); !Is(err, Internal) || !errors.Is(err, io.EOF) {
		t.Errorf("a foreign error: %v", err)
	}
	if Is(nil, Internal) {
		t.Error("no error has a kind")
	}
}

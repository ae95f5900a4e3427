package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/virga-cloud/virga/client"
)

const exitInterrupted = 130

// refuse makes the fault of what was typed.
func refuse(format string, args ...any) error { return fail("invalid", format, args...) }

func fail(kind, format string, args ...any) error {
	return &client.Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// exitCode is the one exit code of an error.
func exitCode(err error) int {
	if errors.Is(err, context.Canceled) {
		return exitInterrupted
	}
	if status, ok := errors.AsType[exitStatus](err); ok {
		return int(status)
	}
	return client.ExitCode(err)
}

// each does the same for every name, also when one of them is refused: none that was named is passed
// over. Where there are several, a failure is said at once; the exit code is that of the first.
func each(cmd *cobra.Command, names []string, do func(name string) error) error {
	var first error
	for _, name := range names {
		err := do(name)
		switch {
		case err == nil:
			continue
		case len(names) == 1 || errors.Is(err, context.Canceled):
			return err
		case first == nil:
			first = exitStatus(exitCode(err))
		}
		complain(cmd.ErrOrStderr(), err)
	}
	return first
}

// complain says an error in words.
func complain(w io.Writer, err error) {
	if _, ran := errors.AsType[exitStatus](err); ran {
		return // it said for itself why
	}
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(w, "virga: interrupted; what was asked for goes on in the cloud")
		return
	}
	fmt.Fprintln(w, "virga: "+harmless(err.Error()))
	f, ok := errors.AsType[*client.Error](err)
	if !ok || len(f.Details) < 2 {
		return
	}
	for _, d := range f.Details {
		fmt.Fprintf(w, "  %s: %s\n", harmless(d.Field), harmless(d.Message))
	}
}

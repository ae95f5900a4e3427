package cli

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// harmless makes visible what would steer the terminal of whoever reads: control characters of both
// sets, and those that turn the direction of writing. Names, descriptions and labels were chosen by
// others. The spelling is also JSON's, so that what is read by a program stays what it was.
func harmless(text string) string {
	if !strings.ContainsFunc(text, steers) && utf8.ValidString(text) {
		return text
	}
	var out strings.Builder
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&out, `\x%02x`, text[i])
		case strings.HasPrefix(text[i:], "\r\n"): // the end of a line, as guests write it
		case steers(r):
			fmt.Fprintf(&out, `\u%04x`, r)
		default:
			out.WriteString(text[i : i+n])
		}
		i += n
	}
	return out.String()
}

func steers(r rune) bool {
	switch {
	case r == '\n' || r == '\t':
		return false
	case r < 0x20, r >= 0x7f && r <= 0x9f:
		return true
	}
	return turns(r)
}

// turns reports whether a letter turns the direction of writing, or is a line's end that is none.
func turns(r rune) bool {
	return r == 0x061c || r == 0x200e || r == 0x200f || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

// oneLine is a text for a cell of a table: whoever wrote it must not begin a row of their own.
func oneLine(text string) string { return strings.Join(strings.FieldsFunc(text, isBreak), " ") }

func isBreak(r rune) bool { return r == '\n' || r == '\r' }

// screen is standard output: everything that is written to it is harmless. It keeps the first error,
// which those who print tables do not look at.
type screen struct {
	plain io.Writer
	err   error
}

func (s *screen) Write(p []byte) (int, error) {
	_, err := io.WriteString(s.plain, harmless(string(p)))
	if err != nil && s.err == nil {
		s.err = fail("internal", "write the output: %v", err)
	}
	return len(p), err
}

// watchOutput puts a screen before a program's standard output.
func watchOutput(root *cobra.Command) {
	if _, already := root.OutOrStdout().(*screen); !already {
		root.SetOut(&screen{plain: root.OutOrStdout()})
	}
}

// lostOutput is why what a command printed did not arrive; nil if it did.
func lostOutput(root *cobra.Command) error {
	if s, ok := root.OutOrStdout().(*screen); ok {
		return s.err
	}
	return nil
}

// bytesOut is where bytes go that are a guest's or a picture, as they are.
func bytesOut(cmd *cobra.Command) io.Writer {
	if s, ok := cmd.OutOrStdout().(*screen); ok {
		return s.plain
	}
	return cmd.OutOrStdout()
}

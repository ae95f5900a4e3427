package cli

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"
)

func TestHarmlessTextShowsWhatWouldSteerATerminal(t *testing.T) {
	for text, want := range map[string]string{
		"plain, ü ☃ 👩‍🚀\n\tx": "plain, ü ☃ 👩‍🚀\n\tx",
		"a\x1b[2Jb":           `a\u001b[2Jb`,
		"no\rcent\x07":        `no\u000dcent\u0007`,
		"c1\u009b31m":         `c1\u009b31m`,
		"exe\u202egpj":        `exe\u202egpj`,
		"line\u2028end":       `line\u2028end`,
		"byte\x9b":            `byte\x9b`,
		"guest\r\nlines\r\n":  "guest\nlines\n",
		"del\x7f":             `del\u007f`,
	} {
		if got := harmless(text); got != want {
			t.Errorf("%q: %q, wanted %q", text, got, want)
		}
	}
}

func TestHarmlessTextHasNoControlsWhateverWasGiven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")) + rapid.String().Draw(t, "text")
		got := harmless(text)
		for _, r := range got {
			if unicode.IsControl(r) && r != '\n' && r != '\t' || turns(r) || r == unicode.ReplacementChar && !strings.ContainsRune(text, r) {
				t.Fatalf("%q has %q", got, r)
			}
		}
		if harmless(got) != got {
			t.Fatalf("%q is changed again", got)
		}
		data, _ := json.Marshal(text)
		var before, after string
		if json.Unmarshal(data, &before) != nil || json.Unmarshal([]byte(harmless(string(data))), &after) != nil || before != after {
			t.Fatalf("%q read as JSON is %q", before, after)
		}
	})
}

func TestOutputThatIsLostIsAnError(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	root := New("test")
	root.SetOut(full)
	root.SetErr(new(strings.Builder))
	root.SetArgs([]string{"completion", "bash"})
	if code := Run(root); code != 1 {
		t.Errorf("exit code %d", code)
	}
}

package compute

import (
	"strings"
	"testing"

	"github.com/virga-cloud/virga/engine/fault"
)

func TestACommandForAGuestIsJudgedBeforeItIsSent(t *testing.T) {
	for word, r := range map[string]ExecRequest{
		"name the program":      {},
		"zero byte":             {Command: []string{"a\x00b"}},
		"is not NAME=value":     {Command: []string{"ls"}, Env: []string{"PATH"}},
		"virga vm cp":           {Command: []string{"cat"}, Stdin: make([]byte, MaxExecStdin+1)},
		"not between 1 and 600": {Command: []string{"ls"}, TimeoutSeconds: 601},
		"-5 is not between":     {Command: []string{"ls"}, TimeoutSeconds: -5},
		"more than the 16384":   {Command: []string{"echo", strings.Repeat("x", 16<<10)}},
	} {
		r.Default()
		if err := r.Check(); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), word) {
			t.Errorf("%q: %v", word, err)
		}
	}
	r := ExecRequest{Command: []string{"/bin/ls", "-l"}, Env: []string{"A=b=c"}, Stdin: make([]byte, MaxExecStdin)}
	r.Default()
	if err := r.Check(); err != nil || r.TimeoutSeconds != 60 {
		t.Errorf("%v %d", err, r.TimeoutSeconds)
	}
	for _, path := range []string{"", "a\x00", strings.Repeat("x", 5000)} {
		if CheckGuestPath(path) == nil {
			t.Errorf("%q is taken for a path", path)
		}
	}
}

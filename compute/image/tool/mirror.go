package tool

import (
	"context"
	"strings"

	"github.com/virga-cloud/virga/engine/fault"
)

// Impatience makes apt give up on a mirror that does not answer within half a minute; by itself it
// tries for many.
var Impatience = []string{`Acquire::Retries "1";`, `Acquire::http::Timeout "15";`, `Acquire::https::Timeout "15";`}

// impatience is the same as options of apt-get.
func impatience() []string {
	var out []string
	for _, setting := range Impatience {
		out = append(out, "-o", strings.NewReplacer(` "`, "=", `";`, "").Replace(setting))
	}
	return out
}

// Fetch runs a command that fetches packages. Where a mirror is in the way the error says which and
// what to do. It is final: apt has tried again, and somebody waits for an answer.
func (c Command) Fetch(ctx context.Context) error {
	var refusal refusal
	told := c.Line
	c.Line = func(line string) {
		refusal.read(line)
		if told != nil {
			told(line)
		}
	}
	_, err := c.Run(ctx)
	if err == nil || ctx.Err() != nil || refusal.mirror == "" {
		return err
	}
	return fault.New(fault.Precondition, "the package mirror %s cannot be used: %s; give this server a way to it, or name another mirror in /etc/apt/sources.list, and build again",
		refusal.mirror, refusal.why)
}

// refusal is the first thing that apt could not fetch. Apt says it in two lines:
//
//	Err:4 http://192.0.2.1/debian bookworm Release
//	  Could not connect to 192.0.2.1:80 (192.0.2.1), connection timed out
type refusal struct{ mirror, why string }

func (r *refusal) read(line string) {
	words := strings.Fields(line)
	switch {
	case r.mirror == "" && len(words) > 1 && strings.HasPrefix(words[0], "Err:"):
		r.mirror = words[1]
	case r.mirror != "" && r.why == "" && strings.HasPrefix(line, "  "):
		r.why = strings.TrimSpace(line)
	}
}

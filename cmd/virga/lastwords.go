package main

import (
	"os"
	"regexp"
	"strconv"
	"strings"
)

// lastWords is why a daemon ended, in a sentence: what its log says from a place on.
func lastWords(path string, from int64) string {
	data, err := os.ReadFile(path)
	if err != nil || int64(len(data)) < from {
		return "it said nothing"
	}
	return reason(string(data[from:]))
}

// reason finds the sentence in what a daemon wrote before it ended: the error that it ended with, or
// what it panicked about. The stack of a panic is for the log, not for people.
func reason(said string) string {
	lines := strings.Split(said, "\n")
	for i, line := range lines {
		if what, bug := crash(line); bug {
			return "it met a bug of ours: " + what + where(lines[i+1:])
		}
	}
	for i := len(lines) - 1; i >= 0; i-- {
		if line := strings.TrimSpace(lines[i]); line != "" {
			return sentence(line)
		}
	}
	return "it said nothing"
}

var crashes = []string{"panic: ", "fatal error: ", "unexpected fault address ", "SIGSEGV: ", "SIGABRT: "}

// crash reports whether a line is the Go runtime's word of a crash, and what it says.
func crash(line string) (what string, ok bool) {
	for _, begin := range crashes {
		if rest, is := strings.CutPrefix(line, begin); is {
			rest, _, _ = strings.Cut(rest, " [recovered")
			return strings.TrimSpace(rest), true
		}
	}
	return "", false
}

var frame = regexp.MustCompile(`/([a-z]+/[a-z0-9_]+\.go:\d+)`)

// where names the first place of ours in a stack: what a report of the bug needs.
func where(stack []string) string {
	for _, line := range stack {
		if at := frame.FindStringSubmatch(line); at != nil && strings.HasPrefix(line, "\t") && !strings.Contains(line, "/src/runtime/") && !strings.Contains(line, "/pkg/mod/") {
			return " (in " + at[1] + ")"
		}
	}
	return ""
}

var logged = regexp.MustCompile(`(?:^| )(msg|error|why)=("(?:[^"\\]|\\.)*"|\S+)`)

// sentence takes the words out of a line of the log.
func sentence(line string) string {
	if !strings.HasPrefix(line, "time=") {
		return strings.TrimPrefix(line, "virga: ")
	}
	var out []string
	for _, field := range logged.FindAllStringSubmatch(line, -1) {
		value := field[2]
		if plain, err := strconv.Unquote(value); err == nil {
			value = plain
		}
		out = append(out, strings.TrimSpace(strings.ReplaceAll(value, "\n", " ")))
	}
	if len(out) == 0 {
		return line
	}
	return strings.Join(out, ": ")
}

package qemu

import (
	"encoding/json"
	"regexp"
	"strings"
)

// argument is how QEMU begins a complaint: its own name, and the argument that it is about.
var argument = regexp.MustCompile(`^(?:\S*qemu\S*: )?(-\w+) (\{)`)

// program is QEMU's name before what it says.
var program = regexp.MustCompile(`^\S*qemu-system-\S+: `)

// plainWords makes a sentence of what QEMU says of one of its arguments, which it repeats in full: of an
// argument in JSON it keeps what the thing is called.
func plainWords(line string) string {
	at := argument.FindStringSubmatchIndex(line)
	if at == nil {
		return program.ReplaceAllString(line, "")
	}
	option, rest := strings.TrimPrefix(line[at[2]:at[3]], "-"), line[at[4]:]
	d := json.NewDecoder(strings.NewReader(rest))
	var value struct {
		Node string `json:"node-name"`
		ID   string `json:"id"`
	}
	if d.Decode(&value) != nil {
		return program.ReplaceAllString(line, "")
	}
	said := strings.TrimPrefix(rest[d.InputOffset():], ": ")
	name := value.Node
	if name == "" {
		name = value.ID
	}
	if name != "" {
		option += " " + name
	}
	return option + ": " + said
}

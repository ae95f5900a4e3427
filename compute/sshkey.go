package compute

import (
	"encoding/base64"
	"encoding/binary"
	"strings"
)

// isPublicKey reports whether a line is a public key of OpenSSH, perhaps after options: a type, and
// a content of fields with their lengths before them, of which the first is the type again. Guests
// leave out silently what is none.
func isPublicKey(line string) bool {
	if strings.ContainsAny(line, "\n\r") {
		return false
	}
	words := strings.Fields(line)
	for i := 0; i+1 < len(words); i++ {
		content, err := base64.StdEncoding.DecodeString(words[i+1])
		if err == nil && firstField(content) == words[i] {
			return !strings.Contains(words[i], "-cert-") // sshd takes no certificate in authorized_keys
		}
	}
	return false
}

// firstField is the first of the fields that content is made of; empty if it is not made of fields.
func firstField(content []byte) (first string) {
	for at := 0; at < len(content); {
		if len(content)-at < 4 {
			return ""
		}
		length := int64(binary.BigEndian.Uint32(content[at:]))
		if at += 4; length > int64(len(content)-at) {
			return ""
		}
		if first == "" {
			first = string(content[at : at+int(length)])
		}
		at += int(length)
	}
	return first
}

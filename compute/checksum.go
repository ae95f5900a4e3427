package compute

import (
	"path"
	"regexp"
	"strings"

	"github.com/virga-cloud/virga/engine/fault"
)

// The forms in which publishers write a checksum: bare, "sha256:hex", GNU "hex  name" and "hex *name",
// BSD and OpenSSL "SHA256 (name) = hex".
var (
	bareSum  = regexp.MustCompile(`^(?:([A-Za-z0-9/-]+)[:=]\s*)?([0-9A-Fa-f]{32,128})$`)
	gnuSum   = regexp.MustCompile(`^\\?([0-9A-Fa-f]{32,128})\s+[*]?(.+)$`)
	bsdSum   = regexp.MustCompile(`^([A-Za-z0-9-]+)\s*\((.+)\)\s*=\s*([0-9A-Fa-f]{32,128})$`)
	sumWords = strings.NewReplacer("-", "", "_", "")
)

// sumBits are the digests that are taken, by their hex digits.
var sumBits = map[int]string{64: "sha256", 96: "sha384", 128: "sha512"}

// line is one checksum of a list: of which file, if it says that.
type sumLine struct{ sum, name string }

func readSumLine(text string) (sumLine, error) {
	word, digits, name := "", "", ""
	switch bare, gnu, bsd := bareSum.FindStringSubmatch(text), gnuSum.FindStringSubmatch(text), bsdSum.FindStringSubmatch(text); {
	case bare != nil:
		word, digits = bare[1], bare[2]
	case bsd != nil:
		word, name, digits = bsd[1], bsd[2], bsd[3]
	case gnu != nil:
		digits, name = gnu[1], gnu[2]
	default:
		return sumLine{}, fault.New(fault.Invalid, "this is no checksum; write sha256: or sha512: and its hex digits, a line of SHA256SUMS, or the URL of such a list")
	}
	word = strings.Replace(sumWords.Replace(strings.ToLower(word)), "sha2256", "sha256", 1)
	word = strings.NewReplacer("sha2384", "sha384", "sha2512", "sha512").Replace(word)
	known := sumBits[len(digits)]
	if word == "md5" || word == "sha1" || known == "" && (len(digits) == 32 || len(digits) == 40) {
		return sumLine{}, fault.New(fault.Invalid, "md5 and sha1 can be forged and are not taken; give sha256 or sha512")
	}
	if known == "" || word != "" && word != known {
		return sumLine{}, fault.New(fault.Invalid, "the checksum has %d hex digits, which does not fit; sha256 has 64, sha384 96, sha512 128", len(digits))
	}
	return sumLine{known + ":" + strings.ToLower(digits), path.Base(strings.TrimSpace(name))}, nil
}

// ParseChecksum reads a checksum in any of its forms and gives it as "sha256:" and hex. Of several
// lines the strongest counts.
func ParseChecksum(text string) (string, error) { return FindChecksum(text, "") }

// FindChecksum finds the checksum of a file in a list; an empty name takes every line. Of several kinds
// the strongest counts; two of one kind that differ are refused.
func FindChecksum(text, name string) (string, error) {
	found, only, lines := map[string]string{}, "", 0
	var wrong error
	for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		l, err := readSumLine(line)
		if err != nil {
			if name == "" || strings.Contains(line, name) {
				wrong = err
			}
			continue
		}
		if lines++; l.name == "." {
			only = l.sum
		}
		if name != "" && l.name != name {
			continue
		}
		kind, _, _ := strings.Cut(l.sum, ":")
		if had := found[kind]; had != "" && had != l.sum {
			return "", fault.New(fault.Invalid, "there are two different %s sums of %s", kind, name)
		}
		found[kind] = l.sum
	}
	for _, kind := range []string{"sha512", "sha384", "sha256"} {
		if found[kind] != "" {
			return found[kind], nil
		}
	}
	switch {
	case lines == 1 && only != "": // a file of one sum and nothing else
		return only, nil
	case wrong != nil:
		return "", wrong
	}
	return "", fault.New(fault.Invalid, "the list of checksums has none of %q", name)
}

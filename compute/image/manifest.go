package image

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"hash"
	"io"
	"path"
	"regexp"
	"strings"

	"github.com/virga-cloud/virga/engine/fault"
)

// manifestLine is a line of a manifest: SHA256(name)= hex. OpenSSL 3 says SHA2-256.
var manifestLine = regexp.MustCompile(`(?i)^(SHA-?1|SHA2?-?(?:224|256|384|512))\s*\((.+)\)\s*=\s*([0-9a-f]+)$`)

// digest is what a manifest says of a file.
type digest struct {
	new func() hash.Hash
	hex string
}

// hashes are the digests by their bits. SHA1 is what most products still write; it is no protection
// from an attacker, who could write another manifest as well.
var hashes = map[string]func() hash.Hash{"1": sha1.New, "224": sha256.New224, "256": sha256.New, "384": sha512.New384, "512": sha512.New}

// readManifest reads the manifest, and holds the description to it.
func (a *archive) readManifest() error {
	a.manifest = map[string]digest{}
	text, there := a.texts[strings.TrimSuffix(a.ovfName, path.Ext(a.ovfName))+".mf"]
	if !there && len(a.texts) == 1 {
		for _, text = range a.texts {
		}
	}
	for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		m := manifestLine.FindStringSubmatch(line)
		if m == nil {
			return fault.New(fault.Invalid, "what came is an OVA whose manifest has a line that is not understood: %q", short(line))
		}
		bits := m[1][strings.LastIndexAny(m[1], "-aA")+1:]
		d := digest{hashes[bits], strings.ToLower(m[3])}
		if d.new == nil || len(d.hex) != 2*d.new().Size() {
			return fault.New(fault.Invalid, "what came is an OVA whose manifest has a digest of a wrong length: %q", short(line))
		}
		there := false
		for _, name := range spellings(path.Dir(a.ovfName), m[2]) {
			a.manifest[name] = d
			there = there || a.has(name)
		}
		if !there {
			return fault.New(fault.Invalid, "what came is an OVA whose manifest names %q, which is not in it: it is not whole", short(m[2]))
		}
	}
	c := a.checked(a.ovfName, strings.NewReader(string(a.ovf)))
	if _, err := io.Copy(io.Discard, c); err != nil {
		return err
	}
	return c.verdict()
}

// has says whether a file is in the archive, whole or in chunks.
func (a *archive) has(name string) bool {
	_, whole := a.entries[name]
	_, chunk := a.entries[name+".000000000"]
	return whole || chunk
}

// checked digests what is read, where the manifest lists it.
type checked struct {
	io.Reader
	name, want string
	sum        hash.Hash
}

func (a *archive) checked(name string, r io.Reader) *checked {
	d, listed := a.manifest[name]
	if !listed {
		return &checked{Reader: r}
	}
	c := &checked{name: name, want: d.hex, sum: d.new()}
	c.Reader = io.TeeReader(r, c.sum)
	return c
}

func (c *checked) verdict() error {
	if c.sum != nil && hex.EncodeToString(c.sum.Sum(nil)) != c.want {
		return fault.New(fault.Invalid, "what came is an OVA whose %q is not what its manifest says", short(c.name))
	}
	return nil
}

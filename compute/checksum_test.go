package compute

import (
	"strings"
	"testing"
)

func TestChecksumsAreReadAsPublishersWriteThem(t *testing.T) {
	a, b := strings.Repeat("ab", 32), strings.Repeat("cd", 64)
	for text, want := range map[string]string{
		"sha256:" + a: "sha256:" + a, "SHA256:" + strings.ToUpper(a): "sha256:" + a, "  sha256: " + a + "\r\n": "sha256:" + a, "sha-256=" + a: "sha256:" + a,
		a: "sha256:" + a, b: "sha512:" + b, "sha512:" + b: "sha512:" + b, "sha384:" + b[:96]: "sha384:" + b[:96],
		a + "  disk.img": "sha256:" + a, a + " *disk.img": "sha256:" + a, "SHA256 (disk.img) = " + a: "sha256:" + a, "SHA2-256(disk.img)= " + a: "sha256:" + a,
		"SHA512 (d) = " + b + "\nSHA256 (d) = " + a: "sha512:" + b,
	} {
		if got, err := ParseChecksum(text); err != nil || got != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for text, says := range map[string]string{
		"md5:" + a[:32]: "md5 and sha1", a[:32]: "md5 and sha1", "sha1:" + a[:40]: "md5 and sha1", "sha512:" + a: "does not fit", "sha256:" + b: "does not fit",
		"sha256:": "no checksum", "hello": "no checksum", "": "none", "crc32:" + a: "does not fit", a[:60]: "does not fit", a + "  d\n" + strings.Repeat("0", 64) + "  d": "different",
	} {
		if got, err := ParseChecksum(text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

func TestListsOfChecksumsAreSearchedByName(t *testing.T) {
	a, z, b := strings.Repeat("ab", 32), strings.Repeat("0", 64), strings.Repeat("cd", 64)
	for text, want := range map[string]string{
		z + "  other.img\n" + a + "  disk.img\n":                                            "sha256:" + a,
		z + " *other.img\n" + a + " *./disk.img\n":                                          "sha256:" + a,
		"# disk.img: 12 bytes\nSHA256 (disk.img) = " + a + "\nSHA256 (other.img) = " + z:    "sha256:" + a,
		"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n" + a + "  images/disk.img\n-": "sha256:" + a,
		a + "  disk.img\n" + b + "  disk.img":                                               "sha512:" + b,
		a + "\n":                                                                            "sha256:" + a,
		z + "  other.img\n":                                                                 "none of",
		z + "  disk.img.sig\n":                                                              "none of",
		z[:32] + "  disk.img\n":                                                             "md5 and sha1",
		a + "  disk.img\n" + z + "  disk.img\n":                                             "different",
		"<html>":                                                                            "none of",
	} {
		got, err := FindChecksum(text, "disk.img")
		if err != nil {
			got = err.Error()
		}
		if got != want && (err == nil || !strings.Contains(got, want)) {
			t.Errorf("%q: %s", text, got)
		}
	}
}

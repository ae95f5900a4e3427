package image

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"hash"
	"io"
	"net/url"
	"os"
	"path"
	"strings"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/fault"
)

// sumsMost is how large a list of checksums may be.
const sumsMost = 1 << 20

// wanted is the checksum that an image must have: what it says, or what the list at a URL says of it.
func (s *Service) wanted(ctx context.Context, i *compute.Image) (string, error) {
	source := i.Spec.Source
	if !compute.SumsURL(source.Checksum) {
		return source.Checksum, nil
	}
	file := s.Importer.Blobs.staged(i.ID, "sums")
	list := s.Download
	list.MaxMiB = sumsMost / mib
	if err := list.Fetch(ctx, source.Checksum, file, source.Reach == compute.ReachPrivate, func(int64, int64) {}); err != nil {
		return "", fault.Wrap(err, "the list of checksums")
	}
	defer os.Remove(file)
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fault.New(fault.Internal, "read the list of checksums: %w", err)
	}
	at, err := url.Parse(source.URL)
	if err != nil {
		return "", fault.New(fault.Invalid, "read the address of the image: %w", err)
	}
	return compute.FindChecksum(string(text), path.Base(at.Path))
}

// digester gives what a checksum is made with.
func digester(checksum string) hash.Hash {
	switch kind, _, _ := strings.Cut(checksum, ":"); kind {
	case "sha512":
		return sha512.New()
	case "sha384":
		return sha512.New384()
	}
	return sha256.New()
}

// compare reads a file and refuses one that has not the checksum.
func compare(ctx context.Context, file, want string) error {
	f, err := os.Open(file)
	if err != nil {
		return fault.New(fault.Internal, "read what came: %w", err)
	}
	defer f.Close()
	h := digester(want)
	if _, err := io.Copy(h, &interruptible{ctx, f}); err != nil {
		return fault.Wrap(err, "read what came")
	}
	return differs(h, want)
}

// differs refuses a digest that is not the one that is wanted.
func differs(h hash.Hash, want string) error {
	kind, _, _ := strings.Cut(want, ":")
	if got := kind + ":" + hex.EncodeToString(h.Sum(nil)); got != want {
		return fault.New(fault.Invalid, "what came has the checksum %s, wanted is %s: it was cut off or changed; get it again", got, want)
	}
	return nil
}

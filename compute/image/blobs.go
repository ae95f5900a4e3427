package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/virga-cloud/virga/engine/durable"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/storage"
)

const (
	staging = "staging"
	half    = ".part"
	mib     = 1 << 20
)

// Blobs keeps the content of images, by digest.
type Blobs struct{ folder string }

// BlobsIn is the store in a folder that somebody has opened.
func BlobsIn(folder string) *Blobs { return &Blobs{folder: folder} }

// OpenBlobs opens the store in a folder. What was half received when the last process ended goes.
func OpenBlobs(folder string) (*Blobs, error) {
	if err := os.MkdirAll(filepath.Join(folder, staging), 0o700); err != nil {
		return nil, fault.New(fault.Internal, "open the store of images: %w", err)
	}
	s := BlobsIn(folder)
	leftovers, _ := filepath.Glob(filepath.Join(folder, staging, "*"+half))
	for _, f := range leftovers {
		if err := os.RemoveAll(f); err != nil {
			return nil, fault.New(fault.Internal, "clean the store of images: %w", err)
		}
	}
	return s, nil
}

func (s *Blobs) path(digest string) (string, error) {
	if err := storage.CheckDigest(digest); err != nil {
		return "", err
	}
	return filepath.Join(s.folder, strings.Replace(digest, ":", "-", 1)+".qcow2"), nil
}

// staged is where the content of an image, or a work file of its import, lies before it is kept.
func (s *Blobs) staged(image resource.ID, what string) string {
	return filepath.Join(s.folder, staging, string(image)+"."+what)
}

// discard removes all that is staged for an image.
func (s *Blobs) discard(image resource.ID) error {
	files, err := filepath.Glob(s.staged(image, "*"))
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := os.RemoveAll(f); err != nil {
			return fault.New(fault.Internal, "remove what was staged for image %s: %w", image, err)
		}
	}
	return nil
}

// Open opens a blob.
func (s *Blobs) Open(digest string) (*os.File, error) {
	path, err := s.path(digest)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.NotFound, "image content %s is not on this server", digest)
	}
	if err != nil {
		return nil, fault.New(fault.Internal, "open image content %s: %w", digest, err)
	}
	return f, nil
}

// keep moves a finished file into the store and returns its digest and its size in bytes.
func (s *Blobs) keep(ctx context.Context, file string) (digest string, size int64, err error) {
	if digest, size, err = sum(ctx, file); err != nil {
		return "", 0, err
	}
	path, err := s.path(digest)
	if err != nil {
		return "", 0, err
	}
	if _, err := os.Lstat(path); err == nil { // the same content came before; it is fresh again
		_ = os.Remove(file)
		now := time.Now()
		return digest, size, os.Chtimes(path, now, now)
	}
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err == nil {
		_ = f.Chown(os.Geteuid(), os.Getegid())
		err = errors.Join(f.Chmod(0o444), f.Sync(), f.Close())
	}
	if err == nil {
		err = durable.Rename(file, path) // the record says ready next
	}
	if err != nil {
		return "", 0, fault.New(fault.Internal, "keep image content %s: %w", digest, err)
	}
	return digest, size, nil
}

// Sweep removes blobs that needed says no to and that are older than a time. It returns how many
// unneeded ones are left because they are young.
func (s *Blobs) Sweep(needed func(digest string) bool, older time.Duration, now time.Time) (young int, err error) {
	files, err := filepath.Glob(filepath.Join(s.folder, "sha256-*.qcow2"))
	if err != nil {
		return 0, err
	}
	for _, f := range files {
		digest := strings.Replace(strings.TrimSuffix(filepath.Base(f), ".qcow2"), "-", ":", 1)
		info, gone := os.Lstat(f)
		if gone != nil || needed(digest) {
			continue
		}
		if now.Sub(info.ModTime()) < older {
			young++
			continue
		}
		if err := os.Remove(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return young, fault.New(fault.Internal, "remove image content %s: %w", digest, err)
		}
	}
	return young, nil
}

// sum reads a file to its digest.
func sum(ctx context.Context, file string) (string, int64, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", 0, fault.New(fault.Internal, "read %s: %w", filepath.Base(file), err)
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, &interruptible{ctx, f})
	if err != nil {
		return "", 0, fault.Wrap(err, "read %s", filepath.Base(file))
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), n, nil
}

// interruptible ends a copy when the context does.
type interruptible struct {
	ctx context.Context
	r   io.Reader
}

func (i *interruptible) Read(p []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	return i.r.Read(p)
}

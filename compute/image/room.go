package image

import (
	"errors"
	"io"
	"path/filepath"
	"syscall"

	"github.com/virga-cloud/virga/engine/fault"
)

// roomEvery is after how many bytes a writer looks again at how much is free.
const roomEvery = 64 << 20

// roomy writes while there is free space: others write on the same disk meanwhile.
type roomy struct {
	w    io.Writer
	path string
	n    int64
}

func (r *roomy) Write(p []byte) (int, error) {
	if r.n += int64(len(p)); r.n >= roomEvery {
		r.n = 0
		if err := enough(r.path, 0); err != nil {
			return 0, err
		}
	}
	return r.w.Write(p)
}

// enough says with numbers why a file of some bytes cannot be written; a twentieth stays free.
func enough(to string, bytes int64) error {
	var s syscall.Statfs_t
	if err := syscall.Statfs(filepath.Dir(to), &s); err != nil {
		return fault.New(fault.Internal, "see how much is free: %w", err)
	}
	free := int64(s.Bavail) * s.Frsize
	spare := int64(s.Blocks) * s.Frsize / 20
	if bytes > free-spare {
		return fault.New(fault.Exhausted, "the server has %d MiB free for images, of which %d stay free, and this needs %d: free some space", free/mib, spare/mib, inMiB(bytes))
	}
	return nil
}

func noSpace(err error) error {
	if errors.Is(err, syscall.ENOSPC) {
		return fault.New(fault.Exhausted, "the server has no space left for images: %w", err)
	}
	return err
}

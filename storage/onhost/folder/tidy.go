package folder

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/virga-cloud/virga/storage/onhost"
)

// young is how long something half made is left alone whoever makes it: a name is there for a moment
// before its lock, and some shares have no locks between hosts.
const young = time.Hour

// Tidy implements onhost.Tidier. Whoever makes something holds a lock on it, which ends with them.
func (d *Driver) Tidy(_ context.Context, at onhost.Place) (int, error) {
	if err := enter(at); err != nil {
		return 0, err
	}
	folder := filepath.Join(at.Path, partial)
	entries, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, explain(err, "list folder %s", folder)
	}
	removed := 0
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), imagePrefix) && !strings.HasPrefix(e.Name(), volumePrefix) {
			continue // not ours
		}
		info, err := e.Info()
		if err != nil || time.Since(info.ModTime()) < young {
			continue
		}
		done, err := removeHalf(filepath.Join(folder, e.Name()), e.IsDir())
		if err != nil {
			return removed, explain(err, "remove what was half made")
		}
		if done {
			removed++
		}
	}
	return removed, nil
}

// removeHalf removes something half made, unless its maker lives.
func removeHalf(path string, folder bool) (bool, error) {
	lock := path
	if folder {
		lock = filepath.Join(path, lockFile)
	}
	f, err := os.OpenFile(lock, os.O_RDWR|syscall.O_NOFOLLOW, 0)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if err == nil {
		defer f.Close()
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			return false, nil //nolint:nilerr // somebody makes it
		}
	}
	return true, os.RemoveAll(path)
}

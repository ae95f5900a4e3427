package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

// Logs are written by processes that outlive us (switches, QEMU) or that were given theirs open (the daemon's
// own, with the words of a crash): nobody can be told to open another. So a log that has grown is copied, and
// cut: all of them are opened for appending. What is written in the moment between the two is lost.

const (
	logBytes  = 32 << 20 // of each
	logsKept  = 3        // beside the present one
	logsEvery = time.Minute
)

// logs are those that grow for as long as this host lives.
func (c *config) logs() (out []string) {
	for _, pattern := range []string{c.logFile(), filepath.Join(c.run, "ovn", "*.log"), filepath.Join(c.run, "ovs", "*.log")} {
		found, _ := filepath.Glob(pattern)
		out = append(out, found...)
	}
	return out
}

// keepLogsSmall rotates until ctx ends.
func (c *config) keepLogsSmall(ctx context.Context) {
	tick := time.NewTicker(logsEvery)
	defer tick.Stop()
	for {
		for _, path := range c.logs() {
			if err := rotate(path, logBytes, logsKept); err != nil {
				slog.Warn("a log has grown and cannot be rotated", "file", path, "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// rotate keeps what a log had as <path>.1, older ones as .2 and so on, if it is larger than limit.
func rotate(path string, limit int64, kept int) error {
	file, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && file.Size() <= limit {
		return nil
	}
	if err != nil {
		return err
	}
	numbered := func(n int) string { return fmt.Sprintf("%s.%d", path, n) }
	for n := kept; n > 1; n-- {
		if err := os.Rename(numbered(n-1), numbered(n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	copied := copyLog(path, numbered(1), file.Mode().Perm(), limit)
	if copied != nil {
		_ = os.Remove(numbered(1)) // the disk may be full: then room is made by the cut
	}
	return errors.Join(copied, os.Truncate(path, 0))
}

// copyLog copies the end of a log, at most limit bytes of it.
func copyLog(from, to string, mode os.FileMode, limit int64) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	if size, err := in.Seek(0, io.SeekEnd); err != nil {
		return err
	} else if _, err := in.Seek(max(0, size-limit), io.SeekStart); err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

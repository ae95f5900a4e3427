package main

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/virga-cloud/virga/cli"
	"github.com/virga-cloud/virga/engine/durable"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/etcd"
	"github.com/virga-cloud/virga/observe"
)

// A backup is a tar file: a manifest with the checksum of each file, the records at one revision, and
// what a server needs beside them and cannot make anew. It has no disks and no images. It is as secret as
// the state folder: whoever has it has the cloud.

// manifest says what is in a backup.
type manifest struct {
	// Format is of the backup; a program refuses one that is newer than it knows.
	Format int `json:"format"`
	// Version is of the program that made it.
	Version string      `json:"version"`
	Made    time.Time   `json:"made"`
	HostID  resource.ID `json:"hostID"`
	Host    string      `json:"host"`
	// Entries and Revision are of the records.
	Entries  int   `json:"entries"`
	Revision int64 `json:"revision"`
	// Life is the incarnation of the records.
	Life  resource.ID     `json:"life"`
	Files []manifestEntry `json:"files"`
}

type manifestEntry struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

const (
	backupFormat = 2 // 2: in the records a project is its id
	manifestName = "manifest.json"
	manifestSum  = "manifest.sha256"
	recordsName  = "records.db"

	backupEvery = 24 * time.Hour
	backupsKept = 7
	backupForm  = "virga-20060102T150405Z.tar"
)

// besides are the files of the state folder that a backup has beside the records.
var besides = []string{"config.json", "admin.token", "incarnation.json", "ca/*.crt", "ca/*.key", "keys/*", "secret*.key"}

// backupFolder is where backups are made by themselves.
func (c *config) backupFolder() string {
	if c.Backups != "" {
		return c.Backups
	}
	return c.in("backup")
}

// backups are those that were made by themselves, oldest first.
func (c *config) backups() []string {
	files, _ := filepath.Glob(filepath.Join(c.backupFolder(), "virga-*.tar"))
	return files
}

// backUp writes a backup of the records of an open store to a file, which is there whole or not at all.
func (c *config) backUp(ctx context.Context, s *etcd.Store, to string, now time.Time) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return fault.New(fault.Unavailable, "make the folder of backups: %w", err)
	}
	begun := to + ".new"
	_ = os.Remove(begun)
	file, err := os.OpenFile(begun, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fault.New(fault.Unavailable, "write a backup: %w", err)
	}
	defer os.Remove(begun)
	err = c.writeBackup(ctx, s, file, filepath.Dir(to), now)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fault.Wrap(err, "write the backup %s", to)
	}
	return fault.Wrap(durable.Rename(begun, to), "write the backup %s", to)
}

func (c *config) writeBackup(ctx context.Context, s *etcd.Store, w io.Writer, temporary string, now time.Time) error {
	dir, err := os.MkdirTemp(temporary, ".backup-")
	if err != nil {
		return fault.New(fault.Unavailable, "make a folder for a copy of the records: %w", err)
	}
	defer os.RemoveAll(dir)
	records := filepath.Join(dir, recordsName)
	if err := s.Snapshot(ctx, records); err != nil {
		return err
	}
	// It is read back: a backup that cannot be is found now, and not on the day that it is needed.
	entries, revision, err := etcd.ReadSnapshot(records)
	if err != nil {
		return err
	}
	m := manifest{Format: backupFormat, Version: version, Made: now.UTC(), HostID: c.HostID, Host: c.Name, Entries: len(entries), Revision: revision, Life: lifeOf(entries)}
	paths := map[string]string{recordsName: records}
	for _, pattern := range besides {
		found, _ := filepath.Glob(c.in(pattern))
		for _, path := range found {
			name, _ := filepath.Rel(c.state, path)
			paths[name] = path
		}
	}
	for name, path := range paths {
		e, err := measure(name, path)
		if err != nil {
			return err
		}
		m.Files = append(m.Files, e)
	}
	slices.SortFunc(m.Files, func(a, b manifestEntry) int { return compareNames(a.Name, b.Name) })
	return pack(w, m, paths)
}

// compareNames puts the records last: what is small is found at once.
func compareNames(a, b string) int {
	switch {
	case a == recordsName:
		return 1
	case b == recordsName, a < b:
		return -1
	}
	return 1
}

func lifeOf(entries []store.Entry) resource.ID {
	var i store.Incarnation
	for _, e := range entries {
		if e.Key == store.IncarnationKey {
			_ = json.Unmarshal(e.Value, &i)
		}
	}
	return i.ID
}

func measure(name, path string) (manifestEntry, error) {
	f, err := os.Open(path)
	if err != nil {
		return manifestEntry{}, fault.New(fault.Unavailable, "read %s: %w", path, err)
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return manifestEntry{}, fault.New(fault.Unavailable, "read %s: %w", path, err)
	}
	return manifestEntry{Name: name, Size: n, SHA256: hex.EncodeToString(h.Sum(nil))}, nil
}

func pack(w io.Writer, m manifest, paths map[string]string) error {
	out := tar.NewWriter(w)
	said, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	header := func(name string, size int64) error {
		return out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600, ModTime: m.Made})
	}
	if err := header(manifestName, int64(len(said))); err != nil {
		return err
	}
	if _, err := out.Write(said); err != nil {
		return err
	}
	sum := sha256.Sum256(said)
	if err := header(manifestSum, 2*sha256.Size); err != nil {
		return err
	}
	if _, err := io.WriteString(out, hex.EncodeToString(sum[:])); err != nil {
		return err
	}
	for _, e := range m.Files {
		if err := header(e.Name, e.Size); err != nil {
			return err
		}
		f, err := os.Open(paths[e.Name])
		if err != nil {
			return err
		}
		_, err = io.Copy(out, io.LimitReader(f, e.Size))
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return out.Close()
}

// unpack reads a backup into an empty folder, and compares every byte with its checksum.
func unpack(path, dir string) (manifest, error) {
	var m manifest
	f, err := os.Open(path)
	if err != nil {
		return m, fault.New(fault.Invalid, "read the backup: %w", err)
	}
	defer f.Close()
	in := tar.NewReader(f)
	if m, err = readManifest(in); err != nil {
		return m, fault.New(fault.Invalid, "%s is no backup of Virga, or its beginning is damaged: %w", path, err)
	}
	if m.Format > backupFormat {
		return m, fault.New(fault.Precondition, "the backup %s has format %d, made by virga %s; this one reads up to %d: install the newer version", path, m.Format, m.Version, backupFormat)
	}
	if m.Format < backupFormat {
		return m, fault.New(fault.Precondition, "the backup %s has format %d, made by virga %s; this one reads from %d on: restore it with the version that made it", path, m.Format, m.Version, backupFormat)
	}
	for _, want := range m.Files {
		if err := unpackOne(in, want, dir); err != nil {
			return m, fault.New(fault.Precondition, "the backup %s is damaged: %w; take another", path, err)
		}
	}
	return m, nil
}

// readManifest reads what a backup begins with, and the checksum of that.
func readManifest(in *tar.Reader) (m manifest, err error) {
	var data [2][]byte
	for i, name := range []string{manifestName, manifestSum} {
		head, err := in.Next()
		if err != nil || head.Name != name {
			return m, fmt.Errorf("it has no %s", name)
		}
		if data[i], err = io.ReadAll(io.LimitReader(in, 1<<20)); err != nil {
			return m, err
		}
	}
	if sum := sha256.Sum256(data[0]); hex.EncodeToString(sum[:]) != string(data[1]) {
		return m, errors.New("the checksum of its manifest is another")
	}
	return m, json.Unmarshal(data[0], &m)
}

func unpackOne(in *tar.Reader, want manifestEntry, dir string) error {
	head, err := in.Next()
	if err != nil {
		return fmt.Errorf("it ends before %s: %w", want.Name, err)
	}
	if head.Name != want.Name || !filepath.IsLocal(want.Name) {
		return fmt.Errorf("%s is where %s should be", head.Name, want.Name)
	}
	to := filepath.Join(dir, want.Name)
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(out, h), in)
	if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
		return fmt.Errorf("%s: %w", want.Name, err)
	}
	if n != want.Size || hex.EncodeToString(h.Sum(nil)) != want.SHA256 {
		return fmt.Errorf("the checksum of %s is not that of its manifest", want.Name)
	}
	return nil
}

// keepBackups makes a backup whenever the newest is a day old, and forgets all but the last seven.
func (s *server) keepBackups(ctx context.Context) {
	tick := time.NewTicker(10 * time.Minute)
	defer tick.Stop()
	for {
		if err := s.backUpIfDue(ctx, time.Now()); err != nil && ctx.Err() == nil {
			slog.Error("no backup of the records could be made; trying again", "error", err)
			b := s.led.Begin()
			s.cloud.Events.Record(b, resource.Ref{Kind: "host", ID: s.c.HostID}, s.c.Name, observe.Error, "backup", "no backup of the records could be made: "+err.Error(), "server")
			if err := s.led.Commit(ctx, b); err != nil && ctx.Err() == nil {
				slog.Warn("an event could not be written", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (s *server) backUpIfDue(ctx context.Context, now time.Time) error {
	there := s.c.backups()
	if len(there) > 0 {
		made, err := time.Parse(backupForm, filepath.Base(there[len(there)-1]))
		if age := now.Sub(made); err == nil && age >= 0 && age < backupEvery {
			return nil
		}
	}
	if err := s.c.backUp(ctx, s.store, filepath.Join(s.c.backupFolder(), now.UTC().Format(backupForm)), now); err != nil {
		return err
	}
	there = s.c.backups()
	for _, old := range there[:max(0, len(there)-backupsKept)] {
		if err := os.Remove(old); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fault.New(fault.Unavailable, "forget an old backup: %w", err)
		}
	}
	return nil
}

func backupCommand() *cobra.Command {
	var f folders
	cmd := &cobra.Command{
		Use: "backup [FILE]", Short: "Write the records of the cloud, and the keys that go with them, to a file", GroupID: cli.RunGroup,
		Long: "Write all records at one moment, this server's config and the keys of the cloud's authority to one file with checksums.\n" +
			"Disks and images are not in it. Keep it where only administrators read: whoever has it has the cloud.\n\n" +
			"A server makes one each day by itself, and keeps seven, in backup in its state folder or in the folder named by virga up --backups.",
		Example: "  virga backup\n  virga backup /mnt/safe/cloud.tar", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.resolve(cmd); err != nil {
				return err
			}
			c, err := f.server()
			if err != nil {
				return err
			}
			now := time.Now()
			to := filepath.Join(c.backupFolder(), now.UTC().Format(backupForm))
			if len(args) > 0 {
				if to, err = filepath.Abs(args[0]); err != nil {
					return fault.New(fault.Invalid, "write a backup: %w", err)
				}
			}
			if c.daemonPID() != 0 {
				err = c.ask(cmd.Context(), "/local/backup", localRequest{File: to}, nil)
			} else {
				err = c.offline(cmd.Context(), func(s *etcd.Store) error { return c.backUp(cmd.Context(), s, to, now) })
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "The backup is %s.\n", to)
			return nil
		},
	}
	f.flags(cmd)
	return cmd
}

package etcd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	"go.etcd.io/etcd/server/v3/storage/schema"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.uber.org/zap"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/virga-cloud/virga/engine/fault"
)

// etcd ends the process when it meets a damaged file, and takes one that is missing for a new store.
// So its files are read before it starts: what it would stumble over is said in words, and what it would
// not notice (a log that ends before what its database has: new commits would be dropped) is found.

func dataFile(dir string) string  { return filepath.Join(dir, "etcd", "member", "snap", "db") }
func logFolder(dir string) string { return filepath.Join(dir, "etcd", "member", "wal") }

// Exists reports whether a store's folder has records, or what is left of them.
func Exists(dir string) bool {
	_, err := os.Stat(dataFile(dir))
	return err == nil || wal.Exist(logFolder(dir))
}

// Verify says why the records in a store's folder cannot be used. The store must not be open.
func Verify(dir string) error {
	err := verify(dir)
	if err == nil || fault.Is(err, fault.Unavailable) {
		return err
	}
	return fault.New(fault.Precondition, "the records in %s are damaged: %w; nothing was changed; bring back a backup by virga restore FILE", dir, err)
}

func verify(dir string) error {
	switch file, err := os.Stat(dataFile(dir)); {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the file %s is missing", dataFile(dir))
	case err == nil && file.Size() == 0:
		return fmt.Errorf("the file %s is empty", dataFile(dir))
	}
	var last uint64
	logged := make(chan error, 1)
	go func() { // beside the records, on another processor
		logged <- careful(func() (err error) { last, err = lastLogged(logFolder(dir)); return err })
	}()
	applied, err := verifyData(dataFile(dir))
	damaged := <-logged
	switch {
	case err != nil:
		return err
	case !wal.Exist(logFolder(dir)):
		return fmt.Errorf("the log in %s is missing", logFolder(dir))
	case damaged != nil:
		return fmt.Errorf("the log in %s: %w", logFolder(dir), damaged)
	}
	if last < applied {
		return fmt.Errorf("the log in %s ends at entry %d, and the records have %d already", logFolder(dir), last, applied)
	}
	return nil
}

// careful turns what a library does about damaged bytes, panics and reads behind a mapping's end, into errors.
func careful(read func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if what := recover(); what != nil {
			err = fmt.Errorf("%v", what)
		}
	}()
	return read()
}

// verifyData reads every entry of the database, and gives the number of the last log entry that is in it.
func verifyData(path string) (applied uint64, err error) {
	err = readData(path, func(tx *bbolt.Tx) error {
		if file, err := os.Stat(path); err != nil || file.Size() < tx.Size() {
			return fmt.Errorf("it was cut off, and should have %d bytes", tx.Size())
		}
		if meta := tx.Bucket(schema.Meta.Name()); meta != nil {
			if index := meta.Get(schema.MetaConsistentIndexKeyName); len(index) == 8 {
				applied = binary.BigEndian.Uint64(index)
			}
		}
		keys := tx.Bucket(schema.Key.Name())
		if keys == nil {
			return errors.New("it has no place for records")
		}
		return keys.ForEach(func(revision, value []byte) error {
			if len(revision) < revisionBytes {
				return errors.New("an entry has no revision")
			}
			return wellFormed(value)
		})
	})
	return applied, err
}

// wellFormed walks over an encoded message, as who decodes it does, and makes nothing of it: there are millions.
func wellFormed(message []byte) error {
	for len(message) > 0 {
		_, _, n := protowire.ConsumeField(message)
		if n < 0 {
			return protowire.ParseError(n)
		}
		message = message[n:]
	}
	return nil
}

// revisionBytes are those of a key in the database: the revision, a line, the place within it. A
// removal has one more.
const revisionBytes = 8 + 1 + 8

// readData opens a database that nobody has open, and reads in it.
func readData(path string, read func(*bbolt.Tx) error) error {
	err := careful(func() error {
		db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: 5 * time.Second})
		if err != nil {
			return err
		}
		defer db.Close()
		return db.View(read)
	})
	if errors.Is(err, bbolt.ErrTimeout) {
		return fault.New(fault.Unavailable, "read %s: another process has it open", path)
	}
	if err != nil {
		return fmt.Errorf("the file %s: %w", path, err)
	}
	return nil
}

// lastLogged reads the log, with its checksums, and gives the number of its last entry.
func lastLogged(dir string) (uint64, error) {
	marks, err := wal.ValidSnapshotEntries(zap.NewNop(), dir)
	if err != nil {
		return 0, err
	}
	if len(marks) == 0 {
		return 0, errors.New("its beginning is missing")
	}
	from := marks[len(marks)-1]
	w, err := wal.OpenForRead(zap.NewNop(), dir, from)
	if err != nil {
		return 0, err
	}
	defer w.Close()
	_, _, entries, err := w.ReadAll()
	if err != nil {
		return 0, err
	}
	if len(entries) == 0 {
		return from.GetIndex(), nil
	}
	return entries[len(entries)-1].GetIndex(), nil
}

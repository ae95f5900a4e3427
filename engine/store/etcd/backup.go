package etcd

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/server/v3/storage/schema"
	"google.golang.org/protobuf/proto"

	"github.com/virga-cloud/virga/engine/durable"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// Snapshot writes all that was committed until now to a file: a database of etcd at one revision.
func (s *Store) Snapshot(ctx context.Context, path string) error {
	_, leave, err := s.call(ctx)
	if err != nil {
		return err
	}
	defer leave()
	snapshot := s.server.Server.Backend().Snapshot()
	defer snapshot.Close()
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fault.New(fault.Unavailable, "write a copy of the records: %w", err)
	}
	_, err = snapshot.WriteTo(file)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		_ = os.Remove(path)
		return fault.New(fault.Unavailable, "write a copy of the records to %s: %w", path, err)
	}
	return nil
}

// CopyOf makes a copy of the database of a store that is not open. What only its log has is not in it.
func CopyOf(dir, to string) error {
	return fault.Wrap(copyFile(dataFile(dir), to), "copy the records in %s", dir)
}

// ReadSnapshot reads the entries of a copy, and the revision that it has.
func ReadSnapshot(path string) (entries []store.Entry, revision int64, err error) {
	present, revision, err := present(path)
	if err != nil {
		return nil, 0, fault.New(fault.Precondition, "read the records: %w", err)
	}
	for key, kv := range present {
		ref, err := decode(key)
		if err != nil {
			return nil, 0, err
		}
		if !store.Hidden(ref.Kind) {
			entries = append(entries, store.Entry{Key: ref, Value: store.Open(kv.Value), Revision: kv.ModRevision})
		}
	}
	return entries, revision, nil
}

// present is what each key has last, but for those that were removed.
func present(path string) (map[string]*mvccpb.KeyValue, int64, error) {
	out, revision := map[string]*mvccpb.KeyValue{}, int64(1)
	err := readData(path, func(tx *bbolt.Tx) error {
		keys := tx.Bucket(schema.Key.Name())
		if keys == nil {
			return errors.New("it has no place for records")
		}
		return keys.ForEach(func(at, value []byte) error {
			if len(at) < revisionBytes {
				return errors.New("an entry has no revision")
			}
			kv := &mvccpb.KeyValue{}
			if err := proto.Unmarshal(value, kv); err != nil {
				return err
			}
			revision = int64(binary.BigEndian.Uint64(at))
			if len(at) > revisionBytes {
				delete(out, string(kv.Key))
			} else {
				out[string(kv.Key)] = kv
			}
			return nil
		})
	})
	return out, revision, err
}

// leap is how far the revision goes ahead when a copy is brought back: further than all that was committed
// after it was made, so that nobody who has seen that takes the old for the new.
const leap = 1_000_000_000

// Restore makes a store of a copy in a folder that has none. It is another life of the records: revisions
// go on above all that were ever given, whoever watches begins anew, and the incarnation is another.
// The members are forgotten: it is alone.
func Restore(ctx context.Context, dir, snapshot string, made, now time.Time) error {
	if Exists(dir) {
		return fault.New(fault.Precondition, "bring back the records: there are some in %s already", dir)
	}
	before, revision, err := present(snapshot)
	if err != nil {
		return fault.New(fault.Precondition, "bring back the records: %w", err)
	}
	data := dataFile(dir)
	if err := os.MkdirAll(filepath.Dir(data), 0o700); err != nil {
		return fault.New(fault.Internal, "make the folder of the records: %w", err)
	}
	if err := copyFile(snapshot, data); err != nil {
		return fault.New(fault.Internal, "copy the records: %w", err)
	}
	kv := &mvccpb.KeyValue{Key: []byte(encode(store.IncarnationKey)), Version: 1}
	if was := before[string(kv.Key)]; was != nil {
		kv.CreateRevision, kv.Version = was.CreateRevision, was.Version+1
	}
	kv.ModRevision = revision + leap
	if kv.CreateRevision == 0 {
		kv.CreateRevision = kv.ModRevision
	}
	value, _ := json.Marshal(store.Incarnation{ID: resource.NewID(), Restored: &now, Made: &made})
	kv.Value = store.Seal(value)
	if err := begin(data, kv); err != nil {
		return fault.New(fault.Internal, "make another life of the records: %w", err)
	}
	records := 0
	for key := range before {
		if ref, err := decode(key); err == nil && store.IsRecord(ref.Kind) {
			records++
		}
	}
	return startOnce(ctx, dir, records)
}

// begin makes a database one of a member that has just begun, and puts one entry into it.
func begin(path string, kv *mvccpb.KeyValue) error {
	value, err := proto.Marshal(kv)
	if err != nil {
		return err
	}
	at := binary.BigEndian.AppendUint64(nil, uint64(kv.ModRevision))
	at = binary.BigEndian.AppendUint64(append(at, '_'), 0)
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: 5 * time.Second})
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, forgotten := range [][]byte{schema.Members.Name(), schema.MembersRemoved.Name(), schema.Cluster.Name(), schema.Alarm.Name()} {
			if err := tx.DeleteBucket(forgotten); err != nil && !errors.Is(err, bbolt.ErrBucketNotFound) {
				return err
			}
			if _, err := tx.CreateBucket(forgotten); err != nil {
				return err
			}
		}
		meta, err := tx.CreateBucketIfNotExists(schema.Meta.Name())
		if err != nil {
			return err
		}
		nothing := make([]byte, 8) // of the log, which begins anew
		return errors.Join(meta.Delete(schema.MetaConfStateName), meta.Put(schema.MetaConsistentIndexKeyName, nothing), meta.Put(schema.MetaTermKeyName, nothing),
			meta.Put(schema.ScheduledCompactKeyName, at), meta.Put(schema.FinishedCompactKeyName, at), tx.Bucket(schema.Key.Name()).Put(at, value))
	})
	return errors.Join(err, db.Close())
}

// startOnce starts the store once, which makes its log, and sees whether all is there.
func startOnce(ctx context.Context, dir string, want int) error {
	run, err := os.MkdirTemp("", "virga-")
	if err != nil {
		return fault.New(fault.Internal, "make a folder for sockets: %w", err)
	}
	defer os.RemoveAll(run)
	s, err := Open(ctx, Config{Dir: dir, Run: run, Fresh: true})
	if err != nil {
		return err
	}
	defer s.Close()
	entries, _, err := s.List(ctx)
	if err != nil {
		return err
	}
	if len(entries) < want {
		return fault.New(fault.Internal, "bring back the records: of %d only %d are there", want, len(entries))
	}
	_, err = s.Commit(ctx) // it takes commits
	return err
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Sync(), out.Close()); err != nil {
		return fmt.Errorf("write %s: %w", to, err)
	}
	return durable.SyncFolder(filepath.Dir(to))
}

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/etcd"
)

// stated is the state folder of a server with some records, whose daemon does not run.
func stated(t *testing.T) *config {
	t.Helper()
	c := &config{Name: "h1", Server: "yes", HostID: resource.NewID(), Servers: []string{"192.0.2.1:7443"}, state: t.TempDir(), run: t.TempDir()}
	if err := c.begin(); err != nil {
		t.Fatal(err)
	}
	if err := c.save(); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string]string{"ca/ca.key": "the key", "ca/ca.crt": "the certificate", "admin.token": "the token"} {
		if err := putFile(c.in(name), data); err != nil {
			t.Fatal(err)
		}
	}
	err := c.offline(t.Context(), func(s *etcd.Store) error {
		if _, err := store.ReadIncarnation(t.Context(), s); err != nil {
			return err
		}
		return putThing(t.Context(), s, "a")
	})
	if err == nil {
		err = c.begun()
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func putFile(path, data string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(data), 0o600)
}

func putThing(ctx context.Context, s *etcd.Store, id string) error {
	_, err := s.Commit(ctx, store.Change{Key: resource.Ref{Kind: "thing", ID: resource.ID(id)}, Op: store.Put, Value: []byte("{}"), Expect: store.Absent})
	return err
}

// things are the records that are there.
func (c *config) things(t *testing.T) (ids string, life store.Incarnation) {
	t.Helper()
	err := c.offline(t.Context(), func(s *etcd.Store) error {
		entries, _, err := s.List(t.Context(), "thing")
		for _, e := range entries {
			ids += string(e.Key.ID)
		}
		if err == nil {
			life, err = store.ReadIncarnation(t.Context(), s)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return ids, life
}

func (c *config) backedUp(t *testing.T, to string) {
	t.Helper()
	if err := c.offline(t.Context(), func(s *etcd.Store) error { return c.backUp(t.Context(), s, to, time.Now()) }); err != nil {
		t.Fatal(err)
	}
}

func (c *config) restored(args ...string) (string, error) {
	cmd := restoreCommand()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(append(args, "--state", c.state, "--run", c.run))
	err := cmd.ExecuteContext(context.Background())
	return out.String(), err
}

func TestBackupBringsBackRecordsAndKeysAndLetsTheHostDoubt(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a state folder is root's")
	}
	c := stated(t)
	file := filepath.Join(t.TempDir(), "b.tar")
	c.backedUp(t, file)
	if err := c.offline(t.Context(), func(s *etcd.Store) error { return putThing(t.Context(), s, "later") }); err != nil {
		t.Fatal(err)
	}
	_, first := c.things(t)
	if _, err := c.restored(file); !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "--force") {
		t.Fatalf("over records that are there: %v", err)
	}
	if ids, _ := c.things(t); ids != "alater" {
		t.Errorf("a refused restore has changed the records: %q", ids)
	}
	// All that a server cannot make anew is lost.
	for _, gone := range []string{"store", "ca", "admin.token", "config.json"} {
		if err := os.RemoveAll(c.in(gone)); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := c.restored(file); err != nil || !strings.Contains(out, "virga restore --settle") {
		t.Fatalf("%s: %v", out, err)
	}
	again, found, err := loadConfig(c.state, c.run)
	if err != nil || !found || again.HostID != c.HostID {
		t.Errorf("the config is %+v: %v", again, err)
	}
	if key, err := os.ReadFile(c.in("ca/ca.key")); err != nil || string(key) != "the key" {
		t.Errorf("the key is %q: %v", key, err)
	}
	ids, life := c.things(t)
	if ids != "a" || life.ID == first.ID || life.Restored == nil {
		t.Errorf("the records are %q, in life %+v after %+v", ids, life, first)
	}
	f := folders{state: c.state}
	if f.acquaintance().Hear(life.ID, "").Doubt() == nil {
		t.Error("the host would remove what has no record at once")
	}
}

func TestRestoreWithForcePutsAsideWhatIsThere(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a state folder is root's")
	}
	c := stated(t)
	file := filepath.Join(t.TempDir(), "b.tar")
	c.backedUp(t, file)
	if err := putFile(c.in("ca/ca.key"), "garbage"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.in("config.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.restored(file, "--force"); err != nil {
		t.Fatal(err)
	}
	if key, _ := os.ReadFile(c.in("ca/ca.key.before-restore")); string(key) != "garbage" {
		t.Errorf("what was there is lost: %q", key)
	}
	if aside, _ := filepath.Glob(c.in("store.before-*")); len(aside) != 1 || !etcd.Exists(aside[0]) {
		t.Errorf("the records that were there are lost: %v", aside)
	}
	if ids, _ := c.things(t); ids != "a" {
		t.Errorf("the records are %q", ids)
	}
	// Of another host: only by force.
	other := stated(t)
	if _, err := other.restored(file); !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "is of host h1") {
		t.Errorf("the backup of another host: %v", err)
	}
}

func TestRestoreInPlaceTakesRecordsWhoseLogIsLost(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a state folder is root's")
	}
	c := stated(t)
	if err := os.RemoveAll(c.in("store/etcd/member/wal")); err != nil {
		t.Fatal(err)
	}
	if err := c.offline(t.Context(), func(*etcd.Store) error { return nil }); !fault.Is(err, fault.Precondition) {
		t.Fatalf("without its log it opens: %v", err)
	}
	if _, err := c.restored("--in-place"); err != nil {
		t.Fatal(err)
	}
	if ids, _ := c.things(t); ids != "a" {
		t.Errorf("the records are %q", ids)
	}
}

func TestDamagedBackupIsRefusedBeforeAnythingIsTouched(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a state folder is root's")
	}
	c := stated(t)
	file := filepath.Join(t.TempDir(), "b.tar")
	c.backedUp(t, file)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	flip := func(at int) []byte {
		b := bytes.Clone(whole)
		b[at] ^= 1
		return b
	}
	for name, data := range map[string][]byte{
		"empty": {}, "half": whole[:len(whole)/2], "no tar": []byte("hello"), "without its end": whole[:600],
		"a bit of a key": flip(bytes.Index(whole, []byte("the key"))), "a bit of the records": flip(len(whole) - 20_000), "a bit of the manifest": flip(600),
	} {
		bad := filepath.Join(t.TempDir(), "bad.tar")
		if err := os.WriteFile(bad, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := c.restored(bad, "--force"); err == nil {
			t.Errorf("%s: it is taken", name)
		}
		if _, err := checkBackup(bad); err == nil {
			t.Errorf("%s: a check finds nothing", name)
		}
	}
	if ids, life := c.things(t); ids != "a" || life.Restored != nil {
		t.Errorf("the records are %q, in life %+v", ids, life)
	}
	if found, err := checkBackup(file); err != nil || len(found) != 1 || found[0].Harmless != "yes" { // nobody knows what a thing is
		t.Errorf("of the whole one: %v, %v", found, err)
	}
}

func TestBackupIsMadeEachDayAndSevenAreKept(t *testing.T) {
	c := stated(t)
	s := &server{c: c}
	err := c.offline(t.Context(), func(st *etcd.Store) error {
		s.store = st
		for hour := range 24 * 10 {
			if err := s.backUpIfDue(t.Context(), time.Unix(1_800_000_000, 0).Add(time.Duration(hour)*time.Hour)); err != nil {
				return err
			}
			if want := min(hour/24+1, backupsKept); len(c.backups()) != want {
				return fmt.Errorf("after %d hours there are %v, want %d", hour, c.backups(), want)
			}
		}
		// The clock was set back: the newest seems to be of the future.
		return s.backUpIfDue(t.Context(), time.Unix(1_700_000_000, 0))
	})
	if err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(c.backupFolder(), ".backup-*")); len(left) > 0 {
		t.Errorf("half-made files are left: %v", left)
	}
}

func TestRecordsOlderThanWhatWasSeenAreRefused(t *testing.T) {
	c := &config{state: t.TempDir()}
	for _, d := range []struct {
		seen     string
		revision int64
		refused  bool
	}{{"", 1, false}, {"100\n", 100, false}, {"100\n", 101, false}, {"100\n", 99, true}, {"garbage", 1, false}} {
		if d.seen != "" {
			if err := os.WriteFile(c.seenFile(), []byte(d.seen), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.notOlder(d.revision); (err != nil) != d.refused {
			t.Errorf("seen %q, now %d: %v", d.seen, d.revision, err)
		}
	}
}

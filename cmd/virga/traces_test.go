package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
)

func TestStateFolderOfACloudWithoutItsRecordsBeginsNoNewCloud(t *testing.T) {
	for _, d := range []struct {
		name  string
		found bool
		c     config
		files []string
		words []string // none: it may start
	}{
		{name: "an empty folder"},
		{name: "an empty folder with a config by hand", found: true, c: config{Server: "yes"}},
		{name: "a first start that was cut off", found: true, c: config{Server: "yes"}, files: []string{"beginning", "ca/ca.key", "ca/ca.crt"}},
		{name: "a whole server", found: true, c: config{Server: "yes", HostID: "h"}, files: []string{"ca/ca.key", "ca/ca.crt", "store/etcd/member/snap/db"}},
		{name: "a host without a server", found: true, c: config{Server: "no", HostID: "h"}, files: []string{"ca/host.crt", "datastore/x"}},
		{name: "no config", files: []string{"store/etcd/member/snap/db", "datastore/x"}, words: []string{"records, a datastore", "not which host", "virga restore FILE", "--new-cloud"}},
		{name: "a config that names nobody", found: true, c: config{Server: "yes"}, files: []string{"ca/ca.key"}, words: []string{"not which host"}},
		{name: "no store", found: true, c: config{Server: "yes", HostID: "h", Name: "h1"}, words: []string{"host h1", "not the records"}},
		{name: "no store, but backups", found: true, c: config{Server: "yes", HostID: "h"}, files: []string{"vm/x", "backup/virga-1.tar", "backup/virga-2.tar"}, words: []string{"VMs", "not the records", "backup/virga-2.tar"}},
		{name: "an empty store folder", found: true, c: config{Server: "yes", HostID: "h"}, files: []string{"store/format"}, words: []string{"not the records"}},
	} {
		c := d.c
		c.state = t.TempDir()
		for _, f := range d.files {
			path := c.in(f)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		err := c.whole(d.found)
		if len(d.words) == 0 && err != nil {
			t.Errorf("%s: %v", d.name, err)
		}
		if len(d.words) > 0 && !fault.Is(err, fault.Precondition) {
			t.Errorf("%s: %v", d.name, err)
			continue
		}
		for _, w := range d.words {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s says %q, without %q", d.name, err, w)
			}
		}
	}
}

func TestNewCloudPutsTheOldFolderAsideWhole(t *testing.T) {
	c := &config{state: filepath.Join(t.TempDir(), "s"), run: t.TempDir()}
	if to, err := c.putAside(time.Now()); to != "" || err != nil {
		t.Errorf("a folder that is not there: %q, %v", to, err)
	}
	if err := c.save(); err != nil {
		t.Fatal(err)
	}
	to, err := c.putAside(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	if err != nil || to != c.state+".before-20260102T030405Z" {
		t.Fatalf("%q, %v", to, err)
	}
	if _, err := os.Stat(filepath.Join(to, "config.json")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(c.state); !os.IsNotExist(err) {
		t.Errorf("the folder is still there: %v", err)
	}
}

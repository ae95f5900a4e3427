package lab

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// damages are what may happen to a file. Databases and logs are longer than what is in them. Half a file is what a power cut, or a disk that was full, leaves.
var damages = map[string]func(path string) error{
	"removed": os.RemoveAll,
	"emptied": func(path string) error { return os.Truncate(path, 0) },
	"truncated": func(path string) error {
		i, err := os.Stat(path)
		return firstOf(err, func() error { return os.Truncate(path, min(i.Size()/2, 10_000)) })
	},
	"garbage": func(path string) error {
		i, err := os.Stat(path)
		return firstOf(err, func() error {
			return os.WriteFile(path, bytes.Repeat([]byte{0xa5, 0x5a, 0x0f}, int(i.Size())/3+1), 0o600)
		})
	},
}

func firstOf(err error, then func() error) error {
	if err != nil {
		return err
	}
	return then()
}

// TestDamagedFilesAreMadeAnewOrRefusedInWords damages each file that a start needs. What can be written
// again from the records, or certified again, is; anything else is refused, and nothing is changed.
func TestDamagedFilesAreMadeAnewOrRefusedInWords(t *testing.T) {
	c := New(t, 1)
	h := c.Hosts[0]
	h.Up()
	h.Must("network", "create", "blue", "--cidr", "10.30.0.0/24", "--wait")
	wals, _ := filepath.Glob(filepath.Join(h.State, "store/etcd/member/wal/*.wal"))
	if len(wals) == 0 {
		t.Fatal("the store has no log")
	}
	wal, _ := filepath.Rel(h.State, wals[0])
	all := []string{"removed", "emptied", "truncated", "garbage"}
	for _, d := range []struct {
		file  string
		how   []string
		words []string // none: it starts, and all is there
	}{
		{"ovn/ovnnb.db", all, nil}, {"ovn/ovnsb.db", all, nil}, {"ovs/conf.db", all, nil}, {"ovn", all[:1], nil}, {"ovs", all[:1], nil},
		{"ca/ca.crt", all, nil}, {"ca/server.key", all, nil}, {"ca/host.key", all, nil}, {"ca/host.crt", all, nil}, {"serial", all[:1], nil}, {"datastore", all[:1], nil},
		{"ca/ca.key", all, []string{"the key of the cloud's authority", "virga restore FILE"}},
		{"ca", all[:1], []string{"the key of the cloud's authority", "virga restore FILE"}},
		{"config.json", []string{"removed"}, []string{"which host this is", "records", "virga restore FILE", "--new-cloud"}},
		{"config.json", all[1:], []string{"config.json", "virga restore FILE"}},
		{"store", all[:1], []string{"the records of its cloud", "virga restore FILE", "--new-cloud"}},
		{"store/etcd/member/snap/db", all, []string{"the records in", "damaged", "virga restore FILE"}},
		{"store/etcd/member/wal", all[:1], []string{"the log in", "is missing", "virga restore FILE"}},
		{wal, all, []string{"the records in", "damaged", "virga restore FILE"}},
		{"store/format", []string{"garbage"}, []string{"no readable format number"}},
	} {
		for _, how := range d.how {
			h.damaged(d.file, how, d.words)
			if t.Failed() {
				t.Fatalf("after %s was %s", d.file, how)
			}
		}
	}
}

// damaged does one damage, starts, and mends what a start refuses.
func (h *Host) damaged(file, how string, words []string) {
	h.cloud.t.Helper()
	path, copied := filepath.Join(h.State, file), filepath.Join(h.cloud.dir, "undamaged")
	h.Eventually(time.Minute, "the network's daemons work", func() bool {
		_, north := os.Stat(filepath.Join(h.Run, "ovn", "ovn-northd.pid"))
		_, south := os.Stat(filepath.Join(h.Run, "ovs", "ovn-controller.pid"))
		return north == nil && south == nil
	})
	h.Must("down", "--all", "--state", h.State)
	_ = os.RemoveAll(copied)
	h.cloud.must("cp", "-a", path, copied)
	if err := damages[how](path); err != nil {
		h.cloud.t.Fatal(err)
	}
	if len(words) > 0 {
		_, err := h.Virga("up", "--state", h.State)
		said := fmt.Sprint(err)
		for _, w := range append(words, h.State) {
			if !strings.Contains(said, w) {
				h.cloud.t.Errorf("%s %s: virga up says %q, without %q", file, how, said, w)
			}
		}
		if strings.Contains(said, "bug of ours") || strings.Contains(said, "goroutine") {
			h.cloud.t.Errorf("%s %s: virga up says %q", file, how, said)
		}
		_ = os.RemoveAll(path)
		h.cloud.must("cp", "-a", copied, path)
	}
	h.Must("up", "--state", h.State)
	if out := h.Must("network", "list", "-o", "name"); !strings.Contains(out, "blue") {
		h.cloud.t.Errorf("%s %s: the cloud is another now: networks %q", file, how, out)
	}
	if out := h.Must("host", "list", "-o", "name"); strings.TrimSpace(out) != h.Name {
		h.cloud.t.Errorf("%s %s: the hosts are %q", file, how, out)
	}
}

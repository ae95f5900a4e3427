package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReasonOfAnEndIsASentence(t *testing.T) {
	for name, c := range map[string]struct{ said, want string }{
		"an error": {
			"time=2026-01-01T00:00:00Z level=INFO msg=\"this server leads\"\nvirga: listen on :7443: address already in use; choose another address by virga up --listen\n",
			"listen on :7443: address already in use; choose another address by virga up --listen",
		},
		"a line of the log": {
			"time=2026-01-01T00:00:00Z level=ERROR msg=\"the virtual switch does not start; trying again\" error=\"open /x: \\\"y\\\" is\\nmissing\"\n\n",
			`the virtual switch does not start; trying again: open /x: "y" is missing`,
		},
		"a panic": {
			"time=2026-01-01T00:00:00Z level=INFO msg=hello\npanic: runtime error: index out of range [3] with length 3\n\ngoroutine 1 [running]:\ngo.etcd.io/bbolt.(*DB).page(...)\n" +
				"\t/root/go/pkg/mod/go.etcd.io/bbolt@v1.4.0/db.go:1200 +0x1\nexample/engine/store/etcd.Open()\n\t/src/virga/engine/store/etcd/open.go:90 +0x1d\ncreated by main.main\n\t/src/virga/cmd/virga/main.go:20 +0x25\n",
			"it met a bug of ours: runtime error: index out of range [3] with length 3 (in etcd/open.go:90)",
		},
		"a panic within a panic": {
			"panic: first [recovered, repanicked]\n\tpanic: second\n\ngoroutine 7 [running]:\n",
			"it met a bug of ours: first",
		},
		"a fatal error": {
			"fatal error: concurrent map writes\n\ngoroutine 12 [running]:\n", "it met a bug of ours: concurrent map writes",
		},
		"nothing": {"\n \n", "it said nothing"},
	} {
		if got := reason(c.said); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, c.want)
		}
	}
}

func TestLastWordsBeginWhereTheDaemonBegan(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	before := "panic: of an earlier start\n"
	if err := os.WriteFile(file, []byte(before+"virga: no room\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := lastWords(file, int64(len(before))); got != "no room" {
		t.Errorf("got %s", got)
	}
	if got := lastWords(file, 1<<20); !strings.Contains(got, "nothing") {
		t.Errorf("of a log that was cut: %s", got)
	}
}

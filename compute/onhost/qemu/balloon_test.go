package qemu

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/virga-cloud/virga/compute/onhost"
)

func TestWhatAGuestTellsOfItsMemoryIsJudged(t *testing.T) {
	now := time.Unix(1_700_000_100, 0)
	const given = 512 << 20
	for name, c := range map[string]struct {
		told string
		want onhost.GuestMemory
	}{
		"no driver has answered yet": {`{"last-update":0,"stats":{"stat-free-memory":18446744073709551615}}`, onhost.GuestMemory{Given: given}},
		"Linux of today": {`{"last-update":1700000099,"stats":{"stat-free-memory":1048576,"stat-available-memory":4194304,"stat-disk-caches":2097152,"stat-swap-in":5,"stat-swap-out":7}}`,
			onhost.GuestMemory{Given: given, Answers: true, Available: 4 << 20, SwappedIn: 5, SwappedOut: 7}},
		"a driver that knows nothing of what is available": {`{"last-update":1700000099,"stats":{"stat-free-memory":1048576,"stat-available-memory":18446744073709551615,"stat-disk-caches":2097152,"stat-swap-in":18446744073709551615,"stat-swap-out":18446744073709551615}}`,
			onhost.GuestMemory{Given: given, Answers: true, Available: 3 << 20}},
		"nor of caches": {`{"last-update":1700000099,"stats":{"stat-free-memory":1048576,"stat-available-memory":18446744073709551615,"stat-disk-caches":18446744073709551615}}`,
			onhost.GuestMemory{Given: given, Answers: true, Available: 1 << 20}},
		"more available than it has":   {`{"last-update":1700000099,"stats":{"stat-free-memory":1,"stat-available-memory":9223372036854775807}}`, onhost.GuestMemory{Given: given, Answers: true, Available: given}},
		"silent since before a reboot": {`{"last-update":1700000050,"stats":{"stat-free-memory":1048576,"stat-available-memory":4194304}}`, onhost.GuestMemory{Given: given}},
	} {
		var told balloonStats
		must(t, json.Unmarshal([]byte(c.told), &told))
		if got := told.memory(given, now); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

package keyring

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

var (
	now  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	mine = resource.Ref{Kind: "secret", Project: "p", ID: "1"}
)

func ring(t testing.TB, path string, existing bool) *Ring {
	t.Helper()
	r, err := Open(path, existing, now)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSealedValueOpensForItsRecordAlone(t *testing.T) {
	r := ring(t, filepath.Join(t.TempDir(), "keys.json"), false)
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.SliceOf(rapid.Byte()).Draw(t, "value")
		s, err := r.Seal(value, mine)
		if err != nil {
			t.Fatal(err)
		}
		if len(value) > 3 && bytes.Contains(append(s.Value, s.DataKey...), value) {
			t.Fatal("the value is in what is kept")
		}
		if plain, err := r.Open(s, mine); err != nil || !bytes.Equal(plain, value) {
			t.Fatalf("%q %v", plain, err)
		}
		other := mine
		other.ID = "2"
		if _, err := r.Open(s, other); err == nil {
			t.Fatal("another record opens it")
		}
		for _, part := range [][]byte{s.Value, s.DataKey} {
			at := rapid.IntRange(0, len(part)-1).Draw(t, "at")
			part[at] ^= 1
			if _, err := r.Open(s, mine); !fault.Is(err, fault.Internal) {
				t.Fatalf("damaged, it opens: %v", err)
			}
			part[at] ^= 1
		}
	})
}

func TestRotationIsSafeAtEveryStep(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	r := ring(t, path, false)
	var all []*Sealed
	refs := []resource.Ref{{Kind: "secret", ID: "a"}, {Kind: "secret", ID: "b"}}
	for _, ref := range refs {
		s, err := r.Seal([]byte("hush"), ref)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	// After each step the program dies, and what is on disk must open everything.
	whole := func(step string) {
		t.Helper()
		r = ring(t, path, true)
		for i, s := range all {
			if plain, err := r.Open(s, refs[i]); err != nil || string(plain) != "hush" {
				t.Fatalf("after %s: %q %v", step, plain, err)
			}
		}
	}
	used := func(id resource.ID) bool {
		for _, s := range all {
			if s.KeyID == id {
				return true
			}
		}
		return false
	}
	first := r.Current()
	if err := r.Rotate(now); err != nil {
		t.Fatal(err)
	}
	whole("the new key")
	if s, err := r.Seal([]byte("new"), mine); err != nil || s.KeyID == first {
		t.Fatalf("a new value uses the old key: %v", err)
	}
	for i := range all {
		value := all[i].Value
		s, err := r.Rewrap(all[i], refs[i])
		if err != nil || !bytes.Equal(s.Value, value) {
			t.Fatalf("the value was touched: %v", err)
		}
		all[i] = s
		if err := r.Retire(used); err != nil {
			t.Fatal(err)
		}
		whole("a record")
	}
	if len(r.keys) != 1 || r.Current() == first {
		t.Errorf("%d keys are left", len(r.keys))
	}
}

func TestRingThatIsMissingOrOpenToOthersIsRefusedInWords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	if _, err := Open(path, true, now); !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "missing: no secret of this cloud can be read") {
		t.Error(err)
	}
	r := ring(t, path, false)
	s, err := r.Seal([]byte("hush"), mine)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	other := ring(t, filepath.Join(t.TempDir(), "keys.json"), false)
	if _, err := other.Open(s, mine); !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), mine.String()) || !strings.Contains(err.Error(), string(s.KeyID)) {
		t.Error(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, true, now); err == nil || !strings.Contains(err.Error(), "can be read by others") {
		t.Error(err)
	}
	for _, text := range []string{"", "[]", "{", `[{"id":"x","key":"AAAA"}]`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_ = os.Chmod(path, 0o600)
		if _, err := Open(path, true, now); !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

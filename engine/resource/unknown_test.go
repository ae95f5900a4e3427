package resource

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// same compares JSON, whatever the order of its fields.
func same(t interface{ Fatal(...any) }, a, b []byte) bool {
	var x, y any
	if err := json.Unmarshal(a, &x); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &y); err != nil {
		t.Fatal(err)
	}
	return reflect.DeepEqual(x, y)
}

type drive struct {
	ID   string `json:"id,omitempty"`
	Size int    `json:"size"`
}

type shelf = Record[struct {
	Drives []drive           `json:"drives,omitempty"`
	Words  map[string]string `json:"words,omitempty"`
	Power  string            `json:"power,omitempty"`
}, struct {
	Phase string `json:"phase,omitempty"`
}]

const newer = `{"kind":"shelf","id":"s","name":"s","generation":1,"revision":0,"created":"2026-01-02T03:04:05Z","zone":"z1",
	"spec":{"tier":{"fast":true},"drives":[{"id":"a","size":1,"cache":"none"},{"id":"b","size":2,"cache":"write"}],"words":{"x":"1","y":"2"}},
	"status":{"phase":"ready","wear":3}}`

func TestRecordKeepsFieldsOfANewerVersion(t *testing.T) {
	for name, test := range map[string]struct {
		edit func(*shelf)
		want map[string]string // what is replaced in the text
	}{
		"nothing is changed":             {func(*shelf) {}, nil},
		"a status is written":            {func(s *shelf) { s.Status.Phase = "broken" }, map[string]string{`"ready"`: `"broken"`}},
		"a known field is emptied":       {func(s *shelf) { s.Status.Phase = "" }, map[string]string{`"phase":"ready",`: ``}},
		"a word is taken out":            {func(s *shelf) { delete(s.Spec.Words, "y") }, map[string]string{`,"y":"2"`: ``}},
		"a field appears":                {func(s *shelf) { s.Spec.Power = "on" }, map[string]string{`"words":`: `"power":"on","words":`}},
		"one element of a list changes":  {func(s *shelf) { s.Spec.Drives[1].Size = 9 }, map[string]string{`"size":2`: `"size":9`}},
		"one element of a list goes":     {func(s *shelf) { s.Spec.Drives = s.Spec.Drives[1:] }, map[string]string{`{"id":"a","size":1,"cache":"none"},`: ``}},
		"a list is turned round":         {func(s *shelf) { s.Spec.Drives[0], s.Spec.Drives[1] = s.Spec.Drives[1], s.Spec.Drives[0] }, map[string]string{`{"id":"a","size":1,"cache":"none"},{"id":"b","size":2,"cache":"write"}`: `{"id":"b","size":2,"cache":"write"},{"id":"a","size":1,"cache":"none"}`}},
		"an element is added":            {func(s *shelf) { s.Spec.Drives = append(s.Spec.Drives, drive{ID: "c"}) }, map[string]string{`"cache":"write"}`: `"cache":"write"},{"id":"c","size":0}`}},
		"a list goes with all it had":    {func(s *shelf) { s.Spec.Drives = nil }, map[string]string{`"drives":[{"id":"a","size":1,"cache":"none"},{"id":"b","size":2,"cache":"write"}],`: ``}},
		"a holder is added and a spec 2": {func(s *shelf) { s.Holders = []string{"h"}; s.Generation++ }, map[string]string{`"generation":1`: `"generation":2,"holders":["h"]`}},
	} {
		t.Run(strings.ReplaceAll(name, " ", ""), func(t *testing.T) {
			var s shelf
			if err := json.Unmarshal([]byte(newer), &s); err != nil {
				t.Fatal(err)
			}
			mine := Copy(&s) // what a batch works on
			test.edit(mine)
			got, err := json.Marshal(mine)
			if err != nil {
				t.Fatal(err)
			}
			want := newer
			for old, now := range test.want {
				if !strings.Contains(want, old) {
					t.Fatalf("there is no %s", old)
				}
				want = strings.Replace(want, old, now, 1)
			}
			if !same(t, got, []byte(want)) {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func TestRecordOfThisVersionKeepsNoText(t *testing.T) {
	data, err := json.Marshal(&shelf{Meta: Meta{ID: "s"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{string(data), strings.Replace(string(data), "{", `{"hosts":["h1"],`, 1)} {
		var s shelf
		if err := json.Unmarshal([]byte(text), &s); err != nil || s.stored != nil {
			t.Errorf("%s: %v, kept %s", text, err, s.stored)
		}
	}
}

// TestRecordUnchangedIsWrittenAsItWas: whatever a newer version stores, an older one that reads it
// and changes nothing of it writes the same.
func TestRecordUnchangedIsWrittenAsItWas(t *testing.T) {
	word := rapid.StringMatching(`[a-e]{1,3}`)
	rapid.Check(t, func(t *rapid.T) {
		extra := func(what string) string {
			text, _ := json.Marshal(rapid.MapOf(word, rapid.SliceOf(word)).Draw(t, what))
			return string(text)
		}
		text := `{"kind":"shelf","id":"s","name":"s","generation":1,"revision":0,"created":"2026-01-02T03:04:05Z","extra":` + extra("top") +
			`,"spec":{"more":` + extra("spec") + `,"drives":[{"size":1,"odd":` + extra("drive") + `}]},"status":{"phase":"` + word.Draw(t, "phase") + `","else":` + extra("status") + `}}`
		var s shelf
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			t.Fatal(err)
		}
		got, err := json.Marshal(Copy(&s))
		if err != nil {
			t.Fatal(err)
		}
		if !same(t, got, []byte(text)) {
			t.Errorf("got %s\nof  %s", got, text)
		}
	})
}

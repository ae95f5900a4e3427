package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/store"
)

// TestFindingsAreToldByTheirKinds: hundreds that are harmless do not hide the one that is not.
func TestFindingsAreToldByTheirKinds(t *testing.T) {
	var found []finding
	for i := range 312 {
		found = append(found, finding{Record: fmt.Sprintf("event/p/e%d", i), Class: string(store.Dangling), Wrong: "it speaks of vm v, which is not there", Harmless: "yes"})
	}
	harmless := len(found)
	found = append(found,
		finding{Record: "name/p/vm:a", Class: string(store.Orphan), Wrong: "it is held by x, which is not there; nobody can take it", Repair: "done"},
		finding{Record: "vm/p/v1", Name: "web", Class: string(store.Unreadable), Wrong: "it cannot be read: it is damaged in the state store: its checksum does not match"})
	var out bytes.Buffer
	err := tellFindings(&out, found, "table")
	want := `Records that cannot be read: 1 (virga check --delete KIND/ID gives it up)
  vm/p/v1 (web): it cannot be read: it is damaged in the state store: its checksum does not match
Records that speak of what is not there: 312 (harmless)
  event/p/e0: it speaks of vm v, which is not there
  event/p/e1: it speaks of vm v, which is not there
  event/p/e2: it speaks of vm v, which is not there
  event/p/e3: it speaks of vm v, which is not there
  event/p/e4: it speaks of vm v, which is not there
  and 307 more; -o json names all
Keys held by what is not there: 1 (repaired)
  name/p/vm:a: it is held by x, which is not there; nobody can take it
`
	if out.String() != want {
		t.Errorf("told is\n%s", out.String())
	}
	if !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "1 are not") {
		t.Errorf("the verdict is %v", err)
	}
	out.Reset()
	_ = tellFindings(&out, found, "json")
	var all []finding
	if err := json.Unmarshal(out.Bytes(), &all); err != nil || len(all) != len(found) || all[len(all)-1].Name != "web" {
		t.Errorf("as JSON there are %d: %v", len(all), err)
	}
	out.Reset()
	if err := tellFindings(&out, found[:harmless], "table"); err != nil || !strings.HasSuffix(out.String(), "The records are sound.\n") {
		t.Errorf("harmless ones alone give %v: %s", err, out.String())
	}
}

package cli

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestASheetLeavesOutWhatNobodyKnowsAndKeepsToTheScreen(t *testing.T) {
	sheet := sheet{columns: append([]figure{shown("Name", "name"), bounded("Limit", "limit")}, memoryFigures...)}
	line := func(name string, more map[string]any) map[string]any {
		out := map[string]any{"name": name, "limit": json.Number("0")}
		for k, v := range more {
			out[k] = v
		}
		return out
	}
	if got := sheet.text([]map[string]any{line("a", nil), line("b", nil), line("c", nil)}, 2); got != "NAME\na\nb\n" {
		t.Errorf("%q", got)
	}
	got := sheet.text([]map[string]any{line("a", map[string]any{"memory": map[string]any{"activeMiB": json.Number("7"), "swappedMiB": json.Number("-1")}}), line("b", map[string]any{"limit": json.Number("5")})}, 0)
	if got != "NAME  LIMIT  ACTIVE\na     -      7\nb     5      -\n" {
		t.Errorf("%q", got)
	}
	if got := sheet.text(nil, 5); !strings.Contains(got, "nothing") {
		t.Errorf("%q", got)
	}
	if got := narrow("12345\nab\n", 4); got != "123…\x1b[K\r\nab\x1b[K\r\n" {
		t.Errorf("%q", got)
	}
}

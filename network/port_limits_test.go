package network

import (
	"fmt"
	"strings"
	"testing"
)

func TestLimitsOfAPortAreJudged(t *testing.T) {
	for kbps, wrong := range map[int64]string{
		0: "", 64: "", 20_000: "", 1_000_000_000: "",
		-1: "-1 kbit/s is not between 64", 63: "63 kbit/s is not between 64", 1_000_000_001: "is not between 64 and 1000000000; 0 is no limit",
	} {
		for field, s := range map[string]PortSpec{"spec.sendKbps": {SendKbps: kbps}, "spec.receiveKbps": {ReceiveKbps: kbps}} {
			got := ""
			for _, d := range s.Check() {
				got += fmt.Sprintf("%s: %s", d.Field, d.Message)
			}
			if (wrong == "") != (got == "") || !strings.Contains(got, wrong) || got != "" && !strings.HasPrefix(got, field+":") {
				t.Errorf("%s of %d: %q, and should say %q", field, kbps, got, wrong)
			}
		}
	}
}

func TestLimitsOfAPortChangeAndItsPlaceDoesNot(t *testing.T) {
	old := &Port{Spec: PortSpec{NetworkID: "n"}}
	if err := changePort(t.Context(), newMoment(t).call(), old, &PortSpec{NetworkID: "n", SendKbps: 500, ReceiveKbps: 900}); err != nil {
		t.Error(err)
	}
	if err := changePort(t.Context(), newMoment(t).call(), old, &PortSpec{NetworkID: "other", SendKbps: 500}); err == nil {
		t.Error("a port went to another network")
	}
}

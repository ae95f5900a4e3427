package probe

import (
	"bytes"
	"context"
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/host"
)

// AskCPU has QEMU tell what a guest sees of the processor: who made it, and its features.
func AskCPU(ctx context.Context, binary string, accelerator host.Accelerator) (vendor, features string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	model := map[host.Accelerator]string{host.KVM: "host", host.TCG: "max"}[accelerator]
	cmd := exec.CommandContext(ctx, binary, "-machine", "q35", "-accel", string(accelerator), "-cpu", model, "-m", "16M",
		"-nodefaults", "-no-user-config", "-display", "none", "-S", "-qmp", "stdio")
	cmd.Stdin = strings.NewReader(`{"execute":"qmp_capabilities"}
{"execute":"query-cpu-model-expansion","arguments":{"type":"full","model":{"name":"` + model + `"}},"id":"cpu"}
{"execute":"quit"}
`)
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		return "", "", fault.New(fault.Precondition, "ask %s for the features of the processor: %w", binary, err)
	}
	return readCPU(out)
}

// readCPU finds the answer among QEMU's lines.
func readCPU(lines []byte) (vendor, features string, err error) {
	for line := range bytes.Lines(lines) {
		var m struct {
			ID     string `json:"id"`
			Return struct {
				Model struct {
					Props map[string]any `json:"props"`
				} `json:"model"`
			} `json:"return"`
		}
		if json.Unmarshal(line, &m) != nil || m.ID != "cpu" || m.Return.Model.Props == nil {
			continue
		}
		var names []string
		for name, value := range m.Return.Model.Props {
			if value == true && isFeature(name) {
				names = append(names, spelling.Replace(name))
			}
		}
		slices.Sort(names)
		names = slices.Compact(names)
		vendor, _ = m.Return.Model.Props["vendor"].(string)
		return vendor, strings.Join(names, " "), nil
	}
	return "", "", fault.New(fault.Precondition, "QEMU does not say what the processor can do")
}

// spelling makes one name of those that QEMU gives a feature: sse4-1, sse4.1, sse4_1.
var spelling = strings.NewReplacer("_", "-", ".", "-")

// settings are what QEMU lists among the features and what is none: how QEMU itself behaves.
var settings = []string{
	"check", "cpuid-0xb", "enforce", "fill-mtrr-mask", "full-cpuid-auto-level", "host-cache-info", "host-phys-bits", "hotpluggable", "hotplugged",
	"kvm", "l3-cache", "legacy-cache", "migratable", "min-level", "pmu", "realized", "start-powered-off", "tcg-cpuid", "vmware-cpuid-freq",
}

func isFeature(name string) bool {
	return !slices.Contains(settings, name) && !strings.HasPrefix(name, "x-") && !strings.HasPrefix(name, "legacy-") &&
		!strings.ContainsAny(name, " \t\n") && name != ""
}

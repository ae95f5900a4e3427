package probe

import (
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"strconv"
	"strings"

	"github.com/virga-cloud/virga/engine/proc"
	"github.com/virga-cloud/virga/host"
)

// Kernel reads what the kernel offers, into the profile. It loads nothing.
func Kernel(files fs.FS, p *host.Profile) {
	p.KernelVersion = line(files, "proc/sys/kernel/osrelease")
	p.CgroupVersion = cgroups(files)
	p.HugePages2MiB, _ = strconv.ParseInt(line(files, "sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"), 10, 64)
	p.HugePages1GiB, _ = strconv.ParseInt(line(files, "sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages"), 10, 64)
	_, err := fs.Stat(files, "sys/kernel/mm/ksm/run")
	p.PageSharing = yes(err == nil)
	swap(files, p)
	groups, _ := fs.ReadDir(files, "sys/kernel/iommu_groups")
	p.IOMMU = yes(len(groups) > 0)
	config := kernelConfig(files, p.KernelVersion)
	p.KernelWireGuard = yes(offers(files, config, p.KernelVersion, "CONFIG_WIREGUARD", "wireguard"))
	p.KernelIPsec = yes(offers(files, config, p.KernelVersion, "CONFIG_INET_ESP", "esp4") &&
		offers(files, config, p.KernelVersion, "CONFIG_XFRM_USER", "xfrm_user"))
}

// swap reads where the host can swap to.
func swap(files fs.FS, p *host.Profile) {
	text, _ := fs.ReadFile(files, "proc/meminfo")
	if p.SwapMiB = proc.Kibibytes(string(text), "SwapTotal") >> 20; p.SwapMiB == 0 {
		return
	}
	devices, _ := fs.ReadFile(files, "proc/swaps")
	p.CompressedSwap = yes(line(files, "sys/module/zswap/parameters/enabled") == "Y" || strings.Contains(string(devices), "/zram"))
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// cgroups says which version has the processor and memory controllers. A host with both
// versions mounted has them in version 1.
func cgroups(files fs.FS) int {
	has := func(name string) bool { _, err := fs.Stat(files, "sys/fs/cgroup/"+name); return err == nil }
	controllers := strings.Fields(line(files, "sys/fs/cgroup/cgroup.controllers"))
	found := map[string]bool{}
	for _, c := range controllers {
		found[c] = true
	}
	switch {
	case found["cpu"] && found["memory"]:
		return 2
	case has("cpu/tasks") && has("memory/tasks"):
		return 1
	default:
		return 0
	}
}

// offers reports whether the kernel has a feature built in, loaded, or as a module beside it.
func offers(files fs.FS, config map[string]string, version, option, module string) bool {
	if _, err := fs.Stat(files, "sys/module/"+module); err == nil {
		return true
	}
	if config[option] == "y" {
		return true
	}
	if config != nil && config[option] == "" {
		return false
	}
	for _, list := range []string{"modules.builtin", "modules.dep"} {
		if text, err := fs.ReadFile(files, "lib/modules/"+version+"/"+list); err == nil {
			if strings.Contains(string(text), "/"+module+".ko") {
				return true
			}
		}
	}
	return false
}

// kernelConfig reads the options that the kernel was built with; nil where nobody tells.
func kernelConfig(files fs.FS, version string) map[string]string {
	text, err := fs.ReadFile(files, "boot/config-"+version)
	if err != nil {
		packed, _ := fs.ReadFile(files, "proc/config.gz")
		unpack, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			return nil
		}
		if text, err = io.ReadAll(unpack); err != nil {
			return nil
		}
	}
	out := map[string]string{}
	for l := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(l), "="); ok && strings.HasPrefix(key, "CONFIG_") {
			out[key] = value
		}
	}
	return out
}

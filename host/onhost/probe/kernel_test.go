package probe

import (
	"testing"
	"testing/fstest"

	"github.com/virga-cloud/virga/host"
)

func TestWhatTheKernelOffersIsReadAndNotLoaded(t *testing.T) {
	const config, builtin, dep = "boot/config-6.1.0", "lib/modules/6.1.0/modules.builtin", "lib/modules/6.1.0/modules.dep"
	for name, c := range map[string]struct {
		files            fstest.MapFS
		wireguard, ipsec string
		cgroup           int
		iommu            string
	}{
		"nothing at all":               {fstest.MapFS{}, "no", "no", 0, "no"},
		"built in by its config":       {fstest.MapFS{config: file("CONFIG_WIREGUARD=y\nCONFIG_INET_ESP=y\nCONFIG_XFRM_USER=y\n")}, "yes", "yes", 0, "no"},
		"a module that is not there":   {fstest.MapFS{config: file("CONFIG_WIREGUARD=m\n# CONFIG_INET_ESP is not set\nCONFIG_XFRM_USER=y\n")}, "no", "no", 0, "no"},
		"modules beside the kernel":    {fstest.MapFS{config: file("CONFIG_WIREGUARD=m\nCONFIG_INET_ESP=m\nCONFIG_XFRM_USER=m\n"), dep: file("kernel/net/wireguard.ko: x\nkernel/net/ipv4/esp4.ko:\nkernel/net/xfrm/xfrm_user.ko:\n")}, "yes", "yes", 0, "no"},
		"no config, built in":          {fstest.MapFS{builtin: file("kernel/drivers/net/wireguard/wireguard.ko\n")}, "yes", "no", 0, "no"},
		"loaded":                       {fstest.MapFS{"sys/module/wireguard/initstate": file("live")}, "yes", "no", 0, "no"},
		"controllers of version 2":     {fstest.MapFS{"sys/fs/cgroup/cgroup.controllers": file("cpuset cpu memory")}, "no", "no", 2, "no"},
		"version 2 without processors": {fstest.MapFS{"sys/fs/cgroup/cgroup.controllers": file("hugetlb")}, "no", "no", 0, "no"},
		"controllers of version 1":     {fstest.MapFS{"sys/fs/cgroup/cpu/tasks": file(""), "sys/fs/cgroup/memory/tasks": file(""), "sys/fs/cgroup/unified/cgroup.controllers": file("hugetlb")}, "no", "no", 1, "no"},
		"devices can be given away":    {fstest.MapFS{"sys/kernel/iommu_groups/0/type": file("DMA")}, "no", "no", 0, "yes"},
	} {
		c.files["proc/sys/kernel/osrelease"] = file("6.1.0\n")
		var p host.Profile
		Kernel(c.files, &p)
		if p.KernelVersion != "6.1.0" || p.KernelWireGuard != c.wireguard || p.KernelIPsec != c.ipsec || p.CgroupVersion != c.cgroup || p.IOMMU != c.iommu {
			t.Errorf("%s: got %+v", name, p)
		}
	}
}

func TestHugePagesAreCounted(t *testing.T) {
	var p host.Profile
	Kernel(fstest.MapFS{"sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages": file("64\n")}, &p)
	if p.HugePages2MiB != 64 {
		t.Errorf("got %d", p.HugePages2MiB)
	}
}

func TestSwapIsReadAndWhetherItIsCompressed(t *testing.T) {
	const some = "SwapTotal: 2097152 kB\n"
	for name, c := range map[string]struct {
		files      fstest.MapFS
		mib        int64
		compressed string
	}{
		"none":          {fstest.MapFS{"proc/meminfo": file("SwapTotal: 0 kB\n"), "sys/module/zswap/parameters/enabled": file("Y\n")}, 0, ""},
		"a disk":        {fstest.MapFS{"proc/meminfo": file(some), "sys/module/zswap/parameters/enabled": file("N\n"), "proc/swaps": file("/dev/sda2 partition")}, 2048, "no"},
		"through zswap": {fstest.MapFS{"proc/meminfo": file(some), "sys/module/zswap/parameters/enabled": file("Y\n")}, 2048, "yes"},
		"in zram":       {fstest.MapFS{"proc/meminfo": file(some), "proc/swaps": file("/dev/zram0 partition")}, 2048, "yes"},
	} {
		var p host.Profile
		Kernel(c.files, &p)
		if p.SwapMiB != c.mib || p.CompressedSwap != c.compressed || p.PageSharing != "no" {
			t.Errorf("%s: %d MiB, compressed %q, page sharing %q", name, p.SwapMiB, p.CompressedSwap, p.PageSharing)
		}
	}
}

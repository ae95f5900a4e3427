package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/virga-cloud/virga/client"
)

// cpuFlags are the flags of what a VM gets of its host's processors.
type cpuFlags struct{ shares, reservation, limit int64 }

func (c *cpuFlags) flags(f *pflag.FlagSet) {
	f.Int64Var(&c.shares, "cpu-shares", 0, "weight against other VMs where processors are short (default 1000 for each virtual CPU)")
	f.Int64Var(&c.reservation, "cpu-reservation", 0, "what it gets however busy its host is, in MHz")
	f.Int64Var(&c.limit, "cpu-limit", 0, "the most it gets, in MHz; 0: no limit")
}

// check refuses what would be taken for "not said".
func (c *cpuFlags) check(cmd *cobra.Command) error {
	if cmd.Flags().Changed("cpu-shares") && c.shares < 1 {
		return refuse("--cpu-shares: %d is no weight; 1 is the least, and a VM has 1000 for each virtual CPU where nobody says", c.shares)
	}
	return nil
}

// memoryFlags are the flags of what a VM gets of its host's memory.
type memoryFlags struct {
	shares             int64
	reservation, limit memoryPart
}

// The texts of flags of several commands.
const (
	maxMemoryText = "how much memory it can be given while it runs, from its next boot on; 0: none"
	maxCPUsText   = "how many virtual CPUs it can have while it runs, from its next boot on; 0: no more than it has"
)

// memoryPart is a size that may be none.
type memoryPart struct{ sizeFlag }

func (p *memoryPart) Set(text string) error {
	if text == "0" {
		p.text, p.mib = text, 0
		return nil
	}
	return p.sizeFlag.Set(text)
}

func (m *memoryFlags) flags(f *pflag.FlagSet) {
	f.Int64Var(&m.shares, "memory-shares", 0, "weight against other VMs where memory is short (default 10 for each MiB of its memory)")
	f.Var(&m.reservation, "memory-reservation", "what it keeps however short memory is, for example 256MiB")
	f.Var(&m.limit, "memory-limit", "the most of its host's memory that it gets, for example 1GiB; 0: all of its own")
}

// check refuses what would be taken for "not said".
func (m *memoryFlags) check(cmd *cobra.Command) error {
	if cmd.Flags().Changed("memory-shares") && m.shares < 1 {
		return refuse("--memory-shares: %d is no weight; 1 is the least, and a VM has 10 for each MiB of its memory where nobody says", m.shares)
	}
	return nil
}

// createFlags are the flags of vm create.
type createFlags struct {
	image, host, pool, hostname, restart, userData, description, numa string
	os, firmware, watchdog, hugePages                                 string
	bootOrder                                                         []string
	policy                                                            cpuFlags
	share                                                             memoryFlags
	cpus, maxCPUs, stopTimeout                                        int64
	memory                                                            sizeFlag
	most                                                              memoryPart
	disks, networks, addresses, keys, groups, rules                   []string
	stopped, noNetwork                                                bool
}

const vmCreateLong = `Create a VM with its disks and NICs, and start it.

A disk is a size, with more words after commas: 10GiB or 10GiB,datastore=fast; or a volume that is
there: volume=data. The first disk starts from the image. Limits are words too: 10GiB,iops=500. A network is a name, with more words
after commas: default,address=10.20.0.5 or default,mac=52:54:00:00:00:01; or a port that is there:
port=web.`

func (s *session) vmCreate(n *noun) *cobra.Command {
	w := &createFlags{}
	c := &cobra.Command{Use: "create NAME --image IMAGE", Short: "Create a VM", Long: vmCreateLong, Args: exactly("NAME"),
		Example: "  virga vm create web --image tiny --wait\n" +
			"  virga vm create db --image debian/12 --cpus 2 --memory 2GiB --disk 20GiB --disk volume=data \\\n" +
			"    --network default,address=10.20.0.5 --ssh-key ~/.ssh/id_ed25519.pub --user-data init.yaml",
		ValidArgsFunction: cobra.NoFileCompletions}
	f := c.Flags()
	f.StringVar(&w.image, "image", "", "the image that the first disk starts from")
	f.Int64Var(&w.cpus, "cpus", 0, "number of virtual CPUs (default 1)")
	w.policy.flags(f)
	f.Var(&w.memory, "memory", "memory, for example 1GiB (default 512MiB)")
	f.Var(&w.most, "max-memory", maxMemoryText)
	f.Int64Var(&w.maxCPUs, "max-cpus", 0, maxCPUsText)
	w.share.flags(f)
	f.StringArrayVar(&w.disks, "disk", nil, "a disk, for example 10GiB; may be repeated (default: as large as the image)")
	f.StringSliceVar(&w.groups, "security-group", nil, "a security group that its ports are in; may be repeated (default: default)")
	f.StringSliceVar(&w.rules, "affinity-rule", nil, "an affinity rule that it is in; may be repeated")
	f.StringArrayVar(&w.networks, "network", nil, "a network to be in; may be repeated (default: default)")
	f.StringArrayVar(&w.addresses, "address", nil, "its address in the network; repeated: one for each network in order")
	f.BoolVar(&w.noNetwork, "no-network", false, "without any NIC")
	f.StringArrayVar(&w.keys, "ssh-key", nil, "a public key that may log in: a file, or the key itself; may be repeated")
	f.StringVar(&w.userData, "user-data", "", "file for cloud-init; - is standard input")
	f.StringVar(&w.pool, "pool", "", "the resource pool that it is in")
	f.StringVar(&w.host, "host", "", "the one host that it may run on")
	f.StringVar(&w.hostname, "hostname", "", "what the guest is told to be called (default: NAME)")
	f.StringVar(&w.restart, "restart-policy", "", "when a guest that ended is started again: on-failure, always, never (default on-failure)")
	f.StringVar(&w.numa, "numa", "", "how memory and vCPUs are kept on the host's memory nodes: preferred, required (all on one), none (default preferred)")
	f.StringVar(&w.os, "os", "", "what the guest's system needs: linux, freebsd, windows (local clock, Hyper-V's features, secure boot), other (emulated devices) (default linux)")
	f.StringVar(&w.firmware, "firmware", "", "what it boots by: bios, uefi, uefi-secure (default bios)")
	f.StringVar(&w.watchdog, "watchdog", "", "a device that the guest feeds, and what follows when it does not: reset, crash, none (default none)")
	f.StringSliceVar(&w.bootOrder, "boot-order", nil, "the names of the disks that it boots from, in order (default: the first disk)")
	f.Int64Var(&w.stopTimeout, "stop-timeout", 0, "seconds that the guest may take to power off (default 60)")
	f.StringVar(&w.description, "description", "", "for people")
	f.BoolVar(&w.stopped, "stopped", false, "do not start it")
	m := addMaking(c)
	addWaitFor(c, n, m.patience)
	for flag, kind := range map[string]string{"image": "image", "network": "network", "host": "host", "pool": "resourcepool", "security-group": "securitygroup", "affinity-rule": "affinityrule"} {
		s.completeFlag(c, flag, kind)
	}
	fixed(c, "restart-policy", "on-failure", "always", "never")
	f.StringVar(&w.hugePages, "huge-pages", "", "size of the host's huge pages that its memory lies in: 2MiB, 1GiB (default: in none)")
	fixed(c, "huge-pages", "2MiB", "1GiB")
	fixed(c, "numa", "preferred", "required", "none")
	fixed(c, "os", "linux", "freebsd", "windows", "other")
	fixed(c, "firmware", "bios", "uefi", "uefi-secure")
	fixed(c, "watchdog", "none", "reset", "crash")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		spec, err := w.spec(cmd)
		if err != nil {
			return err
		}
		return s.create(cmd, n, args[0], spec, m)
	}
	return c
}

// spec makes the request of the flags. What was not said is left to the server.
func (w *createFlags) spec(cmd *cobra.Command) (*client.VMSpec, error) {
	if w.cpus < 1 && cmd.Flags().Changed("cpus") {
		return nil, refuse("--cpus: %d is no number of CPUs; 1 is the least", w.cpus)
	}
	if err := errors.Join(w.policy.check(cmd), w.share.check(cmd)); err != nil {
		return nil, err
	}
	spec := &client.VMSpec{
		ImageID: images().spelled(w.image), CPUs: w.cpus, CPUShares: w.policy.shares, CPUReservationMHz: w.policy.reservation, CPULimitMHz: w.policy.limit,
		MemoryMiB: w.memory.mib, MaxMemoryMiB: w.most.mib, MaxCPUs: w.maxCPUs, MemoryShares: w.share.shares, MemoryReservationMiB: w.share.reservation.mib, MemoryLimitMiB: w.share.limit.mib, PoolID: w.pool, HostID: w.host, Hostname: w.hostname,
		RestartPolicy: client.VMSpecRestartPolicy(w.restart), StopTimeoutSeconds: w.stopTimeout, Description: w.description,
		NUMA: client.VMSpecNUMA(w.numa), Os: client.VMSpecOs(w.os), HugePages: client.VMSpecHugePages(w.hugePages), Firmware: client.VMSpecFirmware(w.firmware),
		Watchdog: client.VMSpecWatchdog(w.watchdog), BootOrder: w.bootOrder,
	}
	if w.stopped {
		spec.Power = client.VMSpecPowerStopped
	}
	for _, text := range w.disks {
		d, err := parseDisk(text)
		if err != nil {
			return nil, err
		}
		spec.Disks = append(spec.Disks, d)
	}
	var err error
	spec.SecurityGroupIDs, spec.AffinityRuleIDs = w.groups, w.rules
	if spec.NICs, err = w.nics(); err != nil {
		return nil, err
	}
	for _, text := range w.keys {
		found, err := readKeys(text)
		if err != nil {
			return nil, err
		}
		spec.SSHKeys = append(spec.SSHKeys, found...)
	}
	if w.userData != "" {
		if spec.UserData, err = readBytes(cmd.InOrStdin(), w.userData); err != nil {
			return nil, refuse("--user-data: %v", err)
		}
	}
	if w.image == "" && len(w.disks) == 0 {
		return nil, refuse("%s: what does its disk start from? say --image, for example --image tiny (virga image list shows them), or the size of an empty disk by --disk", called(cmd))
	}
	return spec, nil
}

// words reads "first,key=value,key=value"; first may itself be key=value.
func words(flag, text string, keys ...string) (first string, more map[string]string, err error) {
	more = map[string]string{}
	what := strings.TrimSpace("--"+flag) + " "
	if flag == "" {
		what = ""
	}
	for i, part := range strings.Split(text, ",") {
		key, value, named := strings.Cut(part, "=")
		switch {
		case !named && i == 0:
			first = part
		case named && slices.Contains(keys, key) && value != "":
			more[key] = value
		default:
			return "", nil, refuse("%s%q: %q is not understood; after a comma there may be %s", what, text, part, strings.Join(keys, "=…, ")+"=…")
		}
	}
	return first, more, nil
}

// parseDisk reads a disk as --disk writes it.
func parseDisk(text string) (d client.Disk, err error) {
	first, more, err := words("disk", text, append([]string{"datastore", "volume", "name", "model", "io-profile"}, limitWords...)...)
	if err != nil {
		return d, err
	}
	limits, err := limitsAmong(more)
	if err != nil {
		return d, err
	}
	d = client.Disk{Limits: limits, IoProfile: client.DiskIoProfile(more["io-profile"]), DatastoreID: more["datastore"], VolumeID: more["volume"], Name: more["name"], Model: client.DiskModel(more["model"])}
	if first == "" {
		return d, nil
	}
	if d.VolumeID != "" {
		return d, refuse("--disk %q: a volume that is there has its size already; leave out the size", text)
	}
	if d.SizeMiB, err = parseSize(first); err != nil {
		return d, refuse("--disk %q: %v; a volume that is there is written volume=NAME", text, err)
	}
	return d, nil
}

// parseNIC reads a NIC as --network writes it.
func parseNIC(text string) (client.NIC, error) {
	first, more, err := words("network", text, "address", "mac", "port", "name", "model", "io-profile")
	return client.NIC{NetworkID: first, Address: more["address"], MAC: more["mac"], PortID: more["port"], Name: more["name"], Model: client.NICModel(more["model"]), IoProfile: client.NICIoProfile(more["io-profile"])}, err
}

func (w *createFlags) nics() ([]client.NIC, error) {
	if w.noNetwork {
		if len(w.networks)+len(w.addresses) > 0 {
			return nil, refuse("--no-network and --network or --address cannot both be")
		}
		return []client.NIC{}, nil
	}
	networks := w.networks
	if len(networks) == 0 && len(w.addresses) > 0 {
		networks = []string{"default"}
	}
	if len(w.addresses) > len(networks) {
		return nil, refuse("there are %d --address and %d --network; give one network for each address", len(w.addresses), len(networks))
	}
	var out []client.NIC
	for i, text := range networks {
		nic, err := parseNIC(text)
		if err != nil {
			return nil, err
		}
		if i < len(w.addresses) {
			nic.Address = w.addresses[i]
		}
		out = append(out, nic)
	}
	return out, nil
}

// keyForm is a public key, perhaps after options.
var keyForm = regexp.MustCompile(`(^|\s)(ssh|ecdsa|sk-ssh|sk-ecdsa)-\S+\s+\S`)

// readKeys reads public keys: one that is written out, or those of a file.
func readKeys(text string) ([]string, error) {
	where := ""
	if data, err := os.ReadFile(text); err == nil || !keyForm.MatchString(text) {
		if err != nil {
			return nil, refuse("--ssh-key: %v; name a file, or write the whole key, like \"ssh-ed25519 AAAA... name\"", err)
		}
		text, where = strings.TrimPrefix(string(data), "\ufeff"), text+": "
	}
	if strings.Contains(text, "PRIVATE KEY") {
		return nil, refuse("--ssh-key: this is a private key, which must stay with you; name its public part, the file that ends in .pub")
	}
	var out []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if !keyForm.MatchString(line) {
			return nil, refuse("--ssh-key: %s%q is no public key, like \"ssh-ed25519 AAAA... name\"", where, cut(line, 40))
		}
		out = append(out, line)
	}
	if len(out) == 0 {
		return nil, refuse("--ssh-key: there is no key in it")
	}
	return out, nil
}

// readBytes reads a file, or standard input for "-".
func readBytes(in io.Reader, file string) ([]byte, error) {
	if file == "-" {
		return io.ReadAll(in)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read it: %w", err)
	}
	return data, nil
}

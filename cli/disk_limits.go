package cli

import (
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/virga-cloud/virga/client"
)

// limitWords are the limits of a disk in the order of help, as flags and as words after commas: for each of
// them whose rate it is, and which.
var limitWords = func() (out []string) {
	for _, direction := range []string{"", "read-", "write-"} {
		for _, what := range []string{"iops", "bandwidth"} {
			out = append(out, direction+what, direction+"burst-"+what)
		}
	}
	return append(out, "burst-seconds")
}()

// limitField is where a word of limitWords is kept.
func limitField(l *client.DiskLimits, word string) *int64 {
	if word == "burst-seconds" {
		return &l.BurstSeconds
	}
	rate := &l.Total
	if rest, ok := strings.CutPrefix(word, "read-"); ok {
		rate, word = &l.Read, rest
	} else if rest, ok := strings.CutPrefix(word, "write-"); ok {
		rate, word = &l.Write, rest
	}
	return map[string]*int64{
		"iops": &rate.Iops, "burst-iops": &rate.BurstIOPS, "bandwidth": &rate.BytesPerSecond, "burst-bandwidth": &rate.BurstBytesPerSecond,
	}[word]
}

// setLimit writes one limit. None lifts it.
func setLimit(l *client.DiskLimits, word, value string) error {
	field := limitField(l, word)
	switch {
	case value == "none":
		*field = 0
	case strings.HasSuffix(word, "bandwidth"):
		mib, err := parseSize(value)
		if err != nil {
			return refuse("%s %q: that is no bandwidth; write what may go through in one second, for example 20MiB, or none", word, value)
		}
		*field = mib << 20
	default:
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < 1 {
			return refuse("%s %q: that is no whole number above zero; write none to lift it", word, value)
		}
		*field = n
	}
	return nil
}

// limitsAmong reads limits among the words after commas.
func limitsAmong(more map[string]string) (l client.DiskLimits, err error) {
	for _, word := range limitWords {
		if value, said := more[word]; said && err == nil {
			err = setLimit(&l, word, value)
		}
	}
	return l, err
}

// deviceCommands are vm disk and vm nic.
func (s *session) deviceCommands(n *noun) []*cobra.Command {
	group := func(use, short string, set *cobra.Command) *cobra.Command {
		c := &cobra.Command{Use: use, Short: short, Long: short + ", which may run meanwhile."}
		requireVerb(c)
		c.AddCommand(set)
		return c
	}
	return []*cobra.Command{group("disk", "Change a disk of a VM", s.setDisk(n)), group("nic", "Change a NIC of a VM", s.setNIC(n))}
}

func (s *session) setDisk(n *noun) *cobra.Command {
	c := &cobra.Command{Use: "set NAME DISK|VOLUME", Short: "Limit a disk of a VM, and choose its I/O profile", Args: exactly("NAME", "DISK"), ValidArgsFunction: s.completeNames(n, 1),
		Long: "Limit the requests (iops) and the bandwidth of a disk, in one second: reads and writes together, or each alone.\n" +
			"A burst may go above that for some time, after the disk was idle. What is not said stays; none lifts a limit.\n" +
			"The same words may be said after commas where a disk is made: --disk 10GiB,iops=500. The I/O profile throughput gives\n" +
			"a virtio-blk disk more queues, a longer ring and a thread of its own.",
		Example: "  virga vm disk set web disk0 --iops 500 --burst-iops 2000 --burst-seconds 10\n  virga vm disk set web data --write-bandwidth 20MiB\n  virga vm disk set web disk0 --no-limits"}
	said := map[string]*string{}
	for _, word := range limitWords {
		said[word] = c.Flags().String(word, "", limitHelp(word))
	}
	profile := c.Flags().String("io-profile", "", "what its way through QEMU is made for, from the next start on: default, throughput")
	fixed(c, "io-profile", "default", "throughput")
	none := c.Flags().Bool("no-limits", false, "lift all limits")
	addDryRun(c)
	p := addPatience(c, "the disk is held to it")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		changed := func(word string) bool { return cmd.Flags().Changed(word) }
		if !slices.ContainsFunc(limitWords, changed) && !*none && *profile == "" {
			return refuse("%s: say what to change, for example --iops 500 or --io-profile throughput", called(cmd))
		}
		return s.changeVM(cmd, n, args[0], "is changed in its disk "+args[1], p, func(vm *client.VM) error {
			name, err := s.diskNamed(cmd, vm, args[1])
			if err != nil {
				return err
			}
			d := &vm.Spec.Disks[slices.IndexFunc(vm.Spec.Disks, func(d client.Disk) bool { return d.Name == name })]
			if *profile != "" {
				d.IoProfile = client.DiskIoProfile(*profile)
			}
			if *none {
				d.Limits = client.DiskLimits{}
			}
			for _, word := range slices.DeleteFunc(slices.Clone(limitWords), func(w string) bool { return !changed(w) }) {
				if err := setLimit(&d.Limits, word, *said[word]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return c
}

func limitHelp(word string) string {
	if word == "burst-seconds" {
		return "how long a burst may last, in seconds (default 1)"
	}
	of := map[bool]string{true: "bandwidth in one second, for example 20MiB", false: "requests in one second"}[strings.HasSuffix(word, "bandwidth")]
	for direction, what := range map[string]string{"read-": "reads: ", "write-": "writes: "} {
		if strings.HasPrefix(word, direction) {
			of = what + of
		}
	}
	if strings.Contains(word, "burst-") {
		of += ", in a burst"
	}
	return of
}

// diskNamed is the name of a disk within its VM, which is said by that or by its volume.
func (s *session) diskNamed(cmd *cobra.Command, vm *client.VM, name string) (string, error) {
	has := func(d client.DiskStatus) bool { return d.Name == name }
	at := slices.IndexFunc(vm.Status.Disks, has)
	if at < 0 {
		id := s.idOf(cmd, volumes(), name)
		at = slices.IndexFunc(vm.Status.Disks, func(d client.DiskStatus) bool { return d.VolumeID == id })
	}
	if at < 0 {
		return "", fail("not-found", "vm %s has no disk %q; `virga vm show %s` lists its disks", vm.Name, name, vm.Name)
	}
	return vm.Status.Disks[at].Name, nil
}

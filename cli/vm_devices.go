package cli

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/virga-cloud/virga/client"
)

// attachCommands are vm attach and vm detach, each for a volume and a NIC.
func (s *session) attachCommands(n *noun) []*cobra.Command {
	group := func(use, short string, of ...*cobra.Command) *cobra.Command {
		c := &cobra.Command{Use: use, Short: short, Long: sentence(short) + "\n\nA VM that runs has it, or is without it, as soon as its guest has taken it or given it up; --wait waits for that."}
		requireVerb(c)
		c.AddCommand(of...)
		return c
	}
	return []*cobra.Command{
		group("attach", "Give a VM a disk or a NIC", s.attachVolume(n), s.attachNIC(n)),
		group("detach", "Take a disk or a NIC from a VM", s.detachVolume(n), s.detachNIC(n)),
	}
}

// changeVM changes a VM's spec, also when others change it at the same moment.
func (s *session) changeVM(cmd *cobra.Command, n *noun, name, done string, p *patience, change func(*client.VM) error) error {
	c, err := s.connection()
	if err != nil {
		return err
	}
	for attempt := 0; ; attempt++ {
		vm, err := client.VMs.Get(cmd.Context(), c, s.project, name)
		if err != nil {
			return err
		}
		if err := change(vm); err != nil {
			return err
		}
		after := &record{}
		dry, query := dryRun(cmd)
		in := map[string]any{"spec": map[string]any{key(&vmOf.Spec.Disks): vm.Spec.Disks, key(&vmOf.Spec.NICs): vm.Spec.NICs}}
		err = s.do(cmd.Context(), client.Call{Method: "PATCH", Path: s.path(n, s.project, vm.ID), Query: query, In: in, Out: after, IfMatch: vm.Revision})
		switch {
		case client.IsKind(err, "stale") && attempt < 20:
			continue
		case err != nil:
			return err
		case dry:
			done = "would be changed"
		case p.wait:
			if _, err := s.ready(cmd, n, after, p.limit); err != nil {
				return err
			}
		}
		fmt.Fprintf(cmd.OutOrStdout(), "vm %s %s\n", vm.Name, done)
		return nil
	}
}

func (s *session) attachVolume(n *noun) *cobra.Command {
	c := &cobra.Command{Use: "volume NAME VOLUME|SIZE", Short: "Attach a volume, or a new one of a size", Args: exactly("NAME", "VOLUME"), ValidArgsFunction: s.completeNames(n, 1),
		Long: "Attach a volume that is there by its name, or a new one by its size, for example 10GiB. More may be said after\n" +
			"commas: name=NAME calls the disk so within the VM, datastore=NAME says where a new one lives, model=MODEL what the\n" +
			"guest sees (virtio-blk, virtio-scsi, nvme, sata), iops= and bandwidth= the most that it does in one second (and the\nother words of vm disk set). A new one goes with the VM when that is deleted.",
		Example: "  virga vm attach volume web data --wait\n  virga vm attach volume web 10GiB,name=scratch"}
	addDryRun(c)
	p := addPatience(c, "the guest has it")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		first, more, err := words("", args[1], append([]string{"name", "datastore", "model", "io-profile"}, limitWords...)...)
		if err != nil {
			return err
		}
		limits, err := limitsAmong(more)
		if err != nil {
			return err
		}
		disk := client.Disk{Name: more["name"], DatastoreID: more["datastore"], Model: client.DiskModel(more["model"]), IoProfile: client.DiskIoProfile(more["io-profile"]), Limits: limits}
		if mib, err := parseSize(first); err == nil {
			disk.SizeMiB = mib
		} else {
			disk.VolumeID = first
		}
		return s.changeVM(cmd, n, args[0], "has "+first, p, func(vm *client.VM) error {
			vm.Spec.Disks = append(vm.Spec.Disks, disk)
			return nil
		})
	}
	return c
}

func (s *session) attachNIC(n *noun) *cobra.Command {
	c := &cobra.Command{Use: "nic NAME NETWORK|port=PORT", Short: "Attach a NIC in a network, or a port", Args: exactly("NAME", "NETWORK"), ValidArgsFunction: s.completeNames(n, 1),
		Long: "Attach a NIC: in a network by its name, with more words after commas, as --network of vm create has them\n" +
			"(address=, mac=, name=, model=, io-profile=), or with a port that is there.",
		Example: "  virga vm attach nic web lan\n  virga vm attach nic web lan,address=10.1.0.5\n  virga vm attach nic web port=web"}
	addDryRun(c)
	p := addPatience(c, "the guest has it")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		nic, err := parseNIC(args[1])
		if err != nil {
			return err
		}
		return s.changeVM(cmd, n, args[0], "has a NIC in "+args[1], p, func(vm *client.VM) error {
			vm.Spec.NICs = append(vm.Spec.NICs, nic)
			return nil
		})
	}
	return c
}

func (s *session) detachVolume(n *noun) *cobra.Command {
	c := &cobra.Command{Use: "volume NAME DISK|VOLUME", Short: "Detach a volume; what is on it stays", Args: exactly("NAME", "DISK"), ValidArgsFunction: s.completeNames(n, 1),
		Long:    "Detach a volume, by the name of the disk in the VM (disk1) or its own. What is on it stays: one that was made\nfor the VM is a volume by itself then, which the VM does not take along when it is deleted.",
		Example: "  virga vm detach volume web data --wait\n  virga vm detach volume web disk1"}
	addDryRun(c)
	p := addPatience(c, "the guest has given it up")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		return s.changeVM(cmd, n, args[0], "is without "+args[1], p, func(vm *client.VM) error {
			name, err := s.diskNamed(cmd, vm, args[1])
			if err != nil {
				return err
			}
			vm.Spec.Disks = slices.DeleteFunc(vm.Spec.Disks, func(d client.Disk) bool { return d.Name == name })
			return nil
		})
	}
	return c
}

func (s *session) detachNIC(n *noun) *cobra.Command {
	c := &cobra.Command{Use: "nic NAME NIC|PORT", Short: "Detach a NIC", Args: exactly("NAME", "NIC"), ValidArgsFunction: s.completeNames(n, 1),
		Long:    "Detach a NIC, by its name in the VM (nic1), or its port's. A port that was made for the VM goes with it;\none that was made by itself stays, with its addresses.",
		Example: "  virga vm detach nic web nic1\n  virga vm detach nic web web"}
	addDryRun(c)
	p := addPatience(c, "the guest has given it up")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		return s.changeVM(cmd, n, args[0], "is without "+args[1], p, func(vm *client.VM) error {
			nic, err := s.nicNamed(cmd, vm, args[1])
			if err != nil {
				return err
			}
			vm.Spec.NICs = slices.DeleteFunc(vm.Spec.NICs, func(x client.NIC) bool { return x.Name == nic.Name })
			return nil
		})
	}
	return c
}

// nicNamed is a NIC of a VM, by its name there or by its port.
func (s *session) nicNamed(cmd *cobra.Command, vm *client.VM, name string) (client.NICStatus, error) {
	at := slices.IndexFunc(vm.Status.NICs, func(x client.NICStatus) bool { return x.Name == name })
	if at < 0 {
		id := s.idOf(cmd, ports(), name)
		at = slices.IndexFunc(vm.Status.NICs, func(x client.NICStatus) bool { return x.PortID == id })
	}
	if at < 0 {
		return client.NICStatus{}, fail("not-found", "vm %s has no NIC %q; `virga vm show %s` lists its NICs", vm.Name, name, vm.Name)
	}
	return vm.Status.NICs[at], nil
}

// idOf is the id of a record of a name; none: there is none.
func (s *session) idOf(cmd *cobra.Command, n *noun, name string) string {
	if r, err := s.get(cmd.Context(), n, s.project, name); err == nil {
		return r.ID
	}
	return "-"
}

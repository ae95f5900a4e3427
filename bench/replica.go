package bench

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/lab"
	"github.com/virga-cloud/virga/network"
)

// replica is a VM as a person would start it by hand: the very command line of a guest of
// ours, with a disk, a seed and a tap of its own.
type replica struct {
	*Part
	host *lab.Host
	dir  string
	args []string
	cmd  *exec.Cmd
}

var (
	diskFile = regexp.MustCompile(`"filename":"([^"]*/disk\.qcow2)"`)
	tapFD    = regexp.MustCompile(`\bfd=\d+`)
	hardware = regexp.MustCompile(`\bmac=[0-9a-f:]+`)
)

// replicate prepares everything that a replica of a guest on one host needs on another, or the same; nothing is started. Disk
// is shared with another replica, or empty. Port, if given, is one of the virtual network that no
// VM of ours uses now.
func (c *cloud) replicate(h, to *lab.Host, i *compute.Instance, name, disk string, port *network.Port) *replica {
	c.Helper()
	r := &replica{Part: c.Part, host: to, dir: filepath.Join(to.Run, name)}
	c.must(os.MkdirAll(r.dir, 0o755))
	args := commandLine(i.Status.PID)
	of := diskFile.FindStringSubmatch(strings.Join(args, " "))
	if of == nil {
		c.Fatalf("the command line of %s names no disk: %v", i.Spec.VMName, args)
	}
	if disk == "" {
		disk = filepath.Join(r.dir, "disk.qcow2")
		r.overlay(of[1], disk)
	}
	r.copy(filepath.Join(folder(h, i), "seed.iso"), filepath.Join(r.dir, "seed.iso"))
	for n, word := range args[1:] {
		if word == "-S" || word == "-add-fd" || args[n] == "-add-fd" {
			continue
		}
		word = strings.ReplaceAll(word, "/dev/fdset/0", r.serialLog()) // by hand, the log is opened by its name
		word = strings.ReplaceAll(word, filepath.Join(folder(h, i), "vm")+"/", r.dir+"/")
		word = strings.ReplaceAll(word, folder(h, i)+"/", r.dir+"/")
		word = strings.ReplaceAll(word, of[1], disk)
		word = strings.ReplaceAll(word, "guest=virga-"+string(i.ID), "guest="+name)
		if port != nil {
			word = hardware.ReplaceAllString(word, "mac="+port.Status.MAC)
		}
		r.args = append(r.args, tapFD.ReplaceAllString(word, "ifname="+name+",script=no,downscript=no,vnet_hdr=off"))
	}
	r.args = append([]string{args[0]}, r.args...)
	r.tap(name, port)
	c.Cleanup(r.stop)
	return r
}

// overlay makes a disk on the same image.
func (r *replica) overlay(of, path string) {
	r.Helper()
	out, err := exec.Command("qemu-img", "info", "-U", of).Output()
	if err != nil {
		r.Fatalf("look at disk %s: %v", of, err)
	}
	base := regexp.MustCompile(`(?m)^backing file: (\S+)`).FindStringSubmatch(string(out))
	if base == nil {
		r.Fatalf("disk %s has no image below it: %s", of, out)
	}
	if out, err := exec.Command("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base[1], path).CombinedOutput(); err != nil {
		r.Fatalf("make disk %s: %v: %s", path, err, out)
	}
}

func (r *replica) copy(from, to string) {
	r.Helper()
	in, err := os.Open(from)
	r.must(err)
	defer in.Close()
	out, err := os.Create(to)
	r.must(err)
	_, err = io.Copy(out, in)
	r.must(err)
	r.must(out.Close())
}

// tap makes a tap and puts it into the same switch.
func (r *replica) tap(name string, port *network.Port) {
	r.Helper()
	vsctl := "ovs-vsctl --db=unix:" + filepath.Join(r.host.Run, "ovs/db.sock")
	commands := []string{
		"ip tuntap add dev " + name + " mode tap",
		"ethtool -K " + name + " tx off",
		"ip link set " + name + " mtu 1442 up",
		vsctl + " add-port br-int " + name,
	}
	if port != nil {
		commands = append(commands, vsctl+" set interface "+name+" external_ids:iface-id="+string(port.ID))
	}
	for _, command := range commands {
		words := strings.Fields(command)
		if out, err := r.host.Exec(words[0], words[1:]...); err != nil {
			r.Fatalf("%s: %v: %s", command, err, out)
		}
	}
	r.Cleanup(func() {
		_, _ = r.host.Exec("ovs-vsctl", "--db=unix:"+filepath.Join(r.host.Run, "ovs/db.sock"), "--if-exists", "del-port", "br-int", name)
		_, _ = r.host.Exec("ip", "link", "del", name)
	})
}

// start starts it, with more words at the end.
func (r *replica) start(more ...string) {
	r.Helper()
	_ = os.Remove(r.serialLog())
	words, err := os.Create(filepath.Join(r.dir, "stderr"))
	r.must(err)
	defer words.Close()
	r.cmd = r.host.Command(r.Context(), r.args[0], append(r.args[1:], more...)...)
	r.cmd.Stderr = words
	r.must(r.cmd.Start())
}

func (r *replica) stop() {
	if r.cmd == nil {
		return
	}
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait()
	r.cmd = nil
}

func (r *replica) serialLog() string { return filepath.Join(r.dir, "serial.log") }

// says waits until it has said something on its serial line.
func (r *replica) says(what string) time.Time {
	r.Helper()
	end := time.Now().Add(slow)
	for !strings.Contains(read(r.serialLog()), what) {
		if time.Now().After(end) {
			r.Fatalf("the replica has not said %q; stderr: %s", what, read(filepath.Join(r.dir, "stderr")))
		}
		time.Sleep(2 * time.Millisecond)
	}
	return time.Now()
}

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/virga-cloud/virga/engine/durable"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/store/etcd"
	"github.com/virga-cloud/virga/identity/ca"
	"github.com/virga-cloud/virga/wiring"
)

// What should be there and is gone is never made anew: an empty store is no new cloud where anything of
// an old one lies. Only a folder without any trace begins one, and says so by a mark until its
// first records are there, so that a first start that is cut off goes on as one.

// beginning is the mark of a cloud that is being made.
func (c *config) beginning() string { return c.in("beginning") }

// isNew reports whether this cloud is still being made.
func (c *config) isNew() bool {
	_, err := os.Stat(c.beginning())
	return err == nil
}

func (c *config) begin() error {
	if err := c.makeFolder(); err != nil {
		return err
	}
	return durable.Write(c.beginning(), []byte("The first start has not come to its end yet.\n"), 0o600)
}

func (c *config) begun() error {
	if err := os.Remove(c.beginning()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.Internal, "say that the cloud is made: %w", err)
	}
	return durable.SyncFolder(c.state)
}

// traces are what lies in the state folder of a cloud, in words.
func (c *config) traces() []string {
	var out []string
	for _, t := range []struct{ pattern, is string }{
		{"store/etcd/member/*", "records"}, {"ca/ca.key", "the key of its authority"}, {"ca/ca.crt", "the certificate of its authority"},
		{"ca/host.crt", "the certificate of a host"}, {wiring.LocalFolder + "/*", "a datastore"}, {"images/*", "images"}, {"vm/*", "VMs"}, {"serial/*", "logs of VMs"},
	} {
		if found, _ := filepath.Glob(c.in(t.pattern)); len(found) > 0 {
			out = append(out, t.is)
		}
	}
	return out
}

// whole says why this server must not start on what its state folder has; nil: it may. Found says
// whether a config was there.
func (c *config) whole(found bool) error {
	if c.isNew() {
		return nil
	}
	lost, there := "", c.traces()
	switch {
	case !found && len(there) > 0, found && c.HostID == "" && len(there) > 0:
		lost = "which host this is (config.json)"
	case found && c.HostID == "":
		return nil // written by hand, before a first start
	case found && c.Server == "yes" && !etcd.Exists(c.in("store")):
		there = append([]string{"the name of host " + c.Name}, there...)
		lost = "the records of its cloud (store)"
	default:
		return nil
	}
	return fault.New(fault.Precondition, "start Virga: %s has %s, but not %s. Nothing is made anew, because that would end what runs and forget its disks. Bring a backup back by virga restore FILE%s; or, to give all that up, begin another cloud by virga up --new-cloud, which puts the folder aside",
		c.state, strings.Join(there, ", "), lost, c.newestBackup())
}

// newestBackup names the newest backup that is at hand.
func (c *config) newestBackup() string {
	files := c.backups()
	if len(files) == 0 {
		return ""
	}
	return " (the newest here is " + files[len(files)-1] + ")"
}

// putAside moves the state folder away, with all that it has, so that another cloud may begin. Nothing
// of it may run: it would have no daemon any more.
func (c *config) putAside(now time.Time) (to string, err error) {
	if _, err := os.Stat(c.state); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if pids := processesOf(c.state, c.run); len(pids) > 0 {
		return "", fault.New(fault.Precondition, "begin another cloud: processes of this one still run (%s); end them first by virga down --all", strings.Join(pids, ", "))
	}
	to = fmt.Sprintf("%s.before-%s", c.state, now.UTC().Format("20060102T150405Z"))
	if err := os.Rename(c.state, to); err != nil {
		return "", fault.New(fault.Precondition, "put %s aside: %w; move what is in it away by hand", c.state, err)
	}
	return to, nil
}

// processesOf names the processes, beside this one, whose command line names a folder of ours.
func processesOf(folders ...string) []string {
	var out []string
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range lines {
		data, err := os.ReadFile(path)
		pid := strings.Split(path, "/")[2]
		if err != nil || pid == fmt.Sprint(os.Getpid()) || pid == fmt.Sprint(os.Getppid()) {
			continue
		}
		words := strings.Split(string(data), "\x00")
		for _, folder := range folders {
			if strings.Contains(strings.Join(words[1:], "\x00"), folder+"/") && !strings.HasSuffix(words[0], "sh") {
				out = append(out, filepath.Base(words[0])+" "+pid)
				break
			}
		}
	}
	return out
}

// keys puts what is damaged of this server's own keys out of the way; its authority certifies new ones.
func (c *config) keys() error {
	return errors.Join(ca.Replaceable(c.in("ca/server")), ca.Replaceable(ca.HostFiles(c.in("ca"))))
}

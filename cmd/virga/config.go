package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/virga-cloud/virga/compute/onhost/qemu"
	"github.com/virga-cloud/virga/engine/durable"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store/etcd"
)

// config is what a host remembers between starts. It lies in the state folder.
type config struct {
	// Name of the host in the cloud.
	Name string `json:"name"`
	// Server is "yes" where this host holds the state of the cloud.
	Server string `json:"server"`
	// Listen is the address of the HTTPS API; servers only.
	Listen string `json:"listen,omitempty"`
	// Servers are the addresses, host:port, that the agent reaches the API at.
	Servers []string `json:"servers"`
	// Address is this host's address for the servers and the other hosts.
	Address string `json:"address"`
	// AddressBy is who chose it, "found" or "told"; empty as told.
	AddressBy string `json:"addressBy,omitempty"`
	// AgentPort is the port that the agent listens on.
	AgentPort int `json:"agentPort"`
	// OVNPort is the port of OVN's southbound database; servers only.
	OVNPort int `json:"ovnPort,omitempty"`
	// OVNRemote is where the agent finds OVN's southbound database; empty: the unix socket here.
	OVNRemote string `json:"ovnRemote,omitempty"`
	// Uplink is the NIC that the overlay takes over in the user-space datapath; empty: none.
	Uplink string `json:"uplink,omitempty"`
	// Images is the folder of the content of images; empty: below the state folder. Servers only.
	Images string `json:"images,omitempty"`
	// ImageSources are the networks, with commas between, that everybody's images may be fetched from although they are private.
	ImageSources string `json:"imageSources,omitempty"`
	// Backups is the folder of the backups that are made by themselves; empty: below the state folder. Servers only.
	Backups string `json:"backups,omitempty"`
	// AuditDays is how many days the audit log is kept; servers only.
	AuditDays int `json:"auditDays,omitempty"`
	// QEMU is QEMU's name or path; empty: qemu-system-x86_64.
	QEMU string `json:"qemu,omitempty"`
	// HostID is who this host is; empty until it has joined.
	HostID resource.ID `json:"hostID,omitempty"`

	state, run string
}

func (c *config) path() string          { return filepath.Join(c.state, "config.json") }
func (c *config) in(name string) string { return filepath.Join(c.state, name) }

// guests is where each guest has its folder: in the state folder, so that an emptied run folder or
// another --run loses none. Sockets have short names: a state folder whose path is too long for
// them leaves its guests in the run folder.
func (c *config) guests() string {
	if in := c.in("vm"); qemu.Fits(in) {
		return in
	}
	return filepath.Join(c.run, "vm")
}

// slice is the control group that holds those of this host's guests. Hosts that are namespaces of one
// kernel have one each.
func (c *config) slice() string {
	id := string(c.HostID)
	return "virga-" + id[max(0, len(id)-12):]
}

func (c *config) socket() string { return filepath.Join(c.run, "api.sock") }

// loadConfig reads the config of a state folder; found is false where there is none yet.
func loadConfig(state, run string) (c *config, found bool, err error) {
	c = &config{state: state, run: run}
	data, err := os.ReadFile(c.path())
	if errors.Is(err, fs.ErrNotExist) {
		return c, false, nil
	}
	if err != nil {
		return nil, false, fault.New(fault.Internal, "read the config: %w", err)
	}
	if err := json.Unmarshal(data, c); err != nil {
		return nil, false, fault.New(fault.Precondition, "read %s: %w; repair it, or bring a backup back by virga restore FILE", c.path(), err)
	}
	return c, true, nil
}

func (c *config) makeFolder() error {
	if err := os.MkdirAll(c.state, 0o711); err != nil {
		return fault.New(fault.Internal, "make the state folder: %w", err)
	}
	return nil
}

// diskSpace refuses a start on a full disk. The daemon does so as well, but cannot write down why.
func (c *config) diskSpace() error {
	if err := c.makeFolder(); err != nil || c.Server != "yes" {
		return err
	}
	return etcd.CheckSpace(c.in("store"))
}

func (c *config) save() error {
	if err := c.makeFolder(); err != nil {
		return err
	}
	return durable.Write(c.path(), []byte(c.text()+"\n"), 0o600)
}

// text is the config as it is kept.
func (c *config) text() string {
	data, _ := json.MarshalIndent(c, "", "  ")
	return string(data)
}

// hostName is the host's own name, made fit to be a record's.
func hostName() string {
	name, _ := os.Hostname()
	name, _, _ = strings.Cut(strings.ToLower(name), ".")
	name = strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '-'
	}, name), "-")
	if name == "" {
		return "host"
	}
	return name
}

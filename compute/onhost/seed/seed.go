// Package seed makes the small disk that cloud-init reads its first words from (NoCloud): an ISO
// with the label cidata and three files. Make decides their contents; Write puts them on disk.
package seed

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/kdomanski/iso9660"
	"sigs.k8s.io/yaml"
)

// NIC asks for its address by DHCP.
type NIC struct {
	MAC string
	MTU int64 // bytes; 0: unsaid
}

// Facts are what the guest is told.
type Facts struct {
	// InstanceID makes cloud-init run once: what it has seen already it does not do again.
	InstanceID string
	Hostname   string
	SSHKeys    []string
	// UserData is handed on byte for byte; empty: a #cloud-config of the host name.
	UserData []byte
	NICs     []NIC
}

// Files are the contents by name.
type Files map[string]string

// Label is the name that cloud-init looks for.
const Label = "cidata"

// Make decides the contents of the three files.
func Make(f Facts) (Files, error) {
	about := map[string]any{"instance-id": f.InstanceID, "local-hostname": f.Hostname}
	if len(f.SSHKeys) > 0 { // beside user data, which may be a script and cannot take them in
		about["public-keys"] = f.SSHKeys
	}
	meta, err := yaml.Marshal(about)
	if err != nil {
		return nil, fmt.Errorf("encode meta-data: %w", err)
	}
	network, err := networkConfig(f.NICs)
	if err != nil {
		return nil, fmt.Errorf("encode network-config: %w", err)
	}
	user := string(f.UserData)
	if user == "" {
		user = fmt.Sprintf("#cloud-config\nhostname: %q\n", f.Hostname)
	}
	return Files{"meta-data": string(meta), "user-data": user, "network-config": network}, nil
}

func networkConfig(nics []NIC) (string, error) {
	ethernets := map[string]any{}
	for i, n := range nics {
		nic := map[string]any{"match": map[string]any{"macaddress": strings.ToLower(n.MAC)}, "dhcp4": true}
		if n.MTU > 0 {
			nic["mtu"] = n.MTU
		}
		if len(nics) > 1 { // whichever lease comes last, the first NIC has the way out and the resolvers
			override := map[string]any{"route-metric": 100 * (i + 1)}
			if i > 0 {
				override["use-dns"] = false
			}
			nic["dhcp4-overrides"] = override
		}
		ethernets[fmt.Sprintf("nic%d", i)] = nic
	}
	out, err := yaml.Marshal(map[string]any{"version": 2, "ethernets": ethernets})
	return string(out), err
}

// Write makes the ISO at path. It is there whole or not at all.
func Write(path string, files Files) (err error) {
	w, err := iso9660.NewWriter()
	if err != nil {
		return fmt.Errorf("make a seed disk: %w", err)
	}
	defer func() { _ = w.Cleanup() }()
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		if err := w.AddFile(strings.NewReader(files[name]), name); err != nil {
			return fmt.Errorf("add %s to the seed disk: %w", name, err)
		}
	}
	var disk bytes.Buffer
	if err := w.WriteTo(&disk, Label); err != nil {
		return fmt.Errorf("write the seed disk: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".seed-*")
	if err != nil {
		return fmt.Errorf("write the seed disk: %w", err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	_, err = tmp.Write(disk.Bytes())
	if closeErr := tmp.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write the seed disk: %w", err)
	}
	return nil
}

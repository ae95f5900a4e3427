package qemu

import (
	"path/filepath"

	"github.com/virga-cloud/virga/engine/resource"
)

// SerialLog is the file that keeps what a guest's serial line said.
func (d *Driver) SerialLog(id resource.ID) string {
	return filepath.Join(d.cfg.RunDir, string(id), ownFolder, serialLog)
}

package etcd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/virga-cloud/virga/engine/durable"
	"github.com/virga-cloud/virga/engine/fault"
)

// Format is the number of the form in which this program keeps a state folder. It rises when an
// older program could no longer read what a newer one wrote. 2: kinds and fields have the field's own
// words, and records say beside them which hosts may see them. 3: values have a checksum.
// 4: what the platform decides is in the statuses. 5: devices have addresses.
// 6: a project is its id. 7: a volume is a chain of layers.
const Format = 7

// oldest is the lowest format that this program reads.
const oldest = 7

// checkFormat refuses a folder that a newer program wrote, and marks a new one.
func checkFormat(dir string) error {
	path := filepath.Join(dir, "format")
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		if err := durable.Write(path, []byte(fmt.Sprintln(Format)), 0o600); err != nil {
			return fault.New(fault.Internal, "mark the state folder: %w", err)
		}
		return nil
	}
	if err != nil {
		return fault.New(fault.Internal, "read the state folder's format: %w", err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(data)))
	switch {
	case err != nil:
		return fault.New(fault.Precondition, "the state folder %s has no readable format number in %s: %q; restore it from a backup", dir, path, data)
	case n > Format:
		return fault.New(fault.Precondition, "the state folder %s has format %d, written by a newer virga; this one reads up to %d: install the newer version", dir, n, Format)
	case n < oldest:
		return fault.New(fault.Precondition, "the state folder %s has format %d, written by an older virga; this one reads from %d on and has changed nothing: install the version that wrote it, or use another folder (--state)", dir, n, oldest)
	}
	return nil
}

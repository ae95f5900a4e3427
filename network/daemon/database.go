package daemon

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/virga-cloud/virga/engine/fault"
)

// EnsureDatabase creates an OVSDB file by its schema, or brings an older one to a newer schema.
// The server of the database must not run meanwhile.
func EnsureDatabase(ctx context.Context, file, schema string) error {
	if _, err := os.Stat(schema); err != nil {
		return fault.New(fault.Precondition, "create the database %s: %s is not installed", file, schema)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fault.New(fault.Unavailable, "create the folder of %s: %w", file, err)
	}
	if _, err := os.Stat(file); os.IsNotExist(err) {
		// The tool writes and locks beside; a half-made file never gets the name.
		fresh := file + ".new"
		_ = os.Remove(fresh)
		if _, err := tool(ctx, "create", fresh, schema); err != nil {
			return err
		}
		return os.Rename(fresh, file)
	}
	if said, err := tool(ctx, "needs-conversion", file, schema); err != nil || said != "yes" {
		return err
	}
	have, err := tool(ctx, "db-version", file)
	if err != nil {
		return err
	}
	want, err := tool(ctx, "schema-version", schema)
	if err != nil || !newer(want, have) {
		return err
	}
	_, err = tool(ctx, "convert", file, schema)
	return err
}

func tool(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "ovsdb-tool", args...).CombinedOutput()
	if err != nil {
		return "", fault.New(fault.Unavailable, "ovsdb-tool %s: %w: %s", strings.Join(args, " "), err, lastLine(string(out)))
	}
	return strings.TrimSpace(string(out)), nil
}

// newer compares versions of three numbers.
func newer(a, b string) bool {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(as), len(bs)) {
		if len(as[i]) != len(bs[i]) {
			return len(as[i]) > len(bs[i])
		}
		if as[i] != bs[i] {
			return as[i] > bs[i]
		}
	}
	return false
}

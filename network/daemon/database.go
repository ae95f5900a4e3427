package daemon

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/virga-cloud/virga/engine/fault"
)

// EnsureDatabase creates an OVSDB file by its schema, or brings an older one to a newer schema. One that
// cannot be read is put aside and made anew: what we keep in such databases is a copy of records, or
// of what is on this host, and is written again. The server of the database must not run meanwhile.
func EnsureDatabase(ctx context.Context, file, schema string) error {
	if _, err := os.Stat(schema); err != nil {
		return fault.New(fault.Precondition, "create the database %s: %s is not installed", file, schema)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fault.New(fault.Unavailable, "create the folder of %s: %w", file, err)
	}
	if _, err := os.Stat(file); os.IsNotExist(err) {
		return createDatabase(ctx, file, schema)
	}
	// What a schema of another name says is no damage: the tool tells its name.
	if _, err := tool(ctx, "db-name", file); err != nil && ctx.Err() == nil && !errors.Is(err, exec.ErrNotFound) {
		slog.Warn("a database is damaged; it is put aside, made anew, and filled again", "file", file, "error", err)
		if err := os.Rename(file, file+".damaged"); err != nil {
			return fault.New(fault.Unavailable, "put the damaged database %s aside: %w", file, err)
		}
		return createDatabase(ctx, file, schema)
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

// createDatabase makes an empty one. The tool writes and locks beside; a half-made file never gets the name.
func createDatabase(ctx context.Context, file, schema string) error {
	fresh := file + ".new"
	_ = os.Remove(fresh)
	if _, err := tool(ctx, "create", fresh, schema); err != nil {
		return err
	}
	return os.Rename(fresh, file)
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

package tool

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/virga-cloud/virga/engine/fault"
)

// Apt downloads packages of the distribution, without touching the host's own package state.
type Apt struct {
	// Folder is where lists and packages are kept.
	Folder string
	// Tell is given a line about what is being done; nil: nobody.
	Tell func(string)
}

// fallback is used where the host has no sources of its own.
const fallback = `deb http://deb.debian.org/debian bookworm main
deb http://deb.debian.org/debian bookworm-updates main
deb http://deb.debian.org/debian-security bookworm-security main
`

// Sources lists the deb lines for a release from the host's own configuration: Debian's main
// archives only. Without any, those of deb.debian.org.
func Sources(release string) []string {
	mirror, security := mirrors("/etc/apt")
	return []string{
		"deb " + mirror + " " + release + " main",
		"deb " + mirror + " " + release + "-updates main",
		"deb " + security + " " + release + "-security main",
	}
}

// mirrors finds the archive's addresses in one-line and deb822 files.
func mirrors(etc string) (mirror, security string) {
	mirror, security = "http://deb.debian.org/debian", "http://deb.debian.org/debian-security"
	var files []string
	for _, pattern := range []string{"sources.list", "sources.list.d/*.list", "sources.list.d/*.sources"} {
		found, _ := filepath.Glob(filepath.Join(etc, pattern))
		files = append(files, found...)
	}
	for _, file := range files {
		data, _ := os.ReadFile(file)
		for line := range strings.Lines(string(data)) {
			if strings.HasPrefix(strings.TrimSpace(line), "#") {
				continue
			}
			for _, word := range strings.Fields(line) {
				if !strings.HasPrefix(word, "http") {
					continue
				}
				switch trimmed := strings.TrimRight(word, "/"); {
				case strings.HasSuffix(trimmed, "/debian"):
					mirror = trimmed
				case strings.HasSuffix(trimmed, "/debian-security"):
					security = trimmed
				}
			}
		}
	}
	return mirror, security
}

// Package gives the file of a package, following one level of dependency when a name ends in
// "*": "linux-image-cloud-amd64*" is the newest kernel image that the metapackage depends on.
// What was downloaded before is used again.
func (a Apt) Package(ctx context.Context, name string) (string, error) {
	meta, follow := strings.CutSuffix(name, "*")
	folder := filepath.Join(a.Folder, "packages", meta)
	if found, _ := filepath.Glob(filepath.Join(folder, "*.deb")); len(found) > 0 {
		return found[len(found)-1], nil
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", fault.New(fault.Internal, "make the package cache: %w", err)
	}
	options, err := a.lists(ctx, meta)
	if err != nil {
		return "", err
	}
	real := meta
	if follow {
		if real, err = depends(ctx, options, meta); err != nil {
			return "", err
		}
	}
	a.tell("download package " + real)
	staging, err := os.MkdirTemp(a.Folder, "download-")
	if err != nil {
		return "", fault.New(fault.Internal, "make a folder to download into: %w", err)
	}
	defer os.RemoveAll(staging)
	fetch := Command{Name: "apt-get", Args: append(append(impatience(), options...), "download", real), Dir: staging, Line: a.Tell}
	if err := fetch.Fetch(ctx); err != nil {
		return "", fault.Wrap(err, "download package %s", real)
	}
	found, _ := filepath.Glob(filepath.Join(staging, "*.deb"))
	if len(found) != 1 {
		return "", fault.New(fault.Unavailable, "download package %s: apt-get left %d files", real, len(found))
	}
	file := filepath.Join(folder, filepath.Base(found[0]))
	if err := os.Rename(found[0], file); err != nil {
		return "", fault.New(fault.Internal, "keep package %s: %w", real, err)
	}
	return file, nil
}

// lists gives the options under which apt knows the package: the host's own lists, else lists
// of ours that are fetched now.
func (a Apt) lists(ctx context.Context, name string) ([]string, error) {
	plain := []string{"-o", "APT::Sandbox::User=root", "-q"}
	if out, err := Run(ctx, "apt-cache", append(plain, "show", name)...); err == nil && strings.Contains(out, "Package: ") {
		return plain, nil
	}
	lists := filepath.Join(a.Folder, "lists")
	if err := os.MkdirAll(filepath.Join(lists, "partial"), 0o755); err != nil {
		return nil, fault.New(fault.Internal, "make a folder for package lists: %w", err)
	}
	sources := filepath.Join(a.Folder, "sources.list")
	text := fallback
	if release := codename(); release != "" {
		text = strings.Join(Sources(release), "\n") + "\n"
	}
	if err := os.WriteFile(sources, []byte(text), 0o644); err != nil {
		return nil, fault.New(fault.Internal, "write package sources: %w", err)
	}
	own := append(plain, "-o", "Dir::State::Lists="+lists, "-o", "Dir::Etc::SourceList="+sources,
		"-o", "Dir::Etc::SourceParts=-", "-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache=")
	a.tell("fetch package lists")
	// without the error mode, lists that could not be fetched are only warned of
	fetch := Command{Name: "apt-get", Args: append(append(impatience(), own...), "-o", "APT::Update::Error-Mode=any", "update"), Line: a.Tell}
	if err := fetch.Fetch(ctx); err != nil {
		return nil, fault.Wrap(err, "fetch package lists")
	}
	return own, nil
}

func (a Apt) tell(text string) {
	if a.Tell != nil {
		a.Tell(text)
	}
}

func depends(ctx context.Context, options []string, meta string) (string, error) {
	out, err := Run(ctx, "apt-cache", append(options, "depends", meta)...)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(out) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "Depends: "); ok && !strings.HasPrefix(name, "<") {
			return name, nil
		}
	}
	return "", fault.New(fault.Unavailable, "find what package %s stands for: it depends on nothing", meta)
}

// codename is the release of the host, if it is Debian.
func codename() string {
	data, _ := os.ReadFile("/etc/os-release")
	text := string(data)
	if !strings.Contains(text, "\nID=debian") {
		return ""
	}
	_, after, _ := strings.Cut(text, "VERSION_CODENAME=")
	return strings.TrimSpace(strings.SplitN(after, "\n", 2)[0])
}

package cli

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"
)

// local is the name of what needs no context: the server on this host.
const local = "local"

// serverContext is a server that somebody has logged in to.
type serverContext struct {
	Name    string `json:"name"`
	Server  string `json:"server"`
	Token   string `json:"token"`
	CA      string `json:"ca,omitempty"` // the certificate itself: the file may go
	Project string `json:"project,omitempty"`
}

// contexts is the file that keeps them.
type contexts struct {
	Current  string          `json:"current,omitempty"`
	Contexts []serverContext `json:"contexts"`
}

func (c *contexts) find(name string) *serverContext {
	if i := slices.IndexFunc(c.Contexts, func(x serverContext) bool { return x.Name == name }); i >= 0 {
		return &c.Contexts[i]
	}
	return nil
}

// put adds a context, or replaces the one of its name.
func (c *contexts) put(x serverContext) {
	if there := c.find(x.Name); there != nil {
		*there = x
		return
	}
	c.Contexts = append(c.Contexts, x)
	slices.SortFunc(c.Contexts, func(a, b serverContext) int { return cmp.Compare(a.Name, b.Name) })
}

func contextFile() (string, error) {
	folder, err := os.UserConfigDir()
	if err != nil {
		return "", refuse("contexts are kept in a folder of yours, and there is none: %v; set $HOME", err)
	}
	return filepath.Join(folder, "virga", "contexts.yaml"), nil
}

// readContexts reads the file; there need not be one.
func readContexts() (*contexts, error) {
	c := &contexts{}
	file, err := contextFile()
	if err != nil {
		return c, nil // a daemon without a home has no contexts
	}
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) && os.Getenv("HOME") == "" {
		return c, nil
	}
	if err == nil {
		err = yaml.UnmarshalStrict(data, c)
	}
	if err != nil {
		return nil, refuse("read the contexts in %s: %v; mend it, or delete it and `virga login` again", file, err)
	}
	return c, nil
}

// write keeps the file for its owner alone: there are secrets in it.
func (c *contexts) write() error {
	file, err := contextFile()
	if err != nil {
		return err
	}
	data, err := yaml.Marshal(c)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(file), 0o700)
	}
	var next *os.File
	if err == nil {
		next, err = os.CreateTemp(filepath.Dir(file), "contexts-*") // only its owner may read it
	}
	if err == nil {
		defer os.Remove(next.Name())
		_, err = next.Write(data)
		err = errors.Join(err, next.Sync(), next.Close())
	}
	if err == nil {
		err = os.Rename(next.Name(), file)
	}
	if err != nil {
		return fail("internal", "keep the contexts in %s: %v", file, err)
	}
	return nil
}

// settleFor takes the server of the context for commands that ask one.
func (s *session) settleFor(cmd *cobra.Command) error {
	for ; cmd.HasParent(); cmd = cmd.Parent() {
		if cmd.GroupID == RunGroup || cmd.GroupID == groupHelp {
			return nil
		}
	}
	return s.settle()
}

// settle takes the server, its authority, the token and the project of the context for what neither a flag
// nor the environment says. A server that was named has nothing of a context: its token is another's.
func (s *session) settle() error {
	if s.settled || s.root == nil {
		return nil
	}
	s.settled = true
	flag := func(name string) bool { return s.root.PersistentFlags().Changed(name) }
	said := func(name string) bool { return flag(name) || os.Getenv("VIRGA_"+strings.ToUpper(name)) != "" }
	switch {
	case flag("context") && (flag("server") || flag("run")):
		return refuse("--context names a server, and so does --server or --run; say one of them")
	case !flag("context") && (said("server") || said("run")):
		return nil
	}
	c, err := readContexts()
	if err != nil {
		return err
	}
	name := cmp.Or(s.context, c.Current, local)
	if name == local {
		if flag("context") {
			s.server = ""
		}
		return nil
	}
	x := c.find(name)
	if x == nil {
		return refuse("there is no context %q; `virga context list` shows them, `virga login` makes one", name)
	}
	s.server, s.authority = x.Server, x.CA
	if !said("token") {
		s.token = x.Token
	}
	if !said("project") && x.Project != "" {
		s.project = x.Project
	}
	return nil
}

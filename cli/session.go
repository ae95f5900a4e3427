package cli

import (
	"context"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/virga-cloud/virga/client"
)

// settings are the flags that every command has.
type settings struct {
	server, token, ca, run, project, context string
}

// session is one run of the program.
type session struct {
	settings
	now       func() time.Time
	root      *cobra.Command
	authority string // the certificate of the cloud's authority, of a context
	settled   bool
	conn      *client.Connection
	known     map[string]map[string]string // names by kind and id
	lists     map[string]listed            // by kind and project
	usage     map[string]*record           // of projects, by name
}

func (s *session) addFlags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.StringVar(&s.server, "server", "", "the server, host or host:port (default: that of the context, or the one on this host; $VIRGA_SERVER)")
	f.StringVar(&s.token, "token", "", "the secret of a token; better kept in $VIRGA_TOKEN")
	f.StringVar(&s.ca, "ca", "", "file with the certificate of the cloud's authority ($VIRGA_CA)")
	f.StringVar(&s.run, "run", "/run/virga", "run folder of the server on this host ($VIRGA_RUN)")
	f.StringVarP(&s.project, "project", "p", "default", "the project, by name or id ($VIRGA_PROJECT)")
	f.StringVar(&s.context, "context", "", "which of the servers of \"virga context list\" ($VIRGA_CONTEXT)")
	// Not as defaults of the flags: help must not show a secret, and be the same everywhere.
	for name, value := range map[string]*string{"VIRGA_SERVER": &s.server, "VIRGA_TOKEN": &s.token, "VIRGA_CA": &s.ca, "VIRGA_RUN": &s.run, "VIRGA_PROJECT": &s.project, "VIRGA_CONTEXT": &s.context} {
		if v := os.Getenv(name); v != "" {
			*value = v
		}
	}
}

// path is where a kind's records are, or one of them, or an action of it.
func (s *session) path(n *noun, project string, more ...string) string {
	return n.api.Path(project, more...)
}

// get reads one record by name or id.
func (s *session) get(ctx context.Context, n *noun, project, name string) (*record, error) {
	c, err := s.connection()
	if err != nil {
		return nil, err
	}
	r, err := n.api.Get(ctx, c, project, n.spelled(name))
	return r, s.absent(err)
}

// list reads all records; of every project if project is empty.
func (s *session) list(ctx context.Context, n *noun, project string, labels ...string) ([]*record, error) {
	c, err := s.connection()
	if err != nil {
		return nil, err
	}
	all, err := n.api.List(ctx, c, project, client.ListOptions{Labels: labels})
	return all, s.absent(err)
}

// nameOf says an id in words. Who may not see the kind sees the end of the id.
func (s *session) nameOf(ctx context.Context, kind, project, id string) string {
	if id == "" {
		return ""
	}
	n := nounOf(kind)
	key := kind + "/" + project
	if n == nil {
		return short(id)
	}
	if s.known == nil {
		s.known = map[string]map[string]string{}
	}
	if s.known[key] == nil {
		s.known[key] = map[string]string{}
		records, _ := s.list(ctx, n, project)
		for _, r := range records {
			s.known[key][r.ID] = r.Name
		}
	}
	if name := s.known[key][id]; name != "" {
		return name
	}
	return short(id)
}

// short is the end of an id, which tells two apart that were made at the same time.
func short(id string) string {
	if len(id) <= 12 {
		return id
	}
	return "…" + id[len(id)-8:]
}

// watched reports whether a person looks at what a command says on standard error.
func watched(cmd *cobra.Command) bool {
	f, ok := cmd.ErrOrStderr().(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// remembered lists all records of a kind in the cloud, once.
func (s *session) remembered(ctx context.Context, kind string) ([]*record, error) {
	return s.listOnce(ctx, kind, "")
}

// listOnce lists the records of a kind in a project, and only once.
func (s *session) listOnce(ctx context.Context, kind, project string) ([]*record, error) {
	key := kind + "/" + project
	if got, ok := s.lists[key]; ok {
		return got.records, got.err
	}
	if s.lists == nil {
		s.lists = map[string]listed{}
	}
	var got listed
	got.records, got.err = s.list(ctx, nounOf(kind), project)
	s.lists[key] = got
	return got.records, got.err
}

type listed struct {
	records []*record
	err     error
}

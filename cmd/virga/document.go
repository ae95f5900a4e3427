package main

import (
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/virga-cloud/virga/cli"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
	"github.com/virga-cloud/virga/wiring"
)

// documentCommand writes what is generated and checked in: the OpenAPI document, the reference
// of the command line, and the client's list of kinds.
func documentCommand() *cobra.Command {
	return &cobra.Command{
		Use: "document FOLDER", Short: "Write the OpenAPI document and the command reference", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			for name, write := range map[string]func(*os.File) error{
				"openapi.yaml": func(f *os.File) error { return httpapi.WriteOpenAPI(documented(), f) },
				"actions.md":   func(f *os.File) error { return httpapi.WriteActions(documented(), f) },
				"cli.md":       func(f *os.File) error { return cli.Document(cmd.Root(), f) },
				filepath.Join("..", "..", "client", "kinds.gen.go"): func(f *os.File) error { return httpapi.WriteKinds(documented(), f) },
			} {
				f, err := os.Create(filepath.Join(args[0], name))
				if err != nil {
					return fault.New(fault.Invalid, "write the documents: %w", err)
				}
				if err := write(f); err != nil {
					f.Close()
					return err
				}
				if err := f.Close(); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// documented is the API of a server that has no state: its routes alone.
func documented() *httpapi.API {
	empty, err := os.MkdirTemp("", "virga-document-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(empty)
	s, err := wired(empty)
	if err != nil {
		panic(err)
	}
	return s.api
}

// wired is a server with all its parts, of which none runs.
func wired(folder string) (*server, error) {
	s := &server{c: &config{state: folder, run: folder}}
	s.db = store.NewDB(memory.New(), wiring.Catalog())
	s.led = s.db
	return s, s.wire(store.NewRegistry())
}

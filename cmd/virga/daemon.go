package main

import (
	"context"
	"crypto"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/identity/ca"
	"github.com/virga-cloud/virga/wiring"
)

func daemonCommand() *cobra.Command {
	var f folders
	cmd := &cobra.Command{
		Use: "daemon", Short: "Run the daemon in the foreground; virga up starts it in the background", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.resolve(cmd); err != nil {
				return err
			}
			return daemon(cmd.Context(), &f)
		},
	}
	f.flags(cmd)
	return cmd
}

// daemon runs the roles of this host until it is told to end.
func daemon(ctx context.Context, f *folders) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: logLevel()})))
	c, found, err := loadConfig(f.state, f.run)
	if err != nil {
		return err
	}
	if !found {
		return fault.New(fault.Precondition, "there is no cloud in %s yet; begin one by virga up, or join one by virga join", f.state)
	}
	for _, dir := range []string{c.run, filepath.Join(c.state, wiring.LocalFolder)} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return fault.New(fault.Internal, "make %s: %w", dir, err)
		}
	}
	unlock, err := lockFolder(c.state)
	if err != nil {
		return err
	}
	defer unlock()
	if err := c.writePID(); err != nil {
		return err
	}
	return serve(ctx, c)
}

// serve starts the roles and waits for their end.
func serve(ctx context.Context, c *config) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	registry := store.NewRegistry()
	var issue ca.Issue
	started := func() error { return answerReady(ctx, c) }
	if c.Server == "yes" {
		s, err := startServer(ctx, c, registry)
		if err != nil {
			cancel(err)
			return err
		}
		defer s.close()
		defer cancel(nil)
		started = func() error { s.ready.Store(true); return nil }
		issue = func(_ context.Context, key crypto.Signer) ([]byte, error) {
			return s.authority.IssueHost(key.Public(), c.HostID)
		}
		go func() {
			select {
			case err := <-s.store.Err():
				cancel(err)
			case <-ctx.Done():
			}
		}()
	}
	a, err := startAgent(ctx, c, registry, issue)
	if err != nil {
		cancel(err)
		return err
	}
	defer a.close()
	err = c.sayWorked()
	if err == nil {
		err = started()
	}
	if err != nil {
		cancel(err)
		return err
	}
	telling, told := context.WithCancel(ctx)
	var talk sync.WaitGroup
	talk.Go(func() { c.tellSystemd(telling) })
	defer talk.Wait()
	defer told()
	slog.Info("virga is ready", "host", c.Name, "id", c.HostID, "version", version)
	select {
	case <-ctx.Done():
		slog.Info("virga ends", "why", context.Cause(ctx))
		return nil
	case over := <-a.over:
		return a.retire(ctx, cancel, over)
	}
}

// answerReady tells on the socket of a host without a server that its agent works.
func answerReady(ctx context.Context, c *config) error {
	l, err := listenUnix(c.socket())
	if err != nil {
		return err
	}
	server := httpapi.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/ready" {
			httpapi.Fail(w, r, fault.New(fault.Precondition, "this host has no server; ask %s: virga --server https://%s, with --ca and a token", strings.Join(c.Servers, " or "), c.Servers[0]))
		}
	}))
	go func() { _ = server.Serve(l) }()
	context.AfterFunc(ctx, func() { server.Close() })
	return nil
}

func logLevel() slog.Level {
	var level slog.Level
	if err := level.UnmarshalText([]byte(os.Getenv("VIRGA_LOG"))); err != nil {
		return slog.LevelInfo
	}
	return level
}

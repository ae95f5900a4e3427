package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"
	"github.com/spf13/cobra"

	"github.com/virga-cloud/virga/client"
)

// insideCommands are what is done inside a guest: by its agent, or by ssh.
func (s *session) insideCommands(n *noun) []*cobra.Command {
	return []*cobra.Command{s.vmExec(n), s.vmCopy(n), s.vmSSH(n), s.vmTunnel(n)}
}

// exitStatus is how a program ended that ran in a guest, or for us; the command ends in the same way.
type exitStatus int

func (e exitStatus) Error() string { return "exit status " + strconv.Itoa(int(e)) }

func (s *session) vmExec(n *noun) *cobra.Command {
	var env []string
	var stdin bool
	var limit time.Duration
	c := &cobra.Command{Use: "exec NAME -- COMMAND [ARGUMENT...]", Short: "Run a command in a guest, by its agent", Args: atLeast("NAME"), ValidArgsFunction: s.completeNames(n, 1),
		Long: "Run a command in the guest of a VM, by the QEMU guest agent in it (package qemu-guest-agent), as the agent's\n" +
			"user, which is root. What it writes is shown when it has ended, and its exit code is that of this command.\n" +
			"No shell reads the command; name one for that: sh -c '…'.",
		Example: "  virga vm exec db -- uptime\n  virga vm exec db -- sh -c 'df -h | tail -3'\n  echo SELECT 1 | virga vm exec db --stdin -- psql"}
	c.Flags().StringArrayVar(&env, "env", nil, "NAME=value in its environment; may be repeated")
	c.Flags().BoolVarP(&stdin, "stdin", "i", false, "hand it what this command is given, at most 48 KiB")
	c.Flags().DurationVar(&limit, "timeout", time.Minute, "how long it is waited for, at most 10m")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) < 2 {
			return refuse("%s: which command? write it after --, for example -- uptime", called(cmd))
		}
		in := client.ExecRequest{Command: args[1:], Env: env, TimeoutSeconds: int64(limit / time.Second)}
		if stdin {
			data, err := io.ReadAll(cmd.InOrStdin())
			if err != nil {
				return refuse("--stdin: %v", err)
			}
			in.Stdin = data
		}
		out := client.ExecResult{}
		if err := s.do(cmd.Context(), client.Call{Method: "POST", Path: s.path(n, s.project, args[0], "exec"), In: in, Out: &out}); err != nil {
			return err
		}
		if _, err := logOut(cmd).Write(out.Stdout); err != nil {
			return err
		}
		fmt.Fprint(cmd.ErrOrStderr(), string(out.Stderr))
		if out.Truncated {
			fmt.Fprintf(cmd.ErrOrStderr(), "virga: the command wrote more than the guest's agent keeps; let it write a file, and fetch that by `virga vm cp`\n")
		}
		switch {
		case out.Signal != 0:
			return exitStatus(128 + out.Signal)
		case out.ExitCode != 0:
			return exitStatus(out.ExitCode)
		}
		return nil
	}
	return c
}

// place is a file here, or in a guest.
type place struct{ vm, path string }

func placeOf(text string) place {
	if vm, file, there := strings.Cut(text, ":"); there && vm != "" && !strings.ContainsAny(vm, "/.") {
		return place{vm, file}
	}
	return place{path: text}
}

func (s *session) vmCopy(n *noun) *cobra.Command {
	c := &cobra.Command{Use: "cp FROM TO", Short: "Copy a file to a guest or from it, by its agent", Args: exactly("FROM", "TO"),
		Long: "Copy a file to the guest of a VM or from it, by the QEMU guest agent in it, of at most 256 MiB. A place in a guest\n" +
			"is NAME:PATH; - is standard input or output. What is there under the name is written over.",
		Example: "  virga vm cp web.conf db:/etc/web.conf\n  virga vm cp db:/var/log/syslog .\n  virga vm cp db:/etc/hostname -"}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		from, to := placeOf(args[0]), placeOf(args[1])
		switch {
		case (from.vm == "") == (to.vm == ""):
			return refuse("%s: one of the two must be in a guest, written NAME:PATH, and the other here", called(cmd))
		case from.vm != "":
			return s.fetch(cmd, n, from, to.path)
		}
		return s.send(cmd, n, from.path, to)
	}
	return c
}

func (s *session) guestFile(n *noun, p place) client.Call {
	return client.Call{Path: s.path(n, s.project, p.vm, "file"), Query: url.Values{"path": {p.path}}}
}

// fetch saves a file of a guest. A copy that breaks off leaves nothing.
func (s *session) fetch(cmd *cobra.Command, n *noun, from place, to string) error {
	ask := s.guestFile(n, from)
	ask.Method = "GET"
	if to == "-" {
		ask.Out = logOut(cmd)
		return s.do(cmd.Context(), ask)
	}
	if info, err := os.Stat(to); err == nil && info.IsDir() {
		to = filepath.Join(to, path.Base(from.path))
	}
	f, err := os.CreateTemp(filepath.Dir(to), ".virga-cp-*")
	if err != nil {
		return refuse("save the file: %v", err)
	}
	defer os.Remove(f.Name())
	ask.Out = io.Writer(f)
	err = s.do(cmd.Context(), ask)
	if closed := f.Close(); err == nil && closed != nil {
		err = fail("internal", "save the file: %v", closed)
	}
	if err == nil {
		_ = os.Chmod(f.Name(), 0o644)
		if moved := os.Rename(f.Name(), to); moved != nil {
			err = refuse("save the file: %v", moved)
		}
	}
	return err
}

// send writes a file into a guest.
func (s *session) send(cmd *cobra.Command, n *noun, from string, to place) error {
	if strings.HasSuffix(to.path, "/") && from != "-" {
		to.path += filepath.Base(from)
	}
	ask := s.guestFile(n, to)
	ask.Method = "PUT"
	if from == "-" {
		data, err := io.ReadAll(cmd.InOrStdin())
		if err != nil {
			return refuse("read the input: %v", err)
		}
		ask.Body, ask.Length = strings.NewReader(string(data)), int64(len(data))
		return s.do(cmd.Context(), ask)
	}
	f, err := os.Open(from)
	if err != nil {
		return refuse("%v", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return refuse("%s is no file; a folder is copied as an archive: tar c %s | virga vm exec -i …, or by vm ssh", from, from)
	}
	ask.Body, ask.Length = f, info.Size()
	return s.do(cmd.Context(), ask)
}

func (s *session) vmSSH(n *noun) *cobra.Command {
	var user, identity string
	c := &cobra.Command{Use: "ssh NAME [-- COMMAND...]", Short: "Log in to a guest by ssh", Args: atLeast("NAME"), ValidArgsFunction: s.completeNames(n, 1),
		Long: "Run this computer's ssh to the guest of a VM, through the cloud: the VM needs no address that is reached from\nhere. " +
			"A key that it lets in was given when the VM was created (--ssh-key). The guest's own key is known by the VM's\nid, so that another VM at its address is not taken for it.",
		Example: "  virga vm ssh db\n  virga vm ssh db --user root -i ~/.ssh/id_ed25519 -- uptime"}
	c.Flags().StringVarP(&user, "user", "u", "", "who logs in (default: as ssh chooses)")
	c.Flags().StringVarP(&identity, "identity", "i", "", "file of the private key (default: those that ssh offers)")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		vm, err := s.get(cmd.Context(), n, s.project, args[0])
		if err != nil {
			return err
		}
		if vm.state() != "running" {
			return fail("precondition", "vm %s is %s; `virga vm start %s` starts it", vm.Name, vm.state(), vm.Name)
		}
		ssh, err := exec.LookPath("ssh")
		if err != nil {
			return fail("precondition", "there is no ssh here; install the package openssh-client")
		}
		self, err := os.Executable()
		if err != nil {
			return fail("internal", "find this program: %v", err)
		}
		way := quoted(append(append([]string{self}, s.again(cmd)...), "vm", "tunnel", vm.ID, "22")...)
		do := []string{"-o", "ProxyCommand=" + strings.ReplaceAll(way, "%", "%%"), "-o", "HostKeyAlias=" + vm.ID}
		if user != "" {
			do = append(do, "-l", user)
		}
		if identity != "" {
			do = append(do, "-i", identity, "-o", "IdentitiesOnly=yes")
		}
		do = append(append(do, "--", cmp.Or(vm.Name, vm.ID)), args[1:]...)
		run := exec.CommandContext(cmd.Context(), ssh, do...)
		run.Stdin, run.Stdout, run.Stderr = os.Stdin, os.Stdout, os.Stderr
		if f := cmd.Flags().Lookup("token"); f != nil && f.Changed {
			run.Env = append(os.Environ(), "VIRGA_TOKEN="+f.Value.String()) // the command line is for everybody to see
		}
		err = run.Run()
		if ended, ok := errors.AsType[*exec.ExitError](err); ok {
			return exitStatus(ended.ExitCode())
		}
		if err != nil {
			return fail("internal", "run ssh: %v", err)
		}
		return nil
	}
	return c
}

// again are the flags by which another run of this program reaches the same cloud and project.
func (s *session) again(cmd *cobra.Command) []string {
	out := []string{"--project", s.project}
	for _, name := range []string{"server", "ca", "context"} {
		if f := cmd.Flags().Lookup(name); f != nil && f.Changed {
			out = append(out, "--"+name, f.Value.String())
		}
	}
	return out
}

// quoted writes words so that a shell reads them as they are.
func quoted(words ...string) string {
	for i, word := range words {
		words[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
	}
	return strings.Join(words, " ")
}

func (s *session) vmTunnel(n *noun) *cobra.Command {
	c := &cobra.Command{Use: "tunnel NAME PORT", Short: "Carry standard input and output to a TCP port of a VM", Args: exactly("NAME", "PORT"), ValidArgsFunction: s.completeNames(n, 1),
		Long:    "Carry standard input and output to a TCP port of a VM, through the cloud. It is made for other programs, as the\nProxyCommand of ssh.",
		Example: "  ssh -o ProxyCommand='virga vm tunnel db 22' root@db\n  printf 'GET / HTTP/1.0\\r\\n\\r\\n' | virga vm tunnel web 80"}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if port, err := strconv.ParseUint(args[1], 10, 16); err != nil || port == 0 {
			return refuse("%s: %q is no port; a number from 1 to 65535 is wanted", called(cmd), args[1])
		}
		conn, err := s.connection()
		if err != nil {
			return err
		}
		ws, err := conn.Dial(cmd.Context(), s.path(n, s.project, args[0], "tcp")+"?port="+args[1], "binary")
		if err != nil {
			return s.absent(err)
		}
		defer ws.CloseNow()
		far := websocket.NetConn(cmd.Context(), ws, websocket.MessageBinary)
		go func() { _, _ = io.Copy(far, cmd.InOrStdin()) }() // ends with this program: nothing interrupts a read
		if _, err := io.Copy(bytesOut(cmd), far); err != nil && cmd.Context().Err() == nil {
			return fail("unavailable", "the connection broke off: %v", err)
		}
		return nil
	}
	return c
}

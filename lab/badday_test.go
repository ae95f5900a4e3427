package lab

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// refuses runs a command that must fail with an exit code and words that help.
func (h *Host) refuses(exit int, words []string, args ...string) {
	h.cloud.t.Helper()
	_, err := h.Virga(args...)
	var ended *exec.ExitError
	if !errors.As(err, &ended) || ended.ExitCode() != exit {
		h.cloud.t.Errorf("virga %s: %v, want exit code %d", strings.Join(args, " "), err, exit)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			h.cloud.t.Errorf("virga %s says %q, without %q", strings.Join(args, " "), err, w)
		}
	}
}

// raw sends a request to the socket, as a program without our client would.
func (h *Host) raw(method, path, body string) (int, string, error) {
	client := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(h.Run, "api.sock"))
		}}}
	request, err := http.NewRequest(method, "http://virga"+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text), nil
}

func TestBadInputIsRefusedWithWhatToDo(t *testing.T) {
	c := New(t, 1)
	c.Start()
	h := c.Hosts[0]
	h.ImportTiny()
	h.Must("vm", "create", "web", "--image", "tiny", "--memory", "128MiB", "--stopped")
	// A host that has not said yet what its QEMU can is no reason to refuse: a VM waits for it.
	h.Eventually(time.Minute, "the host says what its QEMU can", func() bool { return strings.Contains(h.Must("host", "show", "h1", "-o", "json"), `"machineType"`) })

	h.refuses(6, []string{"is there already", "pick another name"}, "vm", "create", "web", "--image", "tiny", "--memory", "128MiB")
	h.refuses(9, []string{"not enough memory", "needs 921600 MiB", "add a host"}, "vm", "create", "big", "--image", "tiny", "--memory", "900GiB")
	h.refuses(2, []string{"--memory", "parsecs", "write MiB, GiB or TiB"}, "vm", "create", "x", "--image", "tiny", "--memory", "12parsecs")
	h.refuses(2, []string{"12 MiB is not between 64"}, "vm", "create", "x", "--image", "tiny", "--memory", "12MiB")
	h.refuses(5, []string{`no image "nothing"`, "virga image list"}, "vm", "create", "x", "--image", "nothing")

	h.Must("project", "create", "small", "--quota-disk", "1GiB", "--quota-cpus", "1")
	h.Must("vm", "create", "one", "--project", "small", "--cpus", "1", "--memory", "128MiB", "--disk", "512MiB", "--stopped")
	h.refuses(9, []string{"512 MiB of disk are used, 2048 more are wanted, the quota is 1024"}, "volume", "create", "data", "--project", "small", "--size", "2GiB")
	h.refuses(9, []string{"1 virtual CPUs are used, 1 more are wanted, the quota is 1"}, "vm", "resize", "one", "--project", "small", "--cpus", "2")
	h.Must("vm", "delete", "one", "--project", "small", "--wait")
	h.Must("project", "delete", "small", "--wait")

	status, text, err := h.raw("POST", "/v1/projects/default/vms", `{"name": "x", "spec": {"imageID": "tiny", "memoryMB": 128}}`)
	if err != nil || status != 422 && status != 400 || !strings.Contains(text, "memoryMB") {
		t.Errorf("an unknown field gives %d %s, %v", status, text, err)
	}
	t.Log(text)
	if out := h.Must("vm", "list", "-o", "name"); strings.TrimSpace(out) != "web" {
		t.Errorf("what was refused is there: %s", out)
	}

	// This host's processor may have a KVM that is there and does not work.
	if _, err := os.Stat("/dev/kvm"); err == nil {
		if out := h.Must("host", "show", "h1"); !strings.Contains(out, "tcg") {
			t.Log("KVM works here")
		} else if !strings.Contains(out, "/dev/kvm") {
			t.Errorf("host show does not say why it is not kvm:\n%s", out)
		}
	}

	if out := h.Must("up", "--state", h.State); !strings.Contains(out, "Virga runs already on host h1") {
		t.Errorf("a second up says %q", out)
	}
	h.refuses(8, []string{"another daemon works on " + h.State, "virga down"}, "daemon", "--state", h.State)
}

func TestADaemonThatCannotStartSaysWhyAndLeavesNothingRunning(t *testing.T) {
	c := New(t, 1)
	h := c.Hosts[0]
	up := []string{"up", "--state", h.State, "--name", h.Name, "--address", h.Address, "--listen", h.Address + ":7443", "--uplink", "ul0"}
	nothing := func(after string) {
		t.Helper()
		if pid := h.PID(); pid > 1 && syscall.Kill(pid, 0) == nil {
			t.Errorf("after %s process %d runs on", after, pid)
		}
	}
	for port, words := range map[string][]string{
		"7443": {"listen on " + h.Address + ":7443", "in use", "--listen"}, "7444": {"the agent listens on " + h.Address + ":7444", "in use", "--agent-port"},
	} {
		squatter := h.squat(port)
		begun := time.Now()
		h.refuses(8, words, up...)
		if took := time.Since(begun); took > 30*time.Second {
			t.Errorf("with port %s taken, up took %v to say so", port, took)
		}
		nothing("port " + port + " was taken")
		squatter()
	}
	h.Must(up...)
	h.Must("down", "--state", h.State)

	format := filepath.Join(h.State, "store", "format")
	current, err := os.ReadFile(format)
	if err != nil {
		t.Fatal(err)
	}
	mark(t, format, "999\n")
	h.refuses(8, []string{"format 999", "newer virga", "install the newer version"}, up...)
	nothing("a newer state folder")
	mark(t, format, string(current))

	config := filepath.Join(h.State, "config.json")
	whole, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	mark(t, config, string(whole[:len(whole)/2]))
	h.refuses(8, []string{config, "repair it"}, up...)
	mark(t, config, string(whole))
	h.Must(up...)
}

func mark(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// squat listens on a port of the host until the returned function is called.
func (h *Host) squat(port string) (leave func()) {
	t := h.cloud.t
	t.Helper()
	cmd := h.Command(context.Background(), "busybox", "nc", "-l", "-p", port)
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	gone := false
	leave = func() {
		if !gone {
			gone = true
			_ = cmd.Process.Kill()
			in.Close()
			_ = cmd.Wait()
		}
	}
	t.Cleanup(leave)
	h.Eventually(5*time.Second, "port "+port+" is taken", func() bool {
		out, _ := h.Exec("ss", "-ltn")
		return strings.Contains(out, ":"+port)
	})
	return leave
}

func TestAVMWaitsForQEMUAndStartsWhenItIsThere(t *testing.T) {
	c := New(t, 1)
	h := c.Hosts[0]
	real, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		t.Skip("there is no QEMU")
	}
	qemu := filepath.Join(c.dir, "qemu")
	h.Must("up", "--state", h.State, "--name", h.Name, "--address", h.Address, "--listen", h.Address+":7443", "--uplink", "ul0", "--qemu", qemu)
	h.Eventually(30*time.Second, "the host says what is missing", func() bool {
		out, _ := h.Virga("host", "show", "h1")
		return strings.Contains(out, qemu+" is not on this host; install QEMU 7.2 or newer")
	})
	h.ImportTiny()
	h.refuses(10, []string{"is not on this host", "install QEMU"}, "vm", "create", "web", "--image", "tiny", "--memory", "128MiB", "--wait", "--timeout", "8s")

	mark(t, qemu, "#!/bin/sh\necho QEMU emulator version 5.2.0\n")
	if err := os.Chmod(qemu, 0o755); err != nil {
		t.Fatal(err)
	}
	h.Eventually(45*time.Second, "explain says that QEMU is too old", func() bool {
		out, _ := h.Virga("explain", "vm", "web")
		return strings.Contains(out, "version 5.2") && strings.Contains(out, "install QEMU 7.2 or newer")
	})
	mark(t, qemu, "#!/bin/sh\nexec "+real+" \"$@\"\n")
	h.Eventually(90*time.Second, "the VM starts by itself", func() bool {
		out, _ := h.Virga("vm", "show", "web", "-o", "json")
		return strings.Contains(out, `"phase": "running"`)
	})
}

// phase reads the phase of a VM; empty while the API does not answer or it is not there.
func (h *Host) phase(vm string) string {
	var r struct{ Status struct{ Phase string } }
	out, err := h.Virga("vm", "show", vm, "-o", "json")
	if err != nil || json.Unmarshal([]byte(out), &r) != nil {
		return ""
	}
	return r.Status.Phase
}

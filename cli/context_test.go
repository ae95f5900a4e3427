package cli

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// cloudOf is a server over TLS that knows one token, and the file of its authority.
func cloudOf(t *testing.T, token string) (address, ca string) {
	t.Helper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+token {
			w.WriteHeader(401)
			_, _ = w.Write([]byte(`{"kind":"unauthenticated","detail":"no such token"}`))
			return
		}
		// A VM is called as the project is that was asked for.
		project, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v1/projects/"), "/")
		_, _ = w.Write([]byte(`{"items":[{"kind":"vm","id":"m1","name":"` + project + `"}]}`))
	}))
	t.Cleanup(server.Close)
	ca = filepath.Join(t.TempDir(), "ca.crt")
	cert, err := x509.ParseCertificate(server.TLS.Certificates[0].Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(server.URL, "https://"), ca
}

// person runs the program as somebody with a home does.
func person(t *testing.T, in string, args ...string) (out string, code int) {
	t.Helper()
	var said bytes.Buffer
	root := assemble(&session{now: time.Now}, "test")
	root.SetArgs(args)
	root.SetIn(strings.NewReader(in))
	root.SetOut(&said)
	root.SetErr(&said)
	code = Run(root)
	return said.String(), code
}

func aHome(t *testing.T) string {
	home := t.TempDir()
	for _, name := range []string{"SERVER", "TOKEN", "CA", "RUN", "PROJECT", "CONTEXT"} {
		t.Setenv("VIRGA_"+name, "")
	}
	t.Setenv("XDG_CONFIG_HOME", home)
	return filepath.Join(home, "virga", "contexts.yaml")
}

func TestLoginKeepsAServerAndItsTokenForTheCommandsThatFollow(t *testing.T) {
	file := aHome(t)
	address, ca := cloudOf(t, "s3cret")
	if out, code := person(t, "wrong\n", "login", address, "--ca", ca); code != 3 {
		t.Fatalf("a wrong token: exit %d, %s", code, out)
	}
	if _, err := os.Stat(file); err == nil {
		t.Fatal("a server that refused is kept")
	}
	out, code := person(t, "s3cret\n", "login", address, "--ca", ca, "--name", "test", "--project", "web")
	if code != 0 || !strings.Contains(out, "context test is used from now on") {
		t.Fatalf("login: exit %d, %s", code, out)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the file with the secret: %v, %v", info.Mode(), err)
	}
	if err := os.Remove(ca); err != nil { // it is kept
		t.Fatal(err)
	}
	if out, code := person(t, "", "vm", "list", "-o", "name"); code != 0 || out != "web\n" {
		t.Fatalf("by the context, in its project: exit %d, %s", code, out)
	}
	if out, code := person(t, "", "vm", "list", "-o", "name", "-p", "other"); code != 0 || out != "other\n" {
		t.Fatalf("a flag wins: exit %d, %s", code, out)
	}
	for _, args := range [][]string{{"context", "list"}, {"context", "show", "test"}} {
		if out, code := person(t, "", args...); code != 0 || !strings.Contains(out, "https://"+address) || strings.Contains(out, "s3cret") {
			t.Errorf("%v: exit %d, %s", args, code, out)
		}
	}
}

// The token of one cloud must not be shown to another server.
func TestAServerThatIsNamedHasNothingOfAContext(t *testing.T) {
	aHome(t)
	address, ca := cloudOf(t, "s3cret")
	if out, code := person(t, "s3cret\n", "login", address, "--ca", ca); code != 0 {
		t.Fatalf("login: exit %d, %s", code, out)
	}
	other, otherCA := cloudOf(t, "s3cret")
	if out, code := person(t, "", "vm", "list", "--server", other, "--ca", otherCA); code != 3 {
		t.Errorf("another server got the token: exit %d, %s", code, out)
	}
	t.Setenv("VIRGA_SERVER", other)
	t.Setenv("VIRGA_CA", otherCA)
	if out, code := person(t, "", "vm", "list"); code != 3 {
		t.Errorf("another server, by the environment: exit %d, %s", code, out)
	}
	t.Setenv("VIRGA_CA", "")
	if out, code := person(t, "", "vm", "list", "--context", "127.0.0.1", "-o", "name"); code != 0 {
		t.Errorf("a context that is named wins over the environment: exit %d, %s", code, out)
	}
	if out, code := person(t, "", "vm", "list", "--context", "local", "--server", other); code != 2 {
		t.Errorf("a context and a server: exit %d, %s", code, out)
	}
}

func TestContextsAreChosenAndForgotten(t *testing.T) {
	file := aHome(t)
	address, ca := cloudOf(t, "s3cret")
	for _, name := range []string{"one", "two"} {
		if out, code := person(t, "s3cret\n", "login", address, "--ca", ca, "--name", name, "--project", name); code != 0 {
			t.Fatalf("login: exit %d, %s", code, out)
		}
	}
	for _, step := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"vm", "list", "-o", "name"}, 0, "two"},
		{[]string{"context", "use", "one"}, 0, "one is used"},
		{[]string{"vm", "list", "-o", "name"}, 0, "one"},
		{[]string{"vm", "list", "-o", "name", "--context", "two"}, 0, "two"},
		{[]string{"context", "use", "three"}, 5, "no context"},
		{[]string{"vm", "list", "--context", "three"}, 2, "no context"},
		{[]string{"context", "delete", "one"}, 0, "forgotten"},
		{[]string{"vm", "list", "--run", t.TempDir()}, 10, "no server at"},
		{[]string{"context", "use", "local"}, 0, "local is used"},
		{[]string{"login", address, "--ca", ca, "--name", "local"}, 2, "is the server on this host"},
		{[]string{"login", address, "--ca", ca}, 2, "no token is given"},
	} {
		if out, code := person(t, "", step.args...); code != step.code || !strings.Contains(out, step.says) {
			t.Errorf("%v: exit %d, %s", step.args, code, out)
		}
	}
	if err := os.WriteFile(file, []byte("no: such\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, code := person(t, "", "vm", "list"); code != 2 || !strings.Contains(out, "mend it, or delete it") {
		t.Errorf("a damaged file: exit %d, %s", code, out)
	}
}

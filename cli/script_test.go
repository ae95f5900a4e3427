package cli

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "write what the program says into the scripts")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"virga": func() {
		now := func() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }
		os.Exit(Run(assemble(&session{now: now}, "1.2.3")))
	}})
}

// The scripts run the program against a server that plays the answers of a file.
func TestTheProgramDoesWhatTheScriptsSay(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata", UpdateScripts: *update,
		Setup: func(e *testscript.Env) error {
			e.Vars = append(e.Vars, "VIRGA_RUN="+e.WorkDir, "TZ=UTC", "VIRGA_SERVER=", "VIRGA_TOKEN=", "VIRGA_CA=", "VIRGA_PROJECT=", "VIRGA_CONTEXT=", "XDG_CONFIG_HOME="+e.WorkDir+"/config")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"serve": serve, "exits": exits},
	})
}

// exits CODE ARGUMENT... runs virga and wants an exit code.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec("virga", args[1:]...)
	code := 0
	if err != nil {
		code, _ = strconv.Atoi(strings.TrimPrefix(err.Error(), "exit status "))
	}
	if want, _ := strconv.Atoi(args[0]); want != code {
		ts.Fatalf("virga %s: exit code %d (%v), wanted %d", strings.Join(args[1:], " "), code, err, want)
	}
}

// answer is what the server says to a request; one with several answers gets them in turn.
type answer struct {
	status int
	body   string
}

// actor is a server that plays a file: blocks of "METHOD /path", a status, and a body, with lines
// "---" between them. It writes what it was asked into the file requests.
type actor struct {
	mu      sync.Mutex
	answers map[string][]answer
	log     io.Writer
}

// serve FILE starts the server on the socket of the run folder.
func serve(ts *testscript.TestScript, _ bool, args []string) {
	a := &actor{answers: map[string][]answer{}}
	for block := range strings.SplitSeq(ts.ReadFile(args[0]), "\n---\n") {
		request, rest, _ := strings.Cut(strings.TrimSpace(block), "\n")
		status, body, _ := strings.Cut(rest, "\n")
		code, err := strconv.Atoi(status)
		ts.Check(err)
		a.answers[request] = append(a.answers[request], answer{code, body})
	}
	log, err := os.Create(ts.MkAbs("requests"))
	ts.Check(err)
	a.log = log
	socket := ts.MkAbs("api.sock")
	_ = os.Remove(socket)
	l, err := net.Listen("unix", socket)
	ts.Check(err)
	server := &http.Server{Handler: a}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = server.Serve(l) }()
	ts.Defer(func() { _ = server.Close(); <-ended; _ = log.Close() })
}

func (a *actor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	q := r.URL.Query()
	q.Del("limit")
	request := r.Method + " " + r.URL.Path
	if len(q) > 0 {
		text, _ := url.QueryUnescape(q.Encode())
		request += "?" + text
	}
	body, _ := io.ReadAll(r.Body)
	var compact bytes.Buffer
	if json.Compact(&compact, body) != nil {
		compact.Reset()
		fmt.Fprintf(&compact, "%d bytes", len(body))
	}
	if r.Method != http.MethodGet {
		fmt.Fprintln(a.log, strings.TrimSpace(request+" "+compact.String()))
	}
	answers := a.answers[request]
	if len(answers) == 0 {
		answers = []answer{{404, `{"kind":"not-found","detail":"the script has no answer to ` + request + `"}`}}
	}
	if len(answers) > 1 {
		a.answers[request] = answers[1:]
	}
	w.WriteHeader(answers[0].status)
	_, _ = io.WriteString(w, answers[0].body)
}

func TestEveryScriptIsCalledByWhatItShows(t *testing.T) {
	scripts, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(scripts) < 10 {
		t.Fatalf("%d scripts, %v", len(scripts), err)
	}
	for _, file := range scripts {
		data, err := os.ReadFile(file)
		if err != nil || !strings.HasPrefix(string(data), "# ") {
			t.Errorf("%s does not begin with a sentence", file)
		}
	}
}

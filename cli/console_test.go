package cli

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/virga-cloud/virga/client"
)

// guest is a server whose only VM answers on its console by play.
func guest(t *testing.T, play func(context.Context, *websocket.Conn)) (run string) {
	t.Helper()
	run = t.TempDir()
	l, err := net.Listen("unix", filepath.Join(run, "api.sock"))
	if err != nil {
		t.Fatal(err)
	}
	var playing sync.WaitGroup
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/projects/default/vms/web/console" {
			w.WriteHeader(http.StatusPreconditionRequired)
			_, _ = io.WriteString(w, `{"kind":"precondition","detail":"VM off does not run; virga vm start off"}`)
			return
		}
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"binary"}})
		if err != nil {
			return
		}
		defer ws.CloseNow()
		playing.Add(1)
		defer playing.Done()
		play(r.Context(), ws)
	})}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(l) })
	t.Cleanup(func() { _ = server.Close(); serving.Wait(); playing.Wait() })
	return run
}

// echo answers what it is told, in capitals.
func echo(ctx context.Context, ws *websocket.Conn) {
	for {
		_, data, err := ws.Read(ctx)
		if err != nil || ws.Write(ctx, websocket.MessageBinary, bytes.ToUpper(data)) != nil {
			return
		}
	}
}

// console runs virga vm console and gives what it printed.
func console(t *testing.T, run string, in io.Reader, args ...string) (string, error) {
	t.Helper()
	root := New("test")
	var out bytes.Buffer
	root.SetIn(in)
	root.SetOut(&out)
	root.SetErr(io.Discard)
	root.SetArgs(append([]string{"vm", "console", "--run", run}, args...))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err := root.ExecuteContext(ctx)
	return out.String(), err
}

func TestPipedInputIsSentAndTheAnswerPrinted(t *testing.T) {
	run := guest(t, echo)
	out, err := console(t, run, strings.NewReader("uptime\n"), "web", "--idle", "200ms")
	if err != nil || out != "UPTIME\n" {
		t.Errorf("%q, %v", out, err)
	}
}

func TestAnAnswerThatTakesTimeIsWaitedForWhileTheGuestSpeaks(t *testing.T) {
	run := guest(t, func(ctx context.Context, ws *websocket.Conn) {
		for range 5 {
			time.Sleep(100 * time.Millisecond)
			if ws.Write(ctx, websocket.MessageBinary, []byte(".")) != nil {
				return
			}
		}
		echo(ctx, ws)
	})
	out, err := console(t, run, strings.NewReader(""), "web", "--idle", "300ms")
	if err != nil || out != "....." {
		t.Errorf("%q, %v", out, err)
	}
}

func TestConsoleKeyThatLeavesEndsItAtAKeyboard(t *testing.T) {
	typed, keyboard := io.Pipe()
	defer keyboard.Close()
	go func() { _, _ = keyboard.Write([]byte("ls\x1drm -rf /\n")) }()
	if out, err := talked(t, typed, true); err != nil || strings.Contains(out, "RM") {
		t.Errorf("%q, %v", out, err)
	}
}

// Who pipes a program's bytes to the guest did not press a key.
func TestConsoleSendsEveryByteOfAPipe(t *testing.T) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	out, err := talked(t, bytes.NewReader(all), false)
	if err != nil || out != string(bytes.ToUpper(all)) {
		t.Errorf("%q, %v", out, err)
	}
}

// A shell that is about to start a program still reads raw: an end of input that comes then is lost.
func TestConsoleSendsAControlCharacterOfAPipeWhenTheGuestHasSettled(t *testing.T) {
	type told struct {
		words string
		at    time.Time
	}
	all := make(chan told, 4)
	var spoke time.Time
	run := guest(t, func(ctx context.Context, ws *websocket.Conn) {
		for {
			_, data, err := ws.Read(ctx)
			if err != nil {
				return
			}
			all <- told{string(data), time.Now()}
			if bytes.HasSuffix(data, []byte("B\n")) {
				time.Sleep(settled / 2)
				spoke = time.Now()
				if ws.Write(ctx, websocket.MessageBinary, []byte("a prompt")) != nil {
					return
				}
			}
		}
	})
	if _, err := console(t, run, strings.NewReader("cat > /tmp/file\nA\x1dB\n\x04echo done\n"), "web", "--idle", "200ms"); err != nil {
		t.Fatal(err)
	}
	first, second := <-all, <-all
	if first.words != "cat > /tmp/file\nA\x1dB\n" || second.words != "\x04echo done\n" {
		t.Errorf("the guest is told %q, then %q", first.words, second.words)
	}
	if pause := second.at.Sub(spoke); pause < settled-20*time.Millisecond {
		t.Errorf("the end of input came %v after the guest's last words", pause)
	}
}

// talked is what a guest that echoes is told, by a keyboard or a pipe.
func talked(t *testing.T, in io.Reader, keyboard bool) (string, error) {
	t.Helper()
	conn, err := client.Connect(client.Options{Socket: filepath.Join(guest(t, echo), "api.sock")})
	if err != nil {
		t.Fatal(err)
	}
	ws, err := conn.Dial(t.Context(), "/v1/projects/default/vms/web/console", "binary")
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	var out bytes.Buffer
	err = talk(t.Context(), ws, in, &out, 200*time.Millisecond, keyboard)
	return out.String(), err
}

func TestWhyAConsoleEndsIsSaid(t *testing.T) {
	run := guest(t, func(_ context.Context, ws *websocket.Conn) {
		_ = ws.Close(websocket.StatusInternalError, "the VM was moved")
	})
	typed, keyboard := io.Pipe()
	defer keyboard.Close()
	if _, err := console(t, run, typed, "web"); err == nil || !strings.Contains(err.Error(), "the VM was moved") {
		t.Errorf("said: %v", err)
	}
	quiet := guest(t, func(_ context.Context, ws *websocket.Conn) { _ = ws.Close(websocket.StatusNormalClosure, "") })
	if _, err := console(t, quiet, typed, "web"); err != nil {
		t.Errorf("a normal end is an error: %v", err)
	}
}

func TestAConsoleThatIsRefusedSaysWhy(t *testing.T) {
	_, err := console(t, guest(t, echo), strings.NewReader(""), "off")
	if !client.IsKind(err, "precondition") || exitCode(err) != 8 {
		t.Errorf("said: %v", err)
	}
	_, err = console(t, t.TempDir(), strings.NewReader(""), "web")
	if !client.IsKind(err, "unavailable") || !strings.Contains(err.Error(), "virga up") {
		t.Errorf("without a server: %v", err)
	}
}

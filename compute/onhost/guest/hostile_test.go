package guest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// speak serves one connection by a function that gets each command and writes what it likes.
func speak(t *testing.T, answer func(w io.Writer, command string, id int64)) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "g")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		defer context.AfterFunc(t.Context(), func() { conn.Close() })()
		buf := make([]byte, 64<<10)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			var r struct {
				Execute   string `json:"execute"`
				Arguments struct {
					ID int64 `json:"id"`
				} `json:"arguments"`
			}
			_ = json.Unmarshal([]byte(strings.Trim(string(buf[:n]), "\xff\n")), &r)
			answer(conn, r.Execute, r.Arguments.ID)
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return path
}

// tame answers the greeting as it should be, and commands by a text.
func tame(text string) func(io.Writer, string, int64) {
	return func(w io.Writer, command string, id int64) {
		if command == "guest-sync-delimited" {
			_, _ = fmt.Fprintf(w, "\xff{\"return\": %d}\n", id)
			return
		}
		_, _ = io.WriteString(w, text)
	}
}

func endless(w io.Writer, text string) {
	for {
		if _, err := io.WriteString(w, text); err != nil {
			return
		}
	}
}

func TestAHostileGreetingIsNoAgent(t *testing.T) {
	for name, answer := range map[string]func(io.Writer, string, int64){
		"endless line":       func(w io.Writer, _ string, _ int64) { endless(w, strings.Repeat("x", 4096)) },
		"endless marks":      func(w io.Writer, _ string, _ int64) { endless(w, strings.Repeat("\xff", 4096)) },
		"endless line after": func(w io.Writer, _ string, _ int64) { endless(w, "\xff{\"return\": \""+strings.Repeat("x", 4096)) },
		"another's number":   func(w io.Writer, _ string, id int64) { _, _ = fmt.Fprintf(w, "\xff{\"return\": %d}\n", id+1) },
		"a number as text":   func(w io.Writer, _ string, id int64) { _, _ = fmt.Fprintf(w, "\xff{\"return\": \"%d\"}\n", id) },
		"a number that is huge": func(w io.Writer, _ string, _ int64) {
			_, _ = fmt.Fprintf(w, "\xff{\"return\": 1%s}\n", strings.Repeat("0", 4000))
		},
		"deep":  func(w io.Writer, _ string, _ int64) { _, _ = io.WriteString(w, "\xff"+strings.Repeat("[", 60000)+"\n") },
		"slow":  func(w io.Writer, _ string, _ int64) { _, _ = io.WriteString(w, "\xff{") },
		"empty": func(w io.Writer, _ string, _ int64) { _, _ = io.WriteString(w, "\xff\n") },
	} {
		t.Run(name, func(t *testing.T) {
			c, err := Dial(t.Context(), speak(t, answer))
			if !errors.Is(err, ErrAbsent) {
				t.Fatalf("%v, %v", c, err)
			}
		})
	}
}

func TestAHostileReplyIsRefused(t *testing.T) {
	long := strings.Repeat("x", MaxReply)
	for name, text := range map[string]string{
		"longer than is taken": `{"return":[{"name":"` + long + `"}]}` + "\n",
		"without an end":       long + long,
		"deep":                 `{"return":` + strings.Repeat("[", 30000) + "\n",
		"deep and whole":       `{"return":` + strings.Repeat(`{"a":`, 10001) + "1" + strings.Repeat("}", 10002) + "\n",
		"another shape":        `{"return":{"name":7}}` + "\n",
		"a huge number":        `{"return":1` + strings.Repeat("0", 400) + "}\n",
		"neither":              `{"answer":[]}` + "\n",
		"nothing":              "\n",
		"no JSON":              "\x00\x01\x02\n",
	} {
		t.Run(name, func(t *testing.T) {
			c, err := Dial(t.Context(), speak(t, tame(text)))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			all, err := c.Interfaces(t.Context())
			if !errors.Is(err, ErrReply) || all != nil || len(err.Error()) > 400 {
				t.Fatalf("%v, %.500v", all, err)
			}
		})
	}
}

func TestALateReplyIsNotTheNextOnes(t *testing.T) {
	c, err := Dial(t.Context(), speak(t, func(w io.Writer, command string, id int64) {
		if command == "guest-fsfreeze-freeze" {
			time.Sleep(50 * time.Millisecond)
		}
		tame(`{"return":3}`+"\n")(w, command, id)
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if n, err := c.Freeze(ctx); err == nil {
		t.Fatalf("%d", n)
	}
	if n, err := c.Thaw(t.Context()); err == nil {
		t.Fatalf("the answer to freeze was taken for the one to thaw: %d", n)
	}
}

func TestAnAgentThatDripsIsGivenUpInTime(t *testing.T) {
	stop := make(chan struct{})
	path := speak(t, func(w io.Writer, command string, id int64) {
		if command == "guest-sync-delimited" {
			tame("")(w, command, id)
			return
		}
		for {
			if _, err := io.WriteString(w, " "); err != nil {
				return
			}
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
		}
	})
	t.Cleanup(func() { close(stop) })
	c, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := c.Interfaces(ctx); err == nil {
		t.Fatalf("%v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Interfaces(gone); err == nil {
		t.Fatal("a question was asked for nobody")
	}
}

func TestWhatAGuestTellsIsParsedAndBounded(t *testing.T) {
	var many strings.Builder
	for i := range 300 {
		fmt.Fprintf(&many, `,{"ip-address":"10.0.%d.%d"}`, i/250, i%250+1)
	}
	c, err := Dial(t.Context(), speak(t, tame(`{"return":[`+
		`{"name":"eth0\u001b[2J\u202e\ud800`+"\xff"+`","hardware-address":"52-54-00-00-00-0A","ip-addresses":[`+
		`{"ip-address":"fe80:0:0::1%eth0","prefix":99999999999999999999},{"ip-address":"::ffff:10.9.9.9"},{"ip-address":"10.9.9.9"},{"ip-address":"not an address"},`+
		`{"ip-address":"0.0.0.0"},{"ip-address":"224.0.0.1"},{"ip-address":"FD00::00AB"}]},`+
		`{"name":"`+strings.Repeat("é", 3000)+`","hardware-address":"nonsense","ip-addresses":[{"ip-address":"10.9.9.9"}`+many.String()+`]}]}`+"\n")))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	all, err := c.Interfaces(t.Context())
	if err != nil || len(all) != 2 {
		t.Fatalf("%v, %v", all, err)
	}
	if all[0].Name != "eth0?[2J???" || all[0].MAC != "52:54:00:00:00:0a" || fmt.Sprint(all[0].Addresses) != "[fe80::1 10.9.9.9 fd00::ab]" {
		t.Errorf("%+v", all[0])
	}
	if len(all[1].Name) > 2*maxText+3 || !utf8.ValidString(all[1].Name) || all[1].MAC != "" || len(all[1].Addresses) != maxAddresses-3 {
		t.Errorf("%+v", all[1])
	}
}

func TestAFailureIsTextThatATerminalMayShow(t *testing.T) {
	c, err := Dial(t.Context(), speak(t, tame(`{"error":{"class":"\u0007","desc":"\u001b]0;owned\u0007`+strings.Repeat("y", 9000)+`"}}`+"\n")))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.Thaw(t.Context())
	if err == nil || len(err.Error()) > 200 || strings.ContainsAny(err.Error(), "\x1b\x07") {
		t.Fatalf("%q", err)
	}
}

func TestACountIsOneThatCanBe(t *testing.T) {
	for _, text := range []string{`{"return":-1}`, `{"return":70000000}`, `{"return":1e3}`, `{"return":null,"error":{}}`} {
		c, err := Dial(t.Context(), speak(t, tame(text+"\n")))
		if err != nil {
			t.Fatal(err)
		}
		if n, err := c.Freeze(t.Context()); err == nil {
			t.Errorf("%s was taken for %d", text, n)
		}
		c.Close()
	}
}

// FuzzReply holds that no reply makes anything but an error or a few sound addresses.
func FuzzReply(f *testing.F) {
	for _, seed := range []string{
		`{"return":[{"name":"eth0","hardware-address":"52:54:00:00:00:01","ip-addresses":[{"ip-address":"10.0.0.5"}]}]}`,
		`{"error":{"class":"GenericError","desc":"no"}}`, "\xff{}", `{"return":null}`, `[[[[`, `{"return":[null,{"ip-addresses":[null]}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, reply []byte) {
		var all []told
		if err := decode("x", reply, &all); err != nil {
			if len(err.Error()) > 1000 || !utf8.ValidString(err.Error()) {
				t.Fatalf("%q", err)
			}
			return
		}
		seen := map[string]bool{}
		for _, i := range judge(all) {
			if Text(i.Name) != i.Name && len(i.Name) <= maxText {
				t.Fatalf("%q", i.Name)
			}
			for _, a := range i.Addresses {
				if !a.IsValid() || a.Zone() != "" || seen[a.String()] || a.Is4In6() {
					t.Fatalf("%v", a)
				}
				seen[a.String()] = true
			}
		}
		if len(seen) > maxAddresses {
			t.Fatalf("%d addresses", len(seen))
		}
	})
}

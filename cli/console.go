package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/coder/websocket"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// leave is Ctrl-], as with telnet.
const leave = 0x1d

func (s *session) vmConsole(n *noun) *cobra.Command {
	var idle time.Duration
	c := &cobra.Command{Use: "console NAME", Short: "Use a VM's serial console", Args: exactly("NAME"), ValidArgsFunction: s.completeNames(n, 1),
		Long:    "Connect the terminal to the serial console of a VM. Ctrl-] leaves.\nWhere the input is no terminal, the command ends when the input has ended and the guest has said nothing for a while (--idle).",
		Example: "  virga vm console web\n  echo uptime | virga vm console web --idle 2s"}
	c.Flags().DurationVar(&idle, "idle", time.Second, "how long the guest must be silent after the end of an input that is no terminal")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		conn, err := s.connection()
		if err != nil {
			return err
		}
		ws, err := conn.Dial(cmd.Context(), s.path(n, s.project, args[0], "console"), "binary")
		if err != nil {
			return s.absent(err)
		}
		ws.SetReadLimit(1 << 20)
		defer ws.CloseNow()
		f, ok := cmd.InOrStdin().(*os.File)
		keyboard := ok && term.IsTerminal(int(f.Fd()))
		if keyboard {
			old, err := term.MakeRaw(int(f.Fd()))
			if err != nil {
				return fail("internal", "prepare the terminal: %v", err)
			}
			defer fmt.Fprintf(cmd.ErrOrStderr(), "\r\nleft the console of vm %s\r\n", args[0])
			defer term.Restore(int(f.Fd()), old)
			fmt.Fprintf(cmd.ErrOrStderr(), "console of vm %s; leave with Ctrl-]\r\n", args[0])
		}
		return talk(cmd.Context(), ws, cmd.InOrStdin(), bytesOut(cmd), idle, keyboard)
	}
	return c
}

// settled is how long a guest says nothing when it has taken in what it was sent; it may chatter, so
// there is a longest wait.
const (
	settled     = 250 * time.Millisecond
	longestWait = 2 * time.Second
)

// talk carries bytes both ways until one side ends it: the person at a keyboard by Ctrl-], the guest's
// side by closing, or silence after the end of the input. Of a pipe every byte is the guest's.
//
// A control character of a pipe waits until the guest has settled, as a person does: a shell that reads
// ahead would take the end of input for a byte of the program that it is about to start.
func talk(ctx context.Context, ws *websocket.Conn, in io.Reader, out io.Writer, idle time.Duration, keyboard bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	typed := make(chan []byte)
	// Nothing can interrupt a read of a terminal: this goroutine ends with its next byte, or with the program.
	go read(ctx, in, typed, !keyboard)
	heard, closed := make(chan []byte), make(chan error, 1)
	go func() { closed <- listen(ctx, ws, heard) }()
	defer func() { cancel(); _ = ws.CloseNow() }()
	var silence, settle, late <-chan time.Time
	var next []byte // begins with a control character, and waits
	from := typed
	send := func(data []byte) error {
		if err := ws.Write(ctx, websocket.MessageBinary, data); err != nil {
			return fail("unavailable", "write to the console: %v", err)
		}
		return nil
	}
	for {
		select {
		case data, more := <-from:
			if !more {
				from, silence = nil, time.After(idle)
				continue
			}
			if !keyboard && controls(data[0]) {
				from, next, settle, late = nil, data, time.After(settled), time.After(longestWait)
				continue
			}
			end := -1
			if keyboard {
				end = bytes.IndexByte(data, leave)
			}
			if end >= 0 {
				data = data[:end]
			}
			if len(data) > 0 {
				if err := send(data); err != nil {
					return err
				}
			}
			if end >= 0 {
				return ws.Close(websocket.StatusNormalClosure, "")
			}
		case data := <-heard:
			if _, err := out.Write(data); err != nil {
				return err
			}
			if silence != nil {
				silence = time.After(idle)
			}
			if settle != nil {
				settle = time.After(settled)
			}
		case <-settle:
			late = time.After(0) // now
		case <-late:
			from, settle, late = typed, nil, nil
			if err := send(next); err != nil {
				return err
			}
		case <-silence:
			_ = ws.Close(websocket.StatusNormalClosure, "")
			return nil
		case err := <-closed:
			return err
		}
	}
}

// controls reports whether a terminal takes the byte as a word to whoever reads now: interrupt, end of
// input, quit, suspend.
func controls(b byte) bool { return b == 0x03 || b == 0x04 || b == 0x1c || b == 0x1a }

// read hands on what it reads; apart, so that each piece begins with a control character or has none.
func read(ctx context.Context, in io.Reader, typed chan<- []byte, apart bool) {
	defer close(typed)
	for {
		buffer := make([]byte, 4096)
		n, err := in.Read(buffer)
		for rest := buffer[:n]; len(rest) > 0; {
			piece := rest
			if apart {
				if i := slices.IndexFunc(rest[1:], controls); i >= 0 {
					piece = rest[:i+1]
				}
			}
			rest = rest[len(piece):]
			select {
			case typed <- piece:
			case <-ctx.Done():
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func listen(ctx context.Context, ws *websocket.Conn, heard chan<- []byte) error {
	for {
		_, data, err := ws.Read(ctx)
		if err != nil {
			return farewell(ctx, err)
		}
		select {
		case heard <- data:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// farewell says why the other side ended a console. A normal end is none.
func farewell(ctx context.Context, err error) error {
	end, ok := errors.AsType[websocket.CloseError](err)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case ok && (end.Code == websocket.StatusNormalClosure || end.Code == websocket.StatusGoingAway) && end.Reason == "":
		return nil
	case ok && end.Reason != "":
		return fail("unavailable", "the console ended: %s", end.Reason)
	}
	return fail("unavailable", "the console ended: %v", err)
}

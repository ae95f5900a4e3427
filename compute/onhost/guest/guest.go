// Package guest speaks to the QEMU guest agent inside a VM, over its unix socket.
//
// A VM without the agent is normal: Dial then fails with ErrAbsent after a short wait. The
// socket serves one client at a time, so a connection is made for a question and closed after it.
//
// What answers is the guest's and may be hostile. A reply has a largest size and a deadline, what is
// in it is parsed and bounded, and a connection on which a question went unanswered is over: a late
// reply is never taken for the next one's.
package guest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"
)

// ErrAbsent says that nobody inside the VM answers.
var ErrAbsent = errors.New("the guest agent does not answer")

// ErrReply says that the agent sent something that is no reply to what it was asked.
var ErrReply = errors.New("the guest agent gives no proper reply")

// The limits of what is taken from a guest.
const (
	// MaxReply is the largest reply, in bytes.
	MaxReply = 64 << 10
	// maxStale is how much of what earlier clients have left is read past, in bytes.
	maxStale = 1 << 20
)

// Error is the agent's answer to a command that failed.
type Error struct {
	Command string
	Class   string `json:"class"`
	Desc    string `json:"desc"`
}

func (e *Error) Error() string { return e.Command + ": " + e.Desc }

// Client is one connection that the agent has answered on. It asks one question at a time.
type Client struct {
	conn   net.Conn
	reader *bufio.Reader
	broken error // why nothing more is asked
	most   int   // the largest reply that is taken, in bytes
}

// Wait is how long the agent is given to answer where ctx allows longer.
const Wait = 500 * time.Millisecond

// Dial connects and waits until the agent answers.
func Dial(ctx context.Context, path string) (*Client, error) {
	ctx, cancel := context.WithTimeout(ctx, Wait)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAbsent, err)
	}
	return New(ctx, conn)
}

// New waits until the agent answers on a connection, and owns it from then on, also when it fails.
func New(ctx context.Context, conn net.Conn) (*Client, error) {
	ctx, cancel := context.WithTimeout(ctx, Wait)
	defer cancel()
	c := &Client{conn: conn, reader: bufio.NewReaderSize(conn, MaxReply), most: MaxReply}
	if err := c.sync(ctx); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("%w: %w", ErrAbsent, err)
	}
	return c, nil
}

// Close ends the connection.
func (c *Client) Close() error { return c.conn.Close() }

// sync throws away what an earlier client may have left in the channel: the agent puts a 0xFF in
// front of the answer, and the answer carries our number.
func (c *Client) sync(ctx context.Context) error {
	number := rand.Int64N(1 << 40)
	defer c.limit(ctx)()
	line, _ := json.Marshal(map[string]any{"execute": "guest-sync-delimited", "arguments": map[string]any{"id": number}})
	if err := c.send(append([]byte{0xFF}, line...)); err != nil {
		return err
	}
	for stale := 0; stale < maxStale; {
		skipped, err := c.reader.ReadSlice(0xFF)
		stale += len(skipped)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil {
			return err
		}
		reply, err := c.line()
		if err != nil {
			return err
		}
		stale += len(reply)
		var got int64
		if decode("guest-sync-delimited", reply, &got) == nil && got == number {
			return nil
		}
	}
	return fmt.Errorf("%w: it never comes to the end of earlier ones", ErrReply)
}

// limit makes the connection end with ctx, and within 10 s at most. The function it returns lifts that.
func (c *Client) limit(ctx context.Context) (lift func()) {
	deadline := time.Now().Add(10 * time.Second)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	_ = c.conn.SetDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { _ = c.conn.SetDeadline(time.Unix(1, 0)) })
	return func() { stop() }
}

// Do runs a command of the agent and decodes its answer into result unless that is nil.
func (c *Client) Do(ctx context.Context, command string, args, result any) error {
	defer c.limit(ctx)()
	if err := c.ask(command, args); err != nil {
		return err
	}
	reply, err := c.line()
	if err != nil {
		c.broken = err
		return fmt.Errorf("%s: %w", command, err)
	}
	return decode(command, reply, result)
}

func (c *Client) ask(command string, args any) error {
	if c.broken != nil {
		return fmt.Errorf("%s: an earlier command was not answered: %w", command, c.broken)
	}
	request := map[string]any{"execute": command}
	if args != nil {
		request["arguments"] = args
	}
	line, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("%s: encode: %w", command, err)
	}
	if err := c.send(line); err != nil {
		c.broken = err
		return fmt.Errorf("%s: %w", command, err)
	}
	return nil
}

func (c *Client) send(line []byte) error {
	_, err := c.conn.Write(append(line, '\n'))
	return err
}

// line reads one reply. It is valid until the next one.
func (c *Client) line() ([]byte, error) {
	line, err := c.reader.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return line, err
	}
	whole := bytes.Clone(line)
	for errors.Is(err, bufio.ErrBufferFull) {
		if len(whole) >= c.most {
			return nil, fmt.Errorf("%w: it is longer than %d bytes", ErrReply, c.most)
		}
		line, err = c.reader.ReadSlice('\n')
		whole = append(whole, line...)
	}
	return whole, err
}

// decode reads a reply. What it says of the guest's is for the caller to judge.
func decode(command string, reply []byte, result any) error {
	var m struct {
		Return json.RawMessage `json:"return"`
		Error  *Error          `json:"error"`
	}
	if err := json.Unmarshal(bytes.Trim(reply, "\xff\r\n"), &m); err != nil {
		return fmt.Errorf("%s: %w: %s", command, ErrReply, Text(err.Error()))
	}
	switch {
	case m.Error != nil:
		return &Error{Command: command, Class: Text(m.Error.Class), Desc: Text(m.Error.Desc)}
	case m.Return == nil:
		return fmt.Errorf("%s: %w: it has neither a result nor an error", command, ErrReply)
	case result == nil:
		return nil
	}
	if err := json.Unmarshal(m.Return, result); err != nil {
		return fmt.Errorf("%s: %w: %s", command, ErrReply, Text(err.Error()))
	}
	return nil
}

// Shutdown asks the guest to power itself off. The agent gives no answer when it does as asked.
func (c *Client) Shutdown(ctx context.Context) error {
	defer c.limit(ctx)()
	err := c.ask("guest-shutdown", map[string]any{"mode": "powerdown"})
	if err == nil {
		c.broken = errors.New("the guest was asked to power off")
	}
	return err
}

// Freeze flushes the guest's file systems and holds writes back; it tells how many.
func (c *Client) Freeze(ctx context.Context) (int, error) {
	return c.count(ctx, "guest-fsfreeze-freeze")
}

// Thaw lets writes go on.
func (c *Client) Thaw(ctx context.Context) (int, error) { return c.count(ctx, "guest-fsfreeze-thaw") }

func (c *Client) count(ctx context.Context, command string) (int, error) {
	var n int
	if err := c.Do(ctx, command, nil, &n); err != nil {
		return 0, err
	}
	if n < 0 || n > maxFileSystems {
		return 0, fmt.Errorf("%s: %w: it speaks of %d file systems", command, ErrReply, n)
	}
	return n, nil
}

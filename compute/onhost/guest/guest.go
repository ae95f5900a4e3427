// Package guest speaks to the QEMU guest agent inside a VM, over its unix socket.
//
// A VM without the agent is normal: Dial then fails with ErrAbsent after a short wait. The
// socket serves one client at a time, so a connection is made for a question and closed after it.
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

// Error is the agent's answer to a command that failed.
type Error struct {
	Command string
	Class   string `json:"class"`
	Desc    string `json:"desc"`
}

func (e *Error) Error() string { return e.Command + ": " + e.Desc }

// Client is one connection that the agent has answered on.
type Client struct {
	conn   net.Conn
	reader *bufio.Reader
}

// Address is an IP address inside the VM.
type Address struct {
	Type   string `json:"ip-address-type"` // ipv4, ipv6
	IP     string `json:"ip-address"`
	Prefix int    `json:"prefix"`
}

// Interface is a network interface inside the VM.
type Interface struct {
	Name      string    `json:"name"`
	MAC       string    `json:"hardware-address"`
	Addresses []Address `json:"ip-addresses"`
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
	c := &Client{conn: conn, reader: bufio.NewReader(conn)}
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
	line, _ := json.Marshal(map[string]any{"execute": "guest-sync-delimited", "arguments": map[string]any{"id": number}})
	if err := c.send(ctx, append([]byte{0xFF}, line...)); err != nil {
		return err
	}
	for {
		if _, err := c.reader.ReadBytes(0xFF); err != nil {
			return err
		}
		var got int64
		if err := c.answer("guest-sync-delimited", &got); err == nil && got == number {
			return nil
		} else if _, refused := errors.AsType[*Error](err); err != nil && !refused {
			return err
		}
	}
}

// Do runs a command of the agent and decodes its answer into result unless that is nil.
func (c *Client) Do(ctx context.Context, command string, args, result any) error {
	if err := c.ask(ctx, command, args); err != nil {
		return err
	}
	return c.answer(command, result)
}

func (c *Client) ask(ctx context.Context, command string, args any) error {
	request := map[string]any{"execute": command}
	if args != nil {
		request["arguments"] = args
	}
	line, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("%s: encode: %w", command, err)
	}
	return c.send(ctx, line)
}

func (c *Client) send(ctx context.Context, line []byte) error {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(10 * time.Second)
	}
	_ = c.conn.SetDeadline(deadline)
	_, err := c.conn.Write(append(line, '\n'))
	return err
}

func (c *Client) answer(command string, result any) error {
	line, err := c.reader.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	var m struct {
		Return json.RawMessage `json:"return"`
		Error  *Error          `json:"error"`
	}
	if err := json.Unmarshal(bytes.Trim(line, "\xff\r\n"), &m); err != nil {
		return fmt.Errorf("%s: decode %.80q: %w", command, line, err)
	}
	if m.Error != nil {
		m.Error.Command = command
		return m.Error
	}
	if result == nil {
		return nil
	}
	return json.Unmarshal(m.Return, result)
}

// Interfaces asks for the network interfaces.
func (c *Client) Interfaces(ctx context.Context) ([]Interface, error) {
	var out []Interface
	err := c.Do(ctx, "guest-network-get-interfaces", nil, &out)
	return out, err
}

// Shutdown asks the guest to power itself off. The agent gives no answer when it does as asked.
func (c *Client) Shutdown(ctx context.Context) error {
	return c.ask(ctx, "guest-shutdown", map[string]any{"mode": "powerdown"})
}

// Freeze flushes the guest's file systems and holds writes back; it tells how many.
func (c *Client) Freeze(ctx context.Context) (int, error) {
	var n int
	err := c.Do(ctx, "guest-fsfreeze-freeze", nil, &n)
	return n, err
}

// Thaw lets writes go on.
func (c *Client) Thaw(ctx context.Context) (int, error) {
	var n int
	err := c.Do(ctx, "guest-fsfreeze-thaw", nil, &n)
	return n, err
}

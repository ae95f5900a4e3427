// Package qmp speaks QEMU's machine protocol over a unix socket.
//
// A Client is one connection. Several callers may use it at once; replies are matched by id.
// Events go to every subscriber. When the connection ends, every waiting caller gets the error
// that ended it, and Done is closed. The package knows nothing of virtual machines.
package qmp

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Error is QEMU's answer to a command that failed.
type Error struct {
	Command string
	Class   string `json:"class"`
	Desc    string `json:"desc"`
}

func (e *Error) Error() string { return e.Command + ": " + e.Desc }

// ErrClosed is the end of a connection that was closed on this side.
var ErrClosed = errors.New("the connection to QEMU was closed")

// Event is something that QEMU tells without being asked.
type Event struct {
	Name string
	Data json.RawMessage
	At   time.Time
}

// Version is what the greeting says of QEMU.
type Version struct {
	Major int `json:"major"`
	Minor int `json:"minor"`
	Micro int `json:"micro"`
}

// Client is one connection.
type Client struct {
	conn    *net.UnixConn
	version Version
	done    chan struct{}
	reading sync.WaitGroup

	writing sync.Mutex // one command at a time on the wire

	mu      sync.Mutex
	last    uint64
	waiting map[string]chan message
	readers map[*subscriber]struct{}
	err     error
}

type subscriber struct{ events chan Event }

// message is anything that QEMU sends.
type message struct {
	QMP *struct {
		Version struct {
			QEMU Version `json:"qemu"`
		} `json:"version"`
	} `json:"QMP"`
	ID        string          `json:"id"`
	Return    json.RawMessage `json:"return"`
	Error     *Error          `json:"error"`
	Event     string          `json:"event"`
	Data      json.RawMessage `json:"data"`
	Timestamp struct {
		Seconds      int64 `json:"seconds"`
		Microseconds int64 `json:"microseconds"`
	} `json:"timestamp"`
}

// Dial connects to the socket and negotiates.
func Dial(ctx context.Context, path string) (*Client, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	return New(ctx, conn.(*net.UnixConn))
}

// New negotiates on a connection and owns it from then on, also when it fails. A QEMU that serves
// another client already does not greet: ctx is what ends the wait.
func New(ctx context.Context, conn *net.UnixConn) (*Client, error) {
	c := &Client{conn: conn, done: make(chan struct{}), waiting: map[string]chan message{}, readers: map[*subscriber]struct{}{}}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	reader := bufio.NewReaderSize(conn, 64<<10)
	greeting, err := next(reader)
	if !stop() {
		err = context.Cause(ctx)
	}
	if err == nil && greeting.QMP == nil {
		err = errors.New("no greeting: this is not a QMP socket")
	}
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("wait for QEMU's greeting: %w", err)
	}
	c.version = greeting.QMP.Version.QEMU
	c.reading.Go(func() { c.read(reader) })
	if err := c.Do(ctx, "qmp_capabilities", nil, nil); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// Version is QEMU's.
func (c *Client) Version() Version { return c.version }

// Do runs a command. Args is anything that becomes a JSON object, or nil; the answer is decoded
// into result unless that is nil. When ctx ends first the command may still be carried out.
func (c *Client) Do(ctx context.Context, command string, args, result any) error {
	return c.do(ctx, command, args, result, nil)
}

// SendFile gives QEMU an open file under a name (getfd). The caller keeps its own and may close it.
func (c *Client) SendFile(ctx context.Context, name string, f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var doErr error
	err = raw.Control(func(fd uintptr) {
		doErr = c.do(ctx, "getfd", map[string]any{"fdname": name}, nil, syscall.UnixRights(int(fd)))
	})
	return errors.Join(err, doErr)
}

func (c *Client) do(ctx context.Context, command string, args, result any, oob []byte) error {
	id, answer, err := c.expect()
	if err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	defer c.forget(id)
	request := struct {
		Execute   string `json:"execute"`
		Arguments any    `json:"arguments,omitempty"`
		ID        string `json:"id"`
	}{command, args, id}
	line, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("%s: encode: %w", command, err)
	}
	if err := c.write(ctx, append(line, '\n'), oob); err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	select {
	case m := <-answer:
		return m.into(command, result)
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", command, context.Cause(ctx))
	case <-c.done:
		select { // the answer may have come just before the end
		case m := <-answer:
			return m.into(command, result)
		default:
			return fmt.Errorf("%s: %w", command, c.Err())
		}
	}
}

func (m message) into(command string, result any) error {
	if m.Error != nil {
		m.Error.Command = command
		return m.Error
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(m.Return, result); err != nil {
		return fmt.Errorf("%s: decode the answer: %w", command, err)
	}
	return nil
}

func (c *Client) expect() (string, chan message, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return "", nil, c.err
	}
	c.last++
	id := strconv.FormatUint(c.last, 10)
	answer := make(chan message, 1)
	c.waiting[id] = answer
	return id, answer, nil
}

func (c *Client) forget(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, id)
}

// write sends a whole line, with the file descriptors on its first byte. A line that was begun and
// not ended would spoil every later one, so a failure ends the connection.
func (c *Client) write(ctx context.Context, line, oob []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	deadline, _ := ctx.Deadline()
	_ = c.conn.SetWriteDeadline(deadline)
	sent := 0
	if oob != nil {
		n, _, err := c.conn.WriteMsgUnix(line, oob, nil)
		if sent = n; err != nil {
			c.end(err)
			return err
		}
	}
	if _, err := c.conn.Write(line[sent:]); err != nil {
		c.end(err)
		return err
	}
	return nil
}

// maxLine is the longest line that is taken, in bytes. The longest answers, of all devices of a large
// VM, have a tenth of it; a QEMU process that a guest has taken over may write without end.
const maxLine = 4 << 20

func readLine(r *bufio.Reader) ([]byte, error) {
	var whole []byte
	for {
		part, err := r.ReadSlice('\n')
		if !errors.Is(err, bufio.ErrBufferFull) {
			return append(whole, part...), err
		}
		if whole = append(whole, part...); len(whole) > maxLine {
			return nil, fmt.Errorf("QEMU writes a line of more than %d bytes", maxLine)
		}
	}
}

func next(r *bufio.Reader) (message, error) {
	for {
		line, err := readLine(r)
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = fmt.Errorf("QEMU closed the connection: %w", io.EOF)
			}
			return message{}, err
		}
		if len(line) <= 2 { // an empty line, with or without a carriage return
			continue
		}
		var m message
		if err := json.Unmarshal(line, &m); err != nil {
			return message{}, fmt.Errorf("decode %.80q: %w", line, err)
		}
		return m, nil
	}
}

func (c *Client) read(r *bufio.Reader) {
	for {
		m, err := next(r)
		if err != nil {
			c.end(err)
			return
		}
		c.mu.Lock()
		switch {
		case m.Event != "":
			e := Event{Name: m.Event, Data: m.Data, At: time.Unix(m.Timestamp.Seconds, m.Timestamp.Microseconds*1000)}
			for s := range c.readers {
				s.tell(e)
			}
		case c.waiting[m.ID] != nil:
			c.waiting[m.ID] <- m
			delete(c.waiting, m.ID)
		}
		c.mu.Unlock()
	}
}

// tell never blocks: a reader that sleeps loses its oldest events, not the newest.
func (s *subscriber) tell(e Event) {
	for {
		select {
		case s.events <- e:
			return
		default:
		}
		select {
		case <-s.events:
		default:
		}
	}
}

// Events subscribes to what QEMU tells. The channel closes when the connection ends or when the
// returned function is called. A reader that is 256 events behind loses the oldest.
func (c *Client) Events() (<-chan Event, func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &subscriber{events: make(chan Event, 256)}
	if c.err != nil {
		close(s.events)
		return s.events, func() {}
	}
	c.readers[s] = struct{}{}
	return s.events, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if _, there := c.readers[s]; there {
			delete(c.readers, s)
			close(s.events)
		}
	}
}

// Done is closed when the connection has ended; Err then says why.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err says why the connection ended; nil while it lives.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close ends the connection and waits for its reader.
func (c *Client) Close() error {
	c.end(ErrClosed)
	c.reading.Wait()
	return nil
}

func (c *Client) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	_ = c.conn.Close()
	for s := range c.readers {
		delete(c.readers, s)
		close(s.events)
	}
	close(c.done)
}

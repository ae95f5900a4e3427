package qemu

import (
	"context"
	"io"
	"net"
	"sync"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

const (
	pastSize = 16 << 10  // bytes of the past that a new viewer is shown
	backlog  = 256 << 10 // bytes that a slow viewer may be behind before it misses some
)

// Console implements onhost.Console.
func (d *Driver) Console(ctx context.Context, id resource.ID) (io.ReadWriteCloser, error) {
	g, err := d.known(id)
	if err != nil {
		return nil, err
	}
	defer g.mu.Unlock()
	if !g.alive() {
		return nil, fault.New(fault.Precondition, "open the console of instance %s: it has ended", id)
	}
	if g.mux == nil || g.mux.ended() {
		conn, err := g.connect(ctx, serialSocket)
		if err != nil {
			return nil, fault.New(fault.Unavailable, "open the console of instance %s: %w", id, err)
		}
		g.mux = &mux{conn: conn, viewers: map[*viewer]struct{}{}, past: g.log.end(pastSize)}
		d.wg.Go(g.mux.run)
	}
	return g.mux.attach(), nil
}

// Display implements onhost.Console.
func (d *Driver) Display(ctx context.Context, id resource.ID) (io.ReadWriteCloser, error) {
	g, err := d.known(id)
	if err != nil {
		return nil, err
	}
	defer g.mu.Unlock()
	if !g.alive() || !g.saved.Screen {
		return nil, fault.New(fault.Precondition, "open the screen of instance %s: it has none", id)
	}
	const name = "viewer"
	conn, err := g.give(ctx, name)
	if err != nil {
		return nil, fault.Wrap(err, "open the screen")
	}
	if err := g.do(ctx, "add_client", map[string]any{"protocol": "vnc", "fdname": name}, nil); err != nil {
		_ = conn.Close()
		return nil, fault.Wrap(err, "open the screen")
	}
	return conn, nil
}

// mux shares the serial line, which serves one client, among viewers.
type mux struct {
	conn net.Conn

	writing sync.Mutex

	mu      sync.Mutex
	viewers map[*viewer]struct{}
	past    []byte
	over    bool
}

// viewer is one of those who watch. It never holds the others up.
type viewer struct {
	mux    *mux
	mu     sync.Mutex
	more   *sync.Cond
	queue  []byte
	closed bool
}

func (m *mux) run() {
	buf := make([]byte, 4096)
	for {
		n, err := m.conn.Read(buf)
		m.mu.Lock()
		m.past = append(m.past, buf[:n]...)
		if len(m.past) > 2*pastSize {
			m.past = append([]byte(nil), m.past[len(m.past)-pastSize:]...)
		}
		for v := range m.viewers {
			v.give(buf[:n])
		}
		m.mu.Unlock()
		if err != nil {
			m.close()
			return
		}
	}
}

func (m *mux) attach() *viewer {
	v := &viewer{mux: m}
	v.more = sync.NewCond(&v.mu)
	m.mu.Lock()
	defer m.mu.Unlock()
	v.queue = append(v.queue, m.past[max(0, len(m.past)-pastSize):]...)
	v.closed = m.over
	m.viewers[v] = struct{}{}
	return v
}

func (m *mux) ended() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.over
}

func (m *mux) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.over = true
	_ = m.conn.Close()
	for v := range m.viewers {
		v.end()
	}
}

func (v *viewer) give(data []byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.queue = append(v.queue, data...)
	v.queue = v.queue[max(0, len(v.queue)-backlog):]
	v.more.Broadcast()
}

func (v *viewer) end() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.closed = true
	v.more.Broadcast()
}

// Read waits for what the guest writes. io.EOF: the guest, or this viewer, has ended.
func (v *viewer) Read(p []byte) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for len(v.queue) == 0 && !v.closed {
		v.more.Wait()
	}
	if len(v.queue) == 0 {
		return 0, io.EOF
	}
	n := copy(p, v.queue)
	v.queue = v.queue[n:]
	return n, nil
}

// Write types.
func (v *viewer) Write(p []byte) (int, error) {
	v.mux.writing.Lock()
	defer v.mux.writing.Unlock()
	_ = v.mux.conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
	return v.mux.conn.Write(p)
}

// Close detaches; the others go on.
func (v *viewer) Close() error {
	v.mux.mu.Lock()
	delete(v.mux.viewers, v)
	v.mux.mu.Unlock()
	v.end()
	return nil
}

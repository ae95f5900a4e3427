package remote

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
	"github.com/virga-cloud/virga/engine/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type everything struct{}

func (everything) Sees(store.Entry) bool { return true }

func (everything) Host() resource.ID { return "" }

func (everything) Admit(_ map[resource.Ref]store.Entry, c []store.Change) ([]store.Change, error) {
	return c, nil
}

func all(*http.Request) (Scope, error) { return everything{}, nil }

// forgetful is the remote store with a back door to the one behind it.
type forgetful struct {
	store.Store
	behind *memory.Store
}

func (f forgetful) Compact(ctx context.Context, revision int64) error {
	return f.behind.Compact(ctx, revision)
}

// Derives is the remote store's.
func (f forgetful) Derives() bool { return f.Store.(store.Deriving).Derives() }

func serve(t *testing.T, h http.Handler) store.Store {
	server := httptest.NewServer(http.StripPrefix("/store", h))
	t.Cleanup(server.Close)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 32}}
	t.Cleanup(client.CloseIdleConnections)
	return Open(client, server.URL+"/store/")
}

func TestTheRemoteStorePassesTheSuite(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store {
		behind := memory.New()
		return forgetful{serve(t, Handler(behind, all)), behind}
	})
}

func TestAFaultComesBackAsItWas(t *testing.T) {
	for _, kind := range fault.Kinds() {
		s := serve(t, Handler(memory.New(), func(*http.Request) (Scope, error) {
			return nil, fault.Wrap(fault.Fields("spec", []fault.Detail{{Field: "a.b", Message: "is wrong"}}), "look")
		}))
		if kind != fault.Invalid {
			s = serve(t, Handler(memory.New(), func(*http.Request) (Scope, error) { return nil, fault.New(kind, "because of %s", kind) }))
		}
		_, _, err := s.List(t.Context())
		if !fault.Is(err, kind) {
			t.Errorf("%s comes back as %v", kind, err)
		}
		if e, ok := err.(*fault.Error); kind == fault.Invalid && (!ok || len(e.Details) != 1 || e.Details[0].Field != "a.b") { //nolint:errorlint
			t.Errorf("the details are lost: %+v", err)
		}
	}
}

func TestAServerThatIsNotThereIsUnavailable(t *testing.T) {
	s := Open(&http.Client{}, "http://127.0.0.1:1")
	if _, err := s.Commit(t.Context()); !fault.Is(err, fault.Unavailable) {
		t.Errorf("commit gives %v", err)
	}
	if _, err := s.Watch(t.Context(), 0); !fault.Is(err, fault.Unavailable) {
		t.Errorf("watch gives %v", err)
	}
}

func TestASilentLinkEndsTheWatch(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	gone := make(chan struct{})
	go func() { // a server that dies after its first sign of life
		defer close(gone)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		in := bufio.NewReader(c)
		for {
			if text, err := in.ReadString('\n'); err != nil || strings.TrimSpace(text) == "" {
				break
			}
		}
		_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\n" + keepaliveHeader + ": 50\r\n\r\n{}\n"))
		_, _ = in.ReadString('\n') // until the client hangs up
	}()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	w, err := Open(client, "http://"+l.Addr().String()).Watch(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-w.Changes():
	case <-time.After(10 * time.Second):
		t.Fatal("the watch does not notice")
	}
	if !fault.Is(w.Err(), fault.Unavailable) || !strings.Contains(w.Err().Error(), "nothing came") {
		t.Errorf("it ends with %v", w.Err())
	}
	<-gone
}

// TestAWatchEndsWhenItsReaderIsNotWelcomeAnyMore: a host that is removed must not go on listening.
func TestAWatchEndsWhenItsReaderIsNotWelcomeAnyMore(t *testing.T) {
	var removed atomic.Bool
	s := serve(t, newHandler(memory.New(), func(*http.Request) (Scope, error) {
		if removed.Load() {
			return nil, fault.New(fault.Denied, "it was removed")
		}
		return everything{}, nil
	}, beat))
	watch, err := s.Watch(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Stop()
	removed.Store(true)
	for range watch.Changes() { //nolint:revive // until it ends
	}
	if !fault.Is(watch.Err(), fault.Denied) {
		t.Errorf("it ended by %v", watch.Err())
	}
}

// beat is short for a test, and long enough for a host that does other things too.
const beat = 250 * time.Millisecond

func TestAnIdleLinkIsKept(t *testing.T) {
	behind := memory.New()
	s := serve(t, newHandler(behind, all, beat))
	w, err := s.Watch(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	time.Sleep(4 * beat) // a link without a sign of life ends after three
	_, _ = behind.Commit(t.Context(), store.Change{Key: resource.Ref{Kind: "x", ID: "y"}, Op: store.Put, Value: []byte("1")})
	if c, ok := <-w.Changes(); !ok || c.Revision != 1 {
		t.Errorf("got %+v, %v", c, w.Err())
	}
}

// Package etcd is the truth: a Store in an etcd that runs inside this process.
//
// Every entry is one key, /virga/records/<kind>/<project or ->/<id>; a commit is one etcd
// transaction; the store's revision is etcd's. Nothing but entries lies in it, leadership
// included, so that every revision is one commit and a leader's key can be checked in a commit.
//
// A member that is alone listens on unix sockets in its run folder only, and on no port.
package etcd

import (
	"context"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3rpc"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/store"
)

// Config says where the store lies and how it is reached.
type Config struct {
	// Dir is the folder of the data; it is made if it is not there. Whoever opens it sees to it that
	// no other process has it: the daemon holds a lock on the folder around it.
	Dir string
	// Run is the folder of the sockets. Empty: "run" below Dir.
	Run string
	// Name is this member's name among the servers. Empty: "server".
	Name string
	// ID says who leads, when this server does: the id of its host. Empty: Name.
	ID string
	// QuotaMiB is how large the data may grow. 0: 4096.
	QuotaMiB int64
	// NoSync skips the flush to disk at each commit: for tests only.
	NoSync bool

	// Fresh is true until the first records are known to be there: what a first start that was cut off
	// has left of a store is finished, not judged.
	Fresh bool

	// The rest is for a store of several servers.

	// PeerURL is where the other members reach this one, "https://10.0.0.1:2380". Empty: alone.
	PeerURL string
	// InitialCluster lists all members as etcd wants it, "a=https://…,b=https://…".
	InitialCluster string
	// Join is true for a member that was added to a cluster that runs.
	Join bool
	// PeerCert, PeerKey and PeerCA are files: members show each other certificates of this CA.
	PeerCert, PeerKey, PeerCA string
}

func (c Config) withDefaults() Config {
	if c.Run == "" {
		c.Run = filepath.Join(c.Dir, "run")
	}
	if c.Name == "" {
		c.Name = "server"
	}
	if c.ID == "" {
		c.ID = c.Name
	}
	if c.QuotaMiB == 0 {
		c.QuotaMiB = 4096
	}
	return c
}

// Store is the store. Close it before the process ends.
type Store struct {
	config   Config
	server   *embed.Etcd
	client   *clientv3.Client
	reads    pb.KVServer // what the client calls too; it has no way to read piece by piece
	sockets  string      // a folder to remove at the end; empty if it is the run folder
	guard    diskGuard
	together together

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup // watches and leaderships
	closed sync.Once

	mu        sync.Mutex
	leads     map[string]*Leadership
	reclaimed time.Time
}

var _ store.Store = (*Store)(nil)

// Open starts the store and returns when it takes commits.
func Open(ctx context.Context, c Config) (*Store, error) {
	c = c.withDefaults()
	s := &Store{config: c, guard: diskGuard{dir: c.Dir}, leads: map[string]*Leadership{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if err := s.start(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Store) start(ctx context.Context) error {
	if err := os.MkdirAll(s.config.Dir, 0o700); err != nil {
		return fault.New(fault.Internal, "make the state folder: %w", err)
	}
	if err := checkFormat(s.config.Dir); err != nil {
		return err
	}
	if err := CheckSpace(s.config.Dir); err != nil {
		return err
	}
	if Exists(s.config.Dir) && !s.config.Fresh {
		if err := Verify(s.config.Dir); err != nil {
			return err
		}
	}
	config, err := s.etcdConfig()
	if err != nil {
		return err
	}
	if s.server, err = embed.StartEtcd(config); err != nil {
		return fault.New(fault.Internal, "start the state store in %s: %w", s.config.Dir, err)
	}
	select {
	case <-s.server.Server.ReadyNotify():
	case err := <-s.server.Err():
		return fault.New(fault.Internal, "start the state store in %s: %w", s.config.Dir, err)
	case <-ctx.Done():
		return fault.New(fault.Unavailable, "start the state store in %s: %w", s.config.Dir, ctx.Err())
	}
	s.client, s.reads = v3client.New(s.server.Server), v3rpc.NewKVServer(s.server.Server)
	s.guard.begin(s.server.Server.Backend().Size())
	return nil
}

// Close ends every watch and leadership of this store, then etcd, and waits for them.
func (s *Store) Close() { s.closed.Do(s.close) }

func (s *Store) close() {
	s.mu.Lock()
	s.cancel()
	s.mu.Unlock()
	s.work.Wait()
	if s.client != nil {
		_ = s.client.Close()
	}
	if s.server != nil {
		s.server.Close()
	}
	if s.sockets != "" {
		_ = os.RemoveAll(s.sockets)
	}
}

// Err tells when etcd has failed in a way that it does not come back from.
func (s *Store) Err() <-chan error { return s.server.Err() }

// enter counts work that Close waits for; false when the store is closed.
func (s *Store) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return false
	}
	s.work.Add(1)
	return true
}

// call is enter for one call: it ends with the store, and Close waits for leave.
func (s *Store) call(ctx context.Context) (_ context.Context, leave func(), err error) {
	if !s.enter() {
		return nil, nil, fault.New(fault.Unavailable, "the state store is closed")
	}
	ctx, cancel := context.WithCancel(ctx)
	unhook := context.AfterFunc(s.ctx, cancel)
	return ctx, func() {
		unhook()
		cancel()
		s.work.Done()
	}, nil
}

func (s *Store) etcdConfig() (*embed.Config, error) {
	c := embed.NewConfig()
	c.Name, c.Dir = s.config.Name, filepath.Join(s.config.Dir, "etcd")
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(logger())
	c.QuotaBackendBytes = s.config.QuotaMiB << 20
	c.MaxTxnOps, c.MaxRequestBytes = 20_000, 32<<20
	c.AutoCompactionMode, c.AutoCompactionRetention = embed.CompactorModePeriodic, "10m"
	// How often it looks for something to write back. Commits are safe in the log; the quota sees them this late.
	c.BackendBatchInterval = 500 * time.Millisecond
	c.UnsafeNoFsync = s.config.NoSync
	c.EnableGRPCGateway = false
	if err := s.socketFolder(); err != nil {
		return nil, err
	}
	c.ListenClientUrls = []url.URL{{Scheme: "unix", Path: s.socketPath("client")}}
	c.AdvertiseClientUrls = c.ListenClientUrls
	if s.config.PeerURL == "" {
		// Nobody is told by a tick that we lead, and each wakes the processor; but a start waits one
		// to five of them for its own election.
		c.TickMs, c.ElectionMs = 100, 500
		// No member lags behind that would want the last commits, which lie in memory for it.
		c.SnapshotCatchUpEntries = 100
		// etcd binds a peer's listener to the host part alone: with the path where it belongs it
		// would open an abstract socket, which every user of the host can reach.
		c.ListenPeerUrls = []url.URL{{Scheme: "unix", Host: s.socketPath("peer")}}
		c.AdvertisePeerUrls = []url.URL{{Scheme: "unix", Path: s.socketPath("peer")}}
		c.InitialCluster = c.InitialClusterFromName(c.Name)
		return c, nil
	}
	peer, err := url.Parse(s.config.PeerURL)
	if err != nil {
		return nil, fault.New(fault.Invalid, "peer URL of the state store: %w", err)
	}
	c.ListenPeerUrls, c.AdvertisePeerUrls = []url.URL{*peer}, []url.URL{*peer}
	c.InitialCluster = s.config.InitialCluster
	if c.InitialCluster == "" {
		c.InitialCluster = c.InitialClusterFromName(c.Name)
	}
	if s.config.Join {
		c.ClusterState = embed.ClusterStateFlagExisting
	}
	c.PeerTLSInfo.CertFile, c.PeerTLSInfo.KeyFile = s.config.PeerCert, s.config.PeerKey
	c.PeerTLSInfo.TrustedCAFile, c.PeerTLSInfo.ClientCertAuth = s.config.PeerCA, s.config.PeerCA != ""
	return c, nil
}

// socketFolder makes the folder of the sockets. The kernel allows 107 letters for a socket's
// path, so that a run folder with a long name gets a short one beside it.
func (s *Store) socketFolder() error {
	if len(s.config.Run) > 85 {
		dir, err := os.MkdirTemp("", "virga-")
		if err != nil {
			return fault.New(fault.Internal, "make a folder for the state store's sockets: %w", err)
		}
		s.config.Run, s.sockets = dir, dir
	}
	if err := os.MkdirAll(s.config.Run, 0o700); err != nil {
		return fault.New(fault.Internal, "make the run folder of the state store: %w", err)
	}
	for _, name := range []string{"client", "peer"} { // left by a killed process; the folder is ours
		path := s.socketPath(name)
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fault.New(fault.Internal, "remove an old socket: %w", err)
		}
	}
	return nil
}

func (s *Store) socketPath(name string) string {
	return filepath.Join(s.config.Run, "etcd-"+name+".sock")
}

// Package embedded runs a NATS server with JetStream inside the process: the
// default way to run the engine, and what all tests use.
//
// The server syncs each write to disk before it acknowledges it (SyncAlways);
// NATS by itself would do so every two minutes only, and lose acknowledged
// writes on a power failure.
package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/gofrs/flock"
	"github.com/nats-io/nats-server/v2/server"
)

var (
	// ErrFolderInUse: another server works in the folder. The caller stops that
	// one, or names another folder.
	ErrFolderInUse = errors.New("the folder is in use by another server")

	// ErrAddrInUse: something else listens on the address. The caller stops it, or
	// names another address; port 0 takes a free one.
	ErrAddrInUse = errors.New("the address is in use")
)

const (
	defaultAddr       = "127.0.0.1:0"
	defaultMaxPayload = 8 << 20

	// lockName is the file in the folder that a running server holds locked. The
	// lock goes away with the process, however that ends; the file stays.
	lockName = "server.lock"

	// readyWithin bounds the wait for the listener. Reading the store comes
	// before, and is not counted.
	readyWithin = 30 * time.Second
)

// Config of a server.
type Config struct {
	// Addr to listen on, host:port; port 0 takes a free one. Defaults to 127.0.0.1:0.
	Addr string
	// Dir holds the streams. It is created when it is missing. Required.
	Dir string
	// NoSync leaves writes to the operating system, and to a sync every two
	// minutes. Only for tests and measurements. Defaults to false.
	NoSync bool
	// MaxPayload is the size in bytes of the largest message with its headers.
	// Defaults to 8 MiB.
	MaxPayload int32
	// Access is the part of a NATS server's configuration that says who may connect, and what they may do: its accounts and their
	// users. Account names the one with the streams; those of a folder that had no accounts become its own. Both or none are given.
	Access, Account string
	// Users are who may connect, and what they may do, where there are no accounts. Defaults to nobody in particular: then everybody
	// may do everything.
	Users []User
	// Logger gets what the server logs: its notices at debug level, its warnings
	// at warn, its errors at error. Defaults to none.
	Logger *slog.Logger
}

// User of the server, who signs what the server asks with an nkey.
type User struct {
	PublicKey string // of an nkey of kind user: U…
	// Publish and Subscribe are the subjects that it may use.
	Publish, Subscribe []string
}

// Server is a running server.
type Server struct {
	nats *server.Server
	lock *flock.Flock
	once sync.Once
}

// Start returns when the server takes connections, or why it cannot; ErrFolderInUse
// and ErrAddrInUse are told apart. It takes no signals: the program stops it.
func Start(cfg Config) (*Server, error) {
	opts, err := cfg.options()
	if err != nil {
		return nil, err
	}
	return start(cfg, opts)
}

// options of the NATS server for this configuration.
func (cfg Config) options() (*server.Options, error) {
	if cfg.Dir == "" {
		return nil, errors.New("embedded server: no folder given")
	}
	addr := cfg.Addr
	if addr == "" {
		addr = defaultAddr
	}
	host, portText, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("embedded server: address %q is not host:port: %w", addr, err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("embedded server: address %q: the port is not a number from 0 to 65535", addr)
	}
	opts := &server.Options{
		Host:                   host,
		Port:                   int(port),
		JetStream:              true,
		StoreDir:               cfg.Dir,
		SyncAlways:             !cfg.NoSync,
		MaxPayload:             cfg.MaxPayload,
		NoSigs:                 true,
		DisableJetStreamBanner: true,
	}
	if opts.Port == 0 {
		opts.Port = server.RANDOM_PORT
	}
	if opts.MaxPayload == 0 {
		opts.MaxPayload = defaultMaxPayload
	}
	for _, u := range cfg.Users {
		opts.Nkeys = append(opts.Nkeys, &server.NkeyUser{Nkey: u.PublicKey, Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: u.Publish},
			Subscribe: &server.SubjectPermission{Allow: u.Subscribe},
		}})
	}
	if (cfg.Access == "") != (cfg.Account == "") || cfg.Access != "" && len(cfg.Users) > 0 {
		return nil, errors.New("embedded server: accounts go together with the name of one, and not with users")
	}
	if cfg.Access != "" {
		if err := opts.ProcessConfigString(cfg.Access); err != nil {
			return nil, fmt.Errorf("embedded server: the accounts: %w", err)
		}
	}
	return opts, nil
}

func start(cfg Config, opts *server.Options) (_ *Server, err error) {
	if err := os.MkdirAll(cfg.Dir, 0o750); err != nil {
		return nil, fmt.Errorf("embedded server: %w", err)
	}
	s := &Server{lock: flock.New(filepath.Join(cfg.Dir, lockName))}
	locked, err := s.lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("embedded server: lock the folder %s: %w", cfg.Dir, err)
	}
	if !locked {
		return nil, fmt.Errorf("embedded server: %w: %s", ErrFolderInUse, cfg.Dir)
	}
	// From here on whatever was taken is given back on failure.
	defer func() {
		if err != nil {
			s.Shutdown()
		}
	}()
	// The server would only log that it cannot listen, so ask the system first.
	if err := probe(opts); err != nil {
		return nil, err
	}
	// Members of a cluster agree on which account a stream is in, so theirs stay.
	if opts.Cluster.Port == 0 {
		if err := cfg.adopt(); err != nil {
			return nil, err
		}
	}
	if s.nats, err = server.NewServer(opts); err != nil {
		return nil, fmt.Errorf("embedded server: %w", err)
	}
	log := newLogger(cfg.Logger)
	s.nats.SetLoggerV2(log, log.wantsDebug(), false, false)
	s.nats.Start()
	if err := log.fatal(); err != nil {
		// Between the probe and now somebody else may have taken the address.
		if probeErr := probe(opts); probeErr != nil {
			return nil, probeErr
		}
		return nil, fmt.Errorf("embedded server: %w", err)
	}
	if !s.nats.ReadyForConnections(readyWithin) {
		return nil, fmt.Errorf("embedded server: not ready within %s", readyWithin)
	}
	return s, nil
}

// adopt gives the account the streams of a server that had none: there they are in the folder of the global account. An account that
// has streams keeps its own.
func (cfg Config) adopt() error {
	if cfg.Account == "" {
		return nil
	}
	store := filepath.Join(cfg.Dir, server.JetStreamStoreDir)
	from, to := filepath.Join(store, server.DEFAULT_GLOBAL_ACCOUNT), filepath.Join(store, cfg.Account)
	if _, err := os.Stat(to); !errors.Is(err, fs.ErrNotExist) {
		return wrap(err)
	}
	if err := os.Rename(from, to); !errors.Is(err, fs.ErrNotExist) {
		return wrap(err)
	}
	return nil
}

func wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("embedded server: %w", err)
}

// probe listens on the address for a moment.
func probe(opts *server.Options) error {
	if opts.Port == server.RANDOM_PORT {
		return nil
	}
	addr := net.JoinHostPort(opts.Host, strconv.Itoa(opts.Port))
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("embedded server: %w: %s", ErrAddrInUse, addr)
	}
	if err != nil {
		return fmt.Errorf("embedded server: %w", err)
	}
	return l.Close()
}

// Addr is the address that the server listens on, host:port.
func (s *Server) Addr() string {
	if a := s.nats.Addr(); a != nil {
		return a.String()
	}
	return ""
}

// ClientURL is what a client in this machine connects to.
func (s *Server) ClientURL() string {
	host, port, err := net.SplitHostPort(s.Addr())
	if err != nil {
		return ""
	}
	// A listener on all interfaces has no address of its own.
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "nats://" + net.JoinHostPort(host, port)
}

// Shutdown stops the server, and returns when it is down and has let go of the
// folder. It may be called more than once.
func (s *Server) Shutdown() {
	s.once.Do(func() {
		if s.nats != nil {
			s.nats.Shutdown()
			s.nats.WaitForShutdown()
		}
		// The file stays behind unlocked; an error here could only say that it
		// was not locked, and there is nothing to do about it.
		_ = s.lock.Unlock()
	})
}

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"closure/handlers/httpapi"
)

// web is the HTTP server.
type web struct {
	addr             string
	flag             string // that the address comes from
	certificate, key string // files; "" for plain HTTP
	handler          http.Handler
	logger           *slog.Logger
	listener         net.Listener
	server           *http.Server
	served           chan error
}

func (w *web) Start(ctx context.Context) error {
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "tcp", w.addr)
	if err != nil {
		return fmt.Errorf("HTTP cannot listen on %s (choose another with %s): %w", w.addr, w.flag, err)
	}
	if w.certificate != "" {
		pair := &certificate{cert: w.certificate, key: w.key, logger: w.logger}
		if err := pair.load(); err != nil {
			return errors.Join(err, listener.Close())
		}
		listener = tls.NewListener(listener, &tls.Config{
			MinVersion: tls.VersionTLS12, GetCertificate: pair.get, NextProtos: []string{"h2", "http/1.1"},
		})
	}
	w.listener, w.server, w.served = listener, httpapi.NewServer(w.handler), make(chan error, 1)
	w.server.ErrorLog = slog.NewLogLogger(w.logger.Handler(), slog.LevelDebug)
	go func() { w.served <- w.server.Serve(listener) }()
	return nil
}

// url is where it listens.
func (w *web) url() string {
	scheme := "http://"
	if w.certificate != "" {
		scheme = "https://"
	}
	return scheme + w.listener.Addr().String()
}

func (w *web) Stop(ctx context.Context) error {
	if w.server == nil {
		return nil
	}
	err := w.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, w.server.Close())
	}
	<-w.served
	w.server = nil
	return err
}

// certificate is a pair of files that is read again when it has changed: certificates are renewed while the engine runs.
type certificate struct {
	cert, key string
	logger    *slog.Logger

	mu      sync.Mutex
	pair    *tls.Certificate
	changed time.Time
}

func (c *certificate) load() error {
	info, err := os.Stat(c.cert)
	if err != nil {
		return fmt.Errorf("--tls-cert: %w", err)
	}
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return fmt.Errorf("--tls-cert and --tls-key: %w", err)
	}
	c.pair, c.changed = &pair, info.ModTime()
	return nil
}

// get gives the certificate. One that cannot be read any more goes on until it can.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if info, err := os.Stat(c.cert); err != nil || !info.ModTime().Equal(c.changed) {
		if err := c.load(); err != nil {
			c.logger.Error("the certificate was changed, and cannot be read; the one before goes on", "error", err)
		}
	}
	return c.pair, nil
}

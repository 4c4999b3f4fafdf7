package embedded

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
)

// logger brings the server's log to slog, and keeps its first fatal line: the
// server reports a failed start in no other way.
type logger struct {
	to *slog.Logger

	mu    sync.Mutex
	first error
}

func newLogger(to *slog.Logger) *logger {
	if to == nil {
		to = slog.New(slog.DiscardHandler)
	}
	return &logger{to: to.With("component", "nats-server")}
}

// wantsDebug: the server is to produce its debug lines at all. They are many, so
// only when someone reads them.
func (l *logger) wantsDebug() bool {
	// One below slog's debug: the notices, which are few, go to debug already.
	return l.to.Enabled(context.Background(), levelNoise)
}

// levelNoise is for the server's own debug and trace lines.
const levelNoise = slog.LevelDebug - 4

func (l *logger) fatal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.first
}

func (l *logger) log(level slog.Level, format string, v []any) {
	// Formatting costs more than the check, and debug is off most of the time.
	if ctx := context.Background(); l.to.Enabled(ctx, level) {
		l.to.Log(ctx, level, fmt.Sprintf(format, v...))
	}
}

func (l *logger) Noticef(format string, v ...any) { l.log(slog.LevelDebug, format, v) }
func (l *logger) Warnf(format string, v ...any)   { l.log(slog.LevelWarn, format, v) }
func (l *logger) Errorf(format string, v ...any)  { l.log(slog.LevelError, format, v) }
func (l *logger) Debugf(format string, v ...any)  { l.log(levelNoise, format, v) }
func (l *logger) Tracef(format string, v ...any)  { l.log(levelNoise, format, v) }

func (l *logger) Fatalf(format string, v ...any) {
	l.mu.Lock()
	if l.first == nil {
		l.first = fmt.Errorf(format, v...)
	}
	l.mu.Unlock()
	l.log(slog.LevelError, format, v)
}

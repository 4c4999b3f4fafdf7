// Package readmodel keeps the lists of the API, in a SQLite file of its own: accounts, account groups and reports of a
// client or of one of its users, sorted and in pages (CONTRACT: Lists); the closings, filtered by what operators ask for;
// and which account an order is in.
//
// What it promises:
//
//   - The file is a copy, the log is the truth. A file that is missing, damaged, of another log or ahead of its log is
//     deleted and built from the log again. It MAY be deleted at any time while the model is stopped.
//   - Rows and position are written in one transaction: however a process ends, the rows are those of the log up to the
//     position, and the model goes on from there.
//   - A row is the resource as the domain renders it right after a commit: lists cannot say anything else than events and
//     single reads do.
//   - A list MAY lag behind the log; it MUST NOT show one client anything of another. A page and its total are of one moment.
//     The one list of every client is that of the closings, for operators; OrderAccount does not lag.
//   - Position, WaitFor and Lag speak of what the lists show, whichever file that comes from.
//   - A start takes as long whatever the size of file and log. That every page of the file is sound is looked at afterwards.
//
// # A new shape
//
// A file of a former version goes on serving while a new one is built beside it (its name with ".new" behind), whose position
// is a checkpoint, too: a process that ends on the way goes on from there. Once the new file has caught up it takes the place and
// the name of the former one. So that this is honest:
//
//   - The code has the queries of one shape only, the present one. Whether the rows of a former version mean the same to
//     them is said by whoever changes the shape (readableSince), and what a file has not, a table or a column, SQLite says: a list
//     that needs it is unavailable until the new file serves, and the other lists are there. Keeping old queries instead would mean to
//     keep code that only runs for minutes, once, and that nobody would test again.
//   - When the present statements can write to the former file it is kept up to date meanwhile: a list that stands still for the
//     minutes of a rebuild would show accounts that closed as open, and no order placed in that time could be found. Such a file
//     has rows of two versions, and says so (stamp), so that a program of the former version never takes it for its own.
//   - When they cannot, it stands still: its position stays, Lag grows, and WaitFor waits for the new file.
//   - A file of a newer version does not serve: nobody here knows what its rows mean.
//
// Each engine has a file of its own, and one Model at a time works on a file.
package readmodel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"closure/eventstore"
)

// maxBatch is the most commits in one transaction: enough for its price to vanish, and little enough for a batch to be
// quick, since a stop waits for the one in hand.
const maxBatch = 1000

var (
	// errNotRunning: the model was not started, did not get as far, or is stopped.
	errNotRunning = errors.New("the read model is not running")
	// errNoFile: a file was found damaged, or is just being exchanged. The next try may well find one.
	errNoFile = fmt.Errorf("%w: the lists have no file at this moment", eventstore.ErrUnavailable)
	// errNotBuilt: the file of a former version does not have this list.
	errNotBuilt = fmt.Errorf("%w: this list is being built", eventstore.ErrUnavailable)
)

// Config of a Model.
type Config struct {
	// Path of the database file; its folder is created when it is missing. Required.
	Path string
	// Log that is followed. Required.
	Log *eventstore.Log
	// Logger gets rebuilds, and commits that cannot be taken. Defaults to none.
	Logger *slog.Logger
}

// Model follows the log into the lists, and reads them. It may be used from many goroutines.
type Model struct {
	cfg   Config
	shape shape
	at    signal
	// reportEvery is reportEvery, but in tests.
	reportEvery time.Duration

	life    sync.Mutex // held by Start and Stop
	started atomic.Bool
	ended   bool
	keeping context.Context // ended: the keeper ends
	end     context.CancelFunc
	kept    chan struct{} // closed: the keeper has ended

	gate    sync.RWMutex // held for reading by whoever reads the file, and for writing while another one takes its place
	running bool
	serves  *line // what the lists are read from; nil: nothing
	builds  *line // for the keeper, and for Stop after it

	shown  *progress     // what the lists show
	whole  atomic.Uint64 // from where on they are whole: the end of the log when the file was opened
	ending chan struct{} // closed: the model has stopped
}

// signal tells tests where the model is, and lets them hold it there; an error is that of the step. nil but in tests.
type signal func(ctx context.Context, point string, position uint64) error

func (s signal) tell(ctx context.Context, point string, position uint64) error {
	if s == nil {
		return nil
	}
	return s(ctx, point, position)
}

// New makes a model. Start starts it.
func New(cfg Config) *Model {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.Logger = cfg.Logger.With("projection", "readmodel")
	return &Model{
		cfg: cfg, shape: shape{version: schemaVersion, since: readableSince},
		reportEvery: reportEvery, shown: newProgress(), kept: make(chan struct{}), ending: make(chan struct{}),
	}
}

// Start opens the file, or creates it anew when it cannot be used, and follows the log from the file's position on. It
// returns when lists can be read; they catch up with the log in the background (Lag, WaitFor, Ready). A log that does not
// answer is eventstore.ErrUnavailable. The context is for the start only; Stop ends it. A model can be started once.
func (m *Model) Start(ctx context.Context) error {
	m.life.Lock()
	defer m.life.Unlock()
	if m.ended || m.started.Load() {
		return errors.New("read model: it can be started once, and not after a stop")
	}
	l, err := m.open(ctx, nil)
	if err == nil {
		err = m.follow(ctx, l)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("read model: %w", err), l.close())
	}
	m.gate.Lock()
	m.running, m.serves = true, l
	m.gate.Unlock()
	m.started.Store(true)
	m.keeping, m.end = context.WithCancel(context.Background())
	go func() {
		defer close(m.kept)
		m.keep(m.keeping)
	}()
	return nil
}

// Stop finishes the batch in hand, or cuts it short when the context ends, and closes the file. What was cut short is
// done again after the next start. It may be called more than once, and before Start.
func (m *Model) Stop(ctx context.Context) error {
	m.life.Lock()
	defer m.life.Unlock()
	if m.ended || !m.started.Load() {
		m.ended = true
		return nil
	}
	m.ended = true
	m.end()
	<-m.kept
	err := errors.Join(m.builds.stop(ctx), m.serves.stop(ctx)) // the keeper was the one to change them
	m.gate.Lock()
	defer m.gate.Unlock()
	err = errors.Join(err, m.builds.close(), m.serves.close())
	m.running, m.serves, m.builds = false, nil, nil
	close(m.ending)
	if err != nil {
		return fmt.Errorf("read model: %w", err)
	}
	return nil
}

// Position is the sequence of the last commit that the lists show; 0 for none, and before Start. It goes back only when a
// file turns out to be damaged.
func (m *Model) Position() uint64 { return m.shown.position() }

// WaitFor returns when the lists show the commit with the sequence, or when the context ends or the model stops, which
// is the error.
func (m *Model) WaitFor(ctx context.Context, seq uint64) error {
	m.gate.RLock()
	running := m.running
	m.gate.RUnlock()
	if !running && m.shown.position() < max(seq, 1) {
		return errNotRunning
	}
	return m.shown.wait(ctx, m.ending, seq)
}

// Lag is the number of commits in the log that the lists do not show yet.
func (m *Model) Lag(ctx context.Context) (uint64, error) {
	if !m.started.Load() {
		return 0, errNotRunning
	}
	last, err := m.cfg.Log.LastSequence(ctx)
	if err != nil {
		return 0, err
	}
	return last - min(last, m.Position()), nil
}

// Ready tells whether the lists can be asked: nil, or why not. They can when they show the log as it was when the file was
// opened, and also when that never comes since a file of a former version serves, until the new one is built.
func (m *Model) Ready() error {
	m.gate.RLock()
	defer m.gate.RUnlock()
	switch position, whole := m.shown.position(), m.whole.Load(); {
	case !m.running:
		return errNotRunning
	case m.serves == nil:
		return errNoFile
	case position < whole && !m.serves.db.former:
		return fmt.Errorf("the lists are being built: %d of %d commits", position, whole)
	}
	return nil
}

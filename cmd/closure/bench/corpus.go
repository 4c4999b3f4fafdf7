package bench

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/replay"
)

// actor is who asks in all that is measured.
const actor = "custody"

// instruments that the accounts hold.
var instruments = []string{"US0378331005", "DE0007164600", "IE00B4L5Y983", "DE000BASF111", "US5949181045"}

// story is an account as the log has it: opened, then one position after the other.
type story struct {
	ref                 domain.Ref
	client, user, group string
	version             int
	hash                string // of the last commit
}

func (b *bench) newStory() *story {
	return &story{ref: domain.Ref{Kind: domain.KindAccount, ID: b.ids.next()}, client: b.ids.next(), user: b.ids.next(), group: b.ids.next()}
}

// holding is what a position recorded at a revision looks like.
func holding(revision int) domain.RecordPosition {
	return domain.RecordPosition{
		ISIN: instruments[revision%len(instruments)], Quantity: domain.Decimal(strconv.Itoa(revision)), PendingSettlement: "0", Revision: int64(revision),
	}
}

// next is the commit that follows, as the domain decides it and the engine writes it.
func (s *story) next(ids *idSource, now time.Time) (eventstore.Commit, error) {
	command, events := "open", []domain.Event{
		domain.AccountOpened{
			AccountGroupID: s.group, Type: domain.Trading, Name: "Savings", AccountNumber: 1,
			Users: []domain.Party{{ID: s.user, Type: domain.Owner}},
		},
		domain.Activated{},
	}
	if s.version > 0 {
		command, events = "record_position", []domain.Event{domain.PositionRecorded(holding(s.version))}
	}
	raw, err := replay.Encode(s.ref.Kind, events)
	if err != nil {
		return eventstore.Commit{}, err
	}
	commandID := ids.next()
	s.version++
	return eventstore.Commit{
		ID:        replay.CommitID(s.ref.Kind, s.ref.ID, s.version, commandID),
		Aggregate: string(s.ref.Kind), AggregateID: s.ref.ID, ClientID: s.client, Version: s.version,
		Command: command, CommandID: commandID, Actor: actor, Time: now, Events: raw, PrevHash: s.hash,
	}, nil
}

// fill writes a log of accounts with CommitsEach commits each. They come in cohorts, one after the other, within which they take
// turns: what happens to an account happens within some days, while it happens to others, too.
//
// It is a true log: every hash, every link and every event is right. It is written past the engine, without guards and without
// waiting for each answer, since nobody else writes.
func (b *bench) fill(ctx context.Context, a *arena, accounts int) error {
	size := b.cfg.Sizes
	b.say("writing a log of %s commits of %s accounts", thousands(accounts*size.CommitsEach), thousands(accounts))
	w, err := newLogWriter(a, b.ids)
	if err != nil {
		return err
	}
	defer w.js.CleanupPublisher()
	stories := make([]*story, accounts)
	for i := range stories {
		stories[i] = b.newStory()
		a.accounts = append(a.accounts, stories[i].ref)
	}
	for cohort := range slices.Chunk(stories, size.Cohort) {
		if err := w.write(ctx, cohort, size.CommitsEach); err != nil {
			return err
		}
	}
	return w.finish(ctx, a.log, accounts*size.CommitsEach)
}

// logWriter publishes commits into a log, past the engine.
type logWriter struct {
	js     jetstream.JetStream
	ids    *idSource
	failed atomic.Pointer[error] // the last answer that was an error
}

func newLogWriter(a *arena, ids *idSource) (*logWriter, error) {
	w := &logWriter{ids: ids}
	var err error
	w.js, err = jetstream.New(a.engine, jetstream.WithPublishAsyncErrHandler(func(_ jetstream.JetStream, _ *nats.Msg, err error) { w.failed.Store(&err) }))
	return w, err
}

// write so many commits of each account, in turn.
func (w *logWriter) write(ctx context.Context, stories []*story, commits int) error {
	for range commits {
		for _, s := range stories {
			if err := w.publish(s); err != nil {
				return err
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

func (w *logWriter) publish(s *story) error {
	commit, err := s.next(w.ids, time.Now().UTC())
	if err != nil {
		return err
	}
	body, err := commit.Encode()
	if err != nil {
		return err
	}
	s.hash = eventstore.HashOf(body)
	_, err = w.js.PublishMsgAsync(&nats.Msg{
		Subject: eventstore.LogSubject(commit.Aggregate, commit.AggregateID), Data: body,
		Header: nats.Header{eventstore.HeaderHash: {s.hash}, jetstream.MsgIDHeader: {commit.ID}},
	}, jetstream.WithStallWait(patience))
	return err
}

// finish waits for the last answer, and checks that the log has as many commits as were written.
func (w *logWriter) finish(ctx context.Context, log *eventstore.Log, want int) error {
	select {
	case <-w.js.PublishAsyncComplete():
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := w.failed.Load(); err != nil {
		return fmt.Errorf("write a log to measure: %w", *err)
	}
	last, err := log.LastSequence(ctx)
	if err == nil && last != uint64(want) {
		err = fmt.Errorf("the log has %d commits, %d were written", last, want)
	}
	return err
}

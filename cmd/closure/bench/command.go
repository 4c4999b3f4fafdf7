package bench

import (
	"context"
	"fmt"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"closure/domain"
	"closure/eventstore"
	"closure/handlers"
)

// accountsOfAGroup that are opened for the commands.
const accountsOfAGroup = 16

// counter gives the numbers of account groups without a bucket on the server.
type counter struct{ last atomic.Uint64 }

func (c *counter) Next(context.Context) (uint64, error) { return 1_000_000 + c.last.Add(1), nil }

// desk is an engine with open accounts in its cache, to which custody reports positions.
type desk struct {
	engine *handlers.Engine
	ids    *idSource
	client string
	lanes  [][]*held
}

// held is an account with the revision of its last position.
type held struct {
	ref      domain.Ref
	revision int
}

func (b *bench) openDesk(ctx context.Context, a *arena, inFlight int) (*desk, error) {
	d := &desk{
		engine: handlers.New(handlers.Config{Log: a.log, SecuritiesAccountNumbers: &counter{}}),
		ids:    b.ids, client: b.ids.next(), lanes: make([][]*held, inFlight),
	}
	opened := make([]*held, b.subjects(inFlight))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(growthInFlight)
	for first := 0; first < len(opened); first += accountsOfAGroup {
		some := opened[first:min(first+accountsOfAGroup, len(opened))]
		group.Go(func() error { return d.open(ctx, some) })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for i, h := range opened {
		d.lanes[i%inFlight] = append(d.lanes[i%inFlight], h)
	}
	return d, nil
}

// open a group with accounts, and put a position into each of their instruments.
func (d *desk) open(ctx context.Context, into []*held) error {
	group := domain.Ref{Kind: domain.KindAccountGroup, ID: d.ids.next()}
	parties := []domain.Party{{ID: d.ids.next(), Type: domain.Owner}}
	if err := d.do(ctx, group, &domain.OpenAccountGroup{Users: parties, Type: "PERSONAL", Domicile: "DE"}); err != nil {
		return err
	}
	for i := range into {
		h := &held{ref: domain.Ref{Kind: domain.KindAccount, ID: d.ids.next()}}
		into[i] = h
		if err := d.do(ctx, h.ref, &domain.OpenAccount{AccountGroupID: group.ID, Type: domain.Trading, Name: "Savings"}); err != nil {
			return err
		}
		for range instruments {
			if err := d.record(ctx, h); err != nil {
				return err
			}
		}
	}
	return nil
}

// record the next position of an account.
func (d *desk) record(ctx context.Context, h *held) error {
	h.revision++
	p := holding(h.revision)
	return d.do(ctx, h.ref, &p)
}

// do a command, which has to be accepted.
func (d *desk) do(ctx context.Context, target domain.Ref, p domain.Payload) error {
	out, err := d.engine.Do(ctx, domain.Command{Target: target, ID: d.ids.next(), ClientID: d.client, Actor: actor, Payload: p})
	if err != nil {
		return err
	}
	if out.Result != handlers.Accepted {
		return fmt.Errorf("%s of %s %s was %s", p.CommandName(), target.Kind, target.ID, out.Result)
	}
	return nil
}

func (d *desk) command(ctx context.Context, worker, i int) error {
	return d.record(ctx, d.lanes[worker][i%len(d.lanes[worker])])
}

// lastBody is the body of the newest commit of one of the accounts, as it is stored.
func (d *desk) lastBody(ctx context.Context, log *eventstore.Log) ([]byte, error) {
	ref := d.lanes[0][0].ref
	commits, err := log.Load(ctx, string(ref.Kind), ref.ID, 0)
	if err != nil {
		return nil, err
	}
	return commits[len(commits)-1].Encode()
}

// commandFigure: positions of open accounts, whose states are in the cache: validate, decide, append, fold.
func (b *bench) commandFigure(n int) Figure {
	return b.judgedHere(Figure{
		ID: fmt.Sprintf("command_%d", n), Name: fmt.Sprintf("command, %s, %d in flight", b.syncName("default sync"), n), Unit: "commands/s",
		Baseline: guarded, Target: atLeast(0.7), on: []setting{ordinary},
		prepare: func(ctx context.Context, b *bench) (sides, error) {
			a, err := b.arena(ctx, ordinary)
			if err != nil {
				return sides{}, err
			}
			d, err := b.openDesk(ctx, a, n)
			if err != nil {
				return sides{}, err
			}
			body, err := d.lastBody(ctx, a.log)
			if err != nil {
				return sides{}, err
			}
			return b.besidePublishes(ctx, a, inFlight(n, d.command), body, n)
		},
	})
}

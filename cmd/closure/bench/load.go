package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/replay"
	"closure/eventstore/verify"
)

// coldLoad: one load after the other of an account drawn at random. Both sides read the same log, and find as much of it in the
// server's memory.
func coldLoad(ctx context.Context, b *bench) (sides, error) {
	a, err := b.filled(ctx, large, b.cfg.Sizes.LargeAccounts)
	if err != nil {
		return sides{}, err
	}
	s := sides{
		engine: b.loads(a), baseline: b.rawLoads(a),
		note: func() string {
			return fmt.Sprintf("the commits of an account lie within %s of the log; the wider they are spread, the more the server reads for either side",
				thousands(b.cfg.Sizes.Cohort*b.cfg.Sizes.CommitsEach))
		},
	}
	return s, a.visit(ctx)
}

func (a *arena) someAccount() domain.Ref { return a.accounts[rand.IntN(len(a.accounts))] }

// visit loads accounts from one end of the log to the other, so that the server has looked at each of its blocks. When nobody
// has for two minutes, it forgets which subjects are in a block, and the first load pays for that, whoever it is of.
func (a *arena) visit(ctx context.Context) error {
	const visits = 150
	for i := 0; i < len(a.accounts); i += max(1, len(a.accounts)/visits) {
		if _, _, err := replay.Load(ctx, a.log.Load, a.accounts[i]); err != nil {
			return err
		}
	}
	return nil
}

// loads reads whole accounts as the engine does when they are not in its cache: decode, verify hashes and links, fold.
func (b *bench) loads(a *arena) side {
	want := b.cfg.Sizes.CommitsEach
	return func(ctx context.Context) (float64, error) {
		return measure(ctx, b.slice(), inFlight(1, func(ctx context.Context, _, _ int) error {
			state, head, err := replay.Load(ctx, a.log.Load, a.someAccount())
			if err == nil && (head.Version != want || !state.Exists()) {
				err = fmt.Errorf("the load of an account gave version %d of %d", head.Version, want)
			}
			return err
		}))
	}
}

// rawLoads reads the same accounts by the plain side.
func (b *bench) rawLoads(a *arena) side {
	want := b.cfg.Sizes.CommitsEach
	return func(ctx context.Context) (float64, error) {
		return measure(ctx, b.slice(), inFlight(1, func(ctx context.Context, _, _ int) error {
			ref := a.someAccount()
			n, err := rawLoad(ctx, a.plain, eventstore.LogSubject(string(ref.Kind), ref.ID))
			if err == nil && n != want {
				err = fmt.Errorf("the direct get of an account gave %d messages of %d", n, want)
			}
			return err
		}))
	}
}

// loadGrowth: the same cold load on a long log and on a short one. What the plain side loses by the length is what the server
// takes, and no engine could get back.
func loadGrowth(ctx context.Context, b *bench) (sides, error) {
	long, short, err := b.bothLengths(ctx)
	if err != nil {
		return sides{}, err
	}
	if err := errors.Join(long.visit(ctx), short.visit(ctx)); err != nil {
		return sides{}, err
	}
	raw, err := alternate(ctx, 2, patience, sides{engine: b.rawLoads(long), baseline: b.rawLoads(short)})
	if err != nil {
		return sides{}, err
	}
	kept := (raw[0].engine + raw[1].engine) / (raw[0].baseline + raw[1].baseline)
	return sides{
		engine: b.loads(long), baseline: b.loads(short),
		note: func() string {
			return fmt.Sprintf("the raw batched direct get has a ratio of %.2f here: that is the server's part", kept)
		},
	}, nil
}

// replayAll reads the whole log as a projection does that is built anew: in order, decoded, each hash and each link verified,
// every account folded.
func replayAll(ctx context.Context, b *bench) (sides, error) {
	a, err := b.filled(ctx, large, b.cfg.Sizes.LargeAccounts)
	if err != nil {
		return sides{}, err
	}
	last, err := a.log.LastSequence(ctx)
	if err != nil {
		return sides{}, err
	}
	all := amount{most: int(last)}
	return sides{
		engine: func(ctx context.Context) (float64, error) {
			return measure(ctx, all, func(ctx context.Context, t *turn) error {
				err := follow(ctx, a, last)
				t.begun.Store(int64(last))
				return err
			})
		},
		baseline: func(ctx context.Context) (float64, error) {
			return measure(ctx, all, func(ctx context.Context, t *turn) error {
				err := rawRead(ctx, a.plainJS, last)
				t.begun.Store(int64(last))
				return err
			})
		},
		note: func() string {
			return "a follower with the states of all accounts in memory, without a projection behind it"
		},
	}, nil
}

// follow the log from its beginning up to a sequence, and fold it.
func follow(ctx context.Context, a *arena, last uint64) error {
	states := replay.NewTracker(a.log, len(a.accounts)+1)
	failed := make(chan error, 1)
	f := eventstore.NewFollower(a.log, eventstore.FollowerConfig{Handle: func(ctx context.Context, commits []eventstore.Recorded) error {
		for _, c := range commits {
			if _, _, err := states.After(ctx, c); err != nil {
				select {
				case failed <- err: // it would be tried again for ever
				default:
				}
				return err
			}
		}
		return nil
	}})
	if err := f.Start(ctx); err != nil {
		return err
	}
	waiting, cancel := context.WithCancel(ctx)
	arrived := make(chan error, 1)
	go func() { arrived <- f.WaitFor(waiting, last) }()
	var err error
	select {
	case err = <-failed:
		cancel()
		<-arrived
	case err = <-arrived:
	}
	cancel()
	if stopErr := f.Stop(context.WithoutCancel(ctx)); err == nil {
		err = stopErr
	}
	return err
}

// verifyAll is what `closure verify` does, which is more than a replay: every commit is also written anew and decided anew.
func verifyAll(ctx context.Context, b *bench) (sides, error) {
	a, err := b.filled(ctx, large, b.cfg.Sizes.LargeAccounts)
	if err != nil {
		return sides{}, err
	}
	return sides{
		engine: func(ctx context.Context) (float64, error) {
			var report verify.Report
			perSecond, err := measure(ctx, amount{}, func(ctx context.Context, t *turn) error {
				src, err := verify.OpenStream(ctx, a.engine, verify.Scope{To: uint64(b.cfg.Sizes.Verified)})
				if err != nil {
					return err
				}
				report, err = verify.Run(ctx, src, verify.Config{Judge: judge})
				t.begun.Store(int64(report.Commits))
				return err
			})
			if err == nil && !report.OK {
				err = fmt.Errorf("the log that was measured is broken: %d problems, the first is %s", report.Count, report.Problems[0])
			}
			return perSecond, err
		},
		note: func() string { return "every commit is also written anew, and every decision decided anew" },
	}, nil
}

// judge is replay.Judge without its types.
func judge(before any, c eventstore.Recorded) (any, error) {
	state, _ := before.(domain.Aggregate)
	return replay.Judge(state, c)
}

package bench

import (
	"fmt"
	"time"
)

// slowDisk is what an fsync costs where sharing one has to pay.
const slowDisk = 500 * time.Microsecond

// sharedSync is the target of many appends at once with sync always: several times the plain side where the disk is what takes
// the time, and nowhere slower than it.
func sharedSync(m Machine) float64 {
	if m.FsyncSeconds >= slowDisk.Seconds() {
		return 5
	}
	return 0.9
}

// guarded is the plain side of whatever appends.
const guarded = "guarded publishes"

// figures lists all rows, in the order of the table. Those that need the same server stand together.
func (b *bench) figures() []Figure {
	s := b.cfg.Sizes
	load := fmt.Sprintf("cold load of %d events", s.CommitsEach)
	commits, few := thousands(s.LargeAccounts*s.CommitsEach), thousands(s.SmallAccounts*s.CommitsEach)
	inLarge, arrivals := ", log of "+commits, &latency{}
	return []Figure{
		b.appendFigure(1, atLeast(0.9)),
		b.appendFigure(16, atLeast(0.9)),
		b.appendFigure(256, sharedSync),
		b.appendFigure(1024, sharedSync),
		b.commandFigure(64),
		b.commandFigure(256),
		{
			ID: "disk_per_closed_account", Name: "disk per closed account", Unit: "bytes", Rounds: 1, prepare: diskPerClosing,
		},
		{
			ID: "cold_load", Name: load + inLarge, Unit: "loads/s",
			Baseline: "raw batched direct get", Target: atLeast(0.7), on: []setting{large}, prepare: coldLoad,
		},
		{
			ID: "replay", Name: "replay (decode, verify, fold)" + inLarge, Unit: "commits/s",
			Baseline: "raw ordered consumer", Target: atLeast(0.5), Rounds: s.ReplayRounds, on: []setting{large}, prepare: replayAll,
		},
		{
			ID: "verify", Name: fmt.Sprintf("closure verify of %s commits", thousands(s.Verified)), Unit: "commits/s", Rounds: 1, on: []setting{large}, prepare: verifyAll,
		},
		{
			ID: "memory_per_aggregate", Name: "memory per cached aggregate", Unit: "bytes", Rounds: 1, on: []setting{large}, prepare: memoryPerAggregate,
		},
		{
			ID: "append_growth", Name: fmt.Sprintf("growth: append, %d in flight", growthInFlight) + inLarge, Unit: "commits/s",
			Baseline: "same, log of " + few, Target: atLeast(0.7), on: []setting{large, small}, prepare: appendGrowth,
		},
		{
			ID: "cold_load_growth", Name: "growth: " + load + inLarge, Unit: "loads/s",
			Baseline: "same, log of " + few, Target: atLeast(0.7), on: []setting{large, small}, prepare: loadGrowth,
		},
		deliveryFigure(), arrivals.figure(50), arrivals.figure(99),
	}
}

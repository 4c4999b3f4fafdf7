package main

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"closure/domain"
	"closure/eventstore/timer"
	"closure/handlers"
)

// collectWithin bounds a collection: what does not answer in time is left out of it.
const collectWithin = 5 * time.Second

// gathered are the figures that the engine has anyhow, and those that cost a question. When a question is not answered, its
// figure is absent: an old or a made up one would hide that.
type gathered struct {
	*vitals
	engine *handlers.Engine
	timers *timer.Service
}

func figure(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

var (
	descReady         = figure("closure_ready", "1 while the engine is ready, as /readyz says; else 0.")
	descConnected     = figure("closure_nats_connected", "1 while there is a connection to NATS; else 0.")
	descReconnects    = figure("closure_nats_reconnects_total", "How often the connection to NATS was lost, and made again.")
	descLookups       = figure("closure_cache_lookups_total", "Look-ups in the cache of aggregates.", "result")
	descEntries       = figure("closure_cache_entries", "Aggregates in the cache.")
	descCommits       = figure("closure_log_commits_total", "Commits that this engine stored, alone or in a batch with others.", "way")
	descBatches       = figure("closure_log_batches_total", "Batches of commits: stored, or refused since a guard in them failed.", "outcome")
	descLast          = figure("closure_log_last_sequence", "The last sequence of the log.")
	descPosition      = figure("closure_projection_position", "The sequence up to which a projection has worked off the log.", "projection")
	descLag           = figure("closure_projection_lag_commits", "Commits of the log that a projection has not worked off.", "projection")
	descClosings      = figure("closure_closings", "Closings that were asked for, by status.", "status")
	descBlocked       = figure("closure_blocked_closings", "Closings that a blocker stands against.", "blocker")
	descSubscriptions = figure("closure_webhook_subscriptions", "Webhook subscriptions.", "state")
	descFailing       = figure("closure_webhook_endpoints_failing", "Subscriptions whose endpoint has failed since its last success.")
	descWaiting       = figure("closure_webhook_events_waiting", "Events that endpoints have not taken yet, of all subscriptions.")
	descInbox         = figure("closure_inbox_commands_waiting", "Commands that are not settled; aside: too early for what they are about.", "queue")
	descTimersSet     = figure("closure_timers_set_total", "Timers that this engine set.")
	descTimersFired   = figure("closure_timers_fired_total", "Timers that came due, and that this engine handled.")
	descTimersDue     = figure("closure_timers_due", "Timers whose time has come, and that are not handled yet.")
)

// Describe sends what there may be.
func (g gathered) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descReady, descConnected, descReconnects, descLookups, descEntries, descCommits, descBatches, descLast, descPosition, descLag,
		descClosings, descBlocked, descSubscriptions, descFailing, descWaiting, descInbox, descTimersSet, descTimersFired, descTimersDue,
	} {
		ch <- d
	}
}

// Collect asks all questions at once.
func (g gathered) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), collectWithin)
	defer cancel()
	var asked sync.WaitGroup
	for _, part := range []func(context.Context, chan<- prometheus.Metric){
		g.state, g.counters, g.progress, g.closingsOf, g.webhooks, g.queued,
	} {
		asked.Go(func() { part(ctx, ch) })
	}
	asked.Wait()
}

func gauge[N int | int64 | uint64](ch chan<- prometheus.Metric, d *prometheus.Desc, value N, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(value), labels...)
}

func total(ch chan<- prometheus.Metric, d *prometheus.Desc, value uint64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), labels...)
}

func oneIf(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

func (g gathered) state(ctx context.Context, ch chan<- prometheus.Metric) {
	gauge(ch, descReady, oneIf(g.ready(ctx) == nil))
	gauge(ch, descConnected, oneIf(g.log.Conn().IsConnected()))
	total(ch, descReconnects, g.log.Conn().Stats().Reconnects)
}

func (g gathered) counters(_ context.Context, ch chan<- prometheus.Metric) {
	cache, group, timers := g.engine.CacheStats(), g.log.GroupStats(), g.timers.Stats()
	total(ch, descLookups, cache.Hits, "hit")
	total(ch, descLookups, cache.Misses, "miss")
	gauge(ch, descEntries, cache.Entries)
	total(ch, descCommits, group.Alone, "alone")
	total(ch, descCommits, group.Grouped, "batch")
	total(ch, descBatches, group.Batches, "stored")
	total(ch, descBatches, group.Refused, "refused")
	total(ch, descTimersSet, timers.Set)
	total(ch, descTimersFired, timers.Fired)
}

func (g gathered) progress(ctx context.Context, ch chan<- prometheus.Metric) {
	last, err := g.last.get(ctx)
	if err == nil {
		gauge(ch, descLast, last)
	}
	for _, p := range g.projections {
		position := p.position()
		gauge(ch, descPosition, position, p.name)
		if err == nil {
			gauge(ch, descLag, last-min(last, position), p.name)
		}
	}
}

func (g gathered) closingsOf(ctx context.Context, ch chan<- prometheus.Metric) {
	counts, err := g.closings.get(ctx)
	if err != nil {
		return
	}
	for _, status := range []domain.Status{domain.StatusClosing, domain.StatusLocked, domain.StatusClosed} {
		gauge(ch, descClosings, counts.ByStatus[status], string(status))
	}
	for _, blocker := range domain.BlockerCodes() {
		gauge(ch, descBlocked, counts.ByBlocker[blocker], string(blocker))
	}
}

func (g gathered) webhooks(ctx context.Context, ch chan<- prometheus.Metric) {
	stats, err := g.hooks.get(ctx)
	if err != nil {
		return
	}
	gauge(ch, descSubscriptions, stats.Subscriptions-stats.Disabled, "enabled")
	gauge(ch, descSubscriptions, stats.Disabled, "disabled")
	gauge(ch, descFailing, stats.Failing)
	gauge(ch, descWaiting, stats.Waiting)
}

func (g gathered) queued(ctx context.Context, ch chan<- prometheus.Metric) {
	waiting, err := g.waiting.get(ctx)
	if err != nil {
		return
	}
	gauge(ch, descInbox, waiting.Inbox, "inbox")
	gauge(ch, descInbox, waiting.Aside, "aside")
	gauge(ch, descTimersDue, waiting.TimersDue)
}

package webhooks

import (
	"slices"
	"time"
)

// take looks at how a package went.
func (b *byResource) take(r result) error {
	delete(b.flight, r.p)
	if r.out.Failure == "" {
		b.succeeded(r)
		return nil
	}
	if b.cut(r.out) {
		b.log.Info("webhooks: an attempt was cut short by the end of the engine")
		return nil
	}
	return b.failedPackage(r)
}

func (b *byResource) succeeded(r result) {
	number := 1
	for _, resource := range r.p.resources() {
		number = max(number, b.lanes[resource].attempts+1)
		delete(b.lanes, resource)
	}
	clear(b.down)
	b.probes, b.hold = 0, time.Time{}
	b.delivered(r.p, r.out, number)
	if b.stuck != 0 && slices.ContainsFunc(r.p.items, func(it *item) bool { return it.seq == b.stuck }) {
		b.stuck = 0
	}
	if !b.state.failing() {
		return
	}
	if oldest := b.oldest(); oldest != nil {
		// The endpoint takes others; what is failing now has been for as long as its oldest resource.
		if b.stuck == 0 {
			b.state.Attempts, b.state.FailingSince, b.state.LastSequence = oldest.attempts, oldest.since, oldest.failed[0].seq
		}
		b.state.NextAttempt = time.Time{}
		return
	}
	if b.stuck < b.lowest() {
		b.stuck = 0
		b.s.recovered(b.sub, &b.state)
	}
}

// failedPackage has the resources of a package tried again, each for itself: one of them may be what the endpoint does not
// take.
func (b *byResource) failedPackage(r result) error {
	b.down[r.p.first().resource] = true
	now, attempts := time.Now(), 1
	since := b.s.now()
	for _, resource := range r.p.resources() {
		l := b.lanes[resource]
		l.busy = false
		l.failed = nil
		for _, it := range r.p.items {
			if it.resource == resource {
				l.failed = append(l.failed, it)
			}
		}
		if b.stuck != 0 && slices.ContainsFunc(l.failed, func(it *item) bool { return it.seq == b.stuck }) {
			l.attempts, l.since, b.stuck = b.state.Attempts, b.state.FailingSince, 0 // another session has found it failing
		}
		l.attempts++
		if l.since.IsZero() {
			l.since = since
		}
		l.next = now.Add(b.s.waitAfter(l.attempts, r.out))
		attempts = max(attempts, l.attempts)
	}
	b.dropWaiting()
	if r.out.RetryAfter > 0 {
		b.hold = now.Add(min(r.out.RetryAfter, longestWait))
	}
	if b.isDown() {
		b.probes++
		b.hold = later(b.hold, now.Add(b.s.waitAfter(b.probes, r.out)))
	}
	b.refused(r.p, r.out, attempts, b.nextAttempt().Sub(now))
	if oldest := b.oldest(); b.stuck == 0 {
		b.state.Attempts, b.state.FailingSince, b.state.LastSequence = oldest.attempts, oldest.since, oldest.failed[0].seq
	}
	b.state.NextAttempt = time.Time{}
	if !b.hold.IsZero() {
		b.state.NextAttempt = b.s.now().Add(b.hold.Sub(now))
	}
	b.s.failed(b.sub, &b.state, r.out)
	if r.out.Gone {
		b.s.gone(b.sub, b.state)
		return errAgain
	}
	return nil
}

// nextAttempt is when the next resource is tried again.
func (b *byResource) nextAttempt() time.Time {
	var at time.Time
	for _, l := range b.lanes {
		if len(l.failed) > 0 && !l.busy {
			at = earlier(at, l.next)
		}
	}
	return later(at, b.hold)
}

// dropWaiting drops the bodies of events that wait behind failures, which may be for long.
func (b *byResource) dropWaiting() {
	for _, it := range b.queue {
		if l := b.lanes[it.resource]; l != nil && len(l.failed) > 0 {
			it.body = nil
		}
	}
}

// oldest is the lane that has been failing the longest; nil for none.
func (b *byResource) oldest() *lane {
	var oldest *lane
	for _, l := range b.lanes {
		if len(l.failed) > 0 && (oldest == nil || l.since.Before(oldest.since) ||
			l.since.Equal(oldest.since) && l.failed[0].seq < oldest.failed[0].seq) {
			oldest = l
		}
	}
	return oldest
}

// lowest is the first event that waits, is under way, or will come.
func (b *byResource) lowest() uint64 {
	lowest := b.seq + 1
	for p := range b.flight {
		lowest = min(lowest, p.first().seq)
	}
	for _, it := range b.queue {
		lowest = min(lowest, it.seq)
	}
	return lowest
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

package eventstore

import "sync"

// lanes hands commits to the handler in parallel across aggregates, in order
// within each.
type lanes struct {
	t     *term
	slots chan struct{} // one for each call of the handler
	wg    sync.WaitGroup

	mu     sync.Mutex
	queues map[string][]Recorded // by subject; an entry exists while its lane runs
	mark   uint64                // every commit up to here is handled
	ahead  map[uint64]struct{}   // handled above the mark
}

// runParallel takes commits and puts each one into the lane of its aggregate.
func (t *term) runParallel(next uint64) {
	l := &lanes{
		t:      t,
		slots:  make(chan struct{}, t.f.cfg.Parallel),
		queues: map[string][]Recorded{},
		mark:   next - 1,
		ahead:  map[uint64]struct{}{},
	}
	defer l.wg.Wait()
	for {
		batch := t.take(next)
		if len(batch) == 0 {
			return
		}
		for _, c := range batch {
			// The window bounds what is held in memory, and what is handled again
			// after a crash.
			if c.Sequence > window && t.f.WaitFor(t.taking, c.Sequence-window) != nil {
				return
			}
			l.put(c)
		}
		next = batch[len(batch)-1].Sequence + 1
	}
}

// put a commit into its lane, and set the lane going when it does not run.
func (l *lanes) put(c Recorded) {
	subject := LogSubject(c.Aggregate, c.AggregateID)
	l.mu.Lock()
	defer l.mu.Unlock()
	queue, running := l.queues[subject]
	l.queues[subject] = append(queue, c)
	if !running {
		l.wg.Go(func() { l.run(subject) })
	}
}

// run a lane until it is empty, or the term ends.
func (l *lanes) run(subject string) {
	for {
		batch := l.next(subject)
		if len(batch) == 0 || !l.t.handle(batch, l.slots) {
			return
		}
		l.finished(batch)
	}
}

// next takes what waits in the lane. An empty lane goes away; the next commit of
// its aggregate makes a new one.
func (l *lanes) next(subject string) []Recorded {
	l.mu.Lock()
	defer l.mu.Unlock()
	queue := l.queues[subject]
	if len(queue) == 0 {
		delete(l.queues, subject)
		return nil
	}
	n := min(len(queue), l.t.f.cfg.MaxBatch)
	l.queues[subject] = queue[n:]
	return queue[:n:n]
}

// finished moves the mark over everything that is handled without a gap.
func (l *lanes) finished(batch []Recorded) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range batch {
		l.ahead[c.Sequence] = struct{}{}
	}
	for {
		if _, ok := l.ahead[l.mark+1]; !ok {
			break
		}
		l.mark++
		delete(l.ahead, l.mark)
	}
	l.t.f.advance(l.mark)
}

package eventstore

import (
	"runtime"
	"time"
)

// What tests need of the inside of the group commit.

// GroupAlways shares a batch whenever two wait, on whatever server.
func (l *Log) GroupAlways() {
	l.group.mu.Lock()
	defer l.group.mu.Unlock()
	l.group.policy = always{}
}

type always struct{}

func (always) pays(n int, _ time.Time) bool           { return n > 1 }
func (always) unsure(time.Time) (int, bool)           { return 0, false }
func (always) sawAlone(time.Duration, int, time.Time) {}
func (always) sawBatch(int, time.Duration, time.Time) {}

// HoldGroup makes all appends queue until they are released; then those that wait
// share a batch.
func (l *Log) HoldGroup() (release func()) {
	l.group.mu.Lock()
	defer l.group.mu.Unlock()
	// The committer of the batch before has answered, and may not have ended yet.
	for l.group.busy {
		l.group.mu.Unlock()
		runtime.Gosched()
		l.group.mu.Lock()
	}
	l.group.busy = true
	return func() { go l.group.commit() }
}

// Queued is how many appends wait for company.
func (l *Log) Queued() int {
	l.group.mu.Lock()
	defer l.group.mu.Unlock()
	return len(l.group.queue)
}

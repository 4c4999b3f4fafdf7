package eventstore

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// feedLimit and feedBytes bound what waits to be handled. What does not fit is
	// read from the log when its turn comes. Of a durable follower less waits: what it
	// has not handled within redeliverAfter comes again.
	feedLimit        = 4096
	feedLimitDurable = 1024
	feedBytes        = 16 << 20
)

// delivered is a message as the consumer delivered it. It is decoded when its
// turn comes.
type delivered struct {
	seq     uint64
	subject string
	header  nats.Header
	body    []byte
}

// feed holds what was delivered and not yet taken, in ascending order, and the
// highest sequence that the log is known to have.
type feed struct {
	limit int

	mu    sync.Mutex
	queue []delivered
	bytes int
	known uint64

	grown chan struct{} // one token: there may be something to take
	taken chan struct{} // one token: there may be room
}

func newFeed(limit int) *feed {
	return &feed{limit: limit, grown: make(chan struct{}, 1), taken: make(chan struct{}, 1)}
}

// announce that the log has this sequence.
func (f *feed) announce(seq uint64) {
	f.mu.Lock()
	f.known = max(f.known, seq)
	f.mu.Unlock()
	signal(f.grown)
}

// offer a message. It is kept when it is ahead of all others and there is room.
func (f *feed) offer(d delivered) {
	f.mu.Lock()
	f.known = max(f.known, d.seq)
	if len(f.queue) < f.limit && f.bytes < feedBytes &&
		(len(f.queue) == 0 || f.queue[len(f.queue)-1].seq < d.seq) {
		f.queue = append(f.queue, d)
		f.bytes += len(d.body)
	}
	f.mu.Unlock()
	signal(f.grown)
}

// take removes the messages from next on that follow on each other, at most limit.
// None with known at next or above means that the log has to be read.
func (f *feed) take(next uint64, limit int) (run []delivered, known uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer signal(f.taken)
	for len(f.queue) > 0 && f.queue[0].seq < next {
		f.drop()
	}
	run = make([]delivered, 0, min(limit, len(f.queue)))
	for len(f.queue) > 0 && len(run) < limit && f.queue[0].seq == next+uint64(len(run)) {
		run = append(run, f.drop())
	}
	return run, f.known
}

// drop the first message. The lock is held.
func (f *feed) drop() delivered {
	d := f.queue[0]
	f.queue[0] = delivered{} // lets go of the body
	f.queue = f.queue[1:]
	f.bytes -= len(d.body)
	return d
}

// waitRoom returns how many messages fit; 0 when there was no room in time.
func (f *feed) waitRoom(ctx context.Context, within time.Duration) int {
	timer := time.NewTimer(within)
	defer timer.Stop()
	for {
		f.mu.Lock()
		room := f.limit - len(f.queue)
		if f.bytes >= feedBytes {
			room = 0
		}
		f.mu.Unlock()
		if room > 0 {
			return room
		}
		select {
		case <-f.taken:
		case <-timer.C:
			return 0
		case <-ctx.Done():
			return 0
		}
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // a token is there already
	}
}

// receipts are where to acknowledge what was delivered: the latest delivery of
// each sequence, for the server ignores an acknowledgement that is older than
// the last one it took.
type receipts struct {
	mu    sync.Mutex
	reply map[uint64]string
}

func newReceipts() *receipts { return &receipts{reply: map[uint64]string{}} }

func (r *receipts) add(seq uint64, reply string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reply[seq] = reply
}

// upTo removes the receipts up to a sequence, and returns the one of the highest:
// it acknowledges all below it.
func (r *receipts) upTo(seq uint64) (reply string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var best uint64
	for s, to := range r.reply {
		if s > seq {
			continue
		}
		if s >= best {
			best, reply = s, to
		}
		delete(r.reply, s)
	}
	return reply
}

// returnRest gives one message that was not handled back to the server, so that
// another instance gets something at once, and with it begins.
func (r *receipts) returnRest(nc *nats.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, reply := range r.reply {
		// A failure means that the other one begins a little later.
		_ = nc.Publish(reply, []byte("-NAK"))
		return
	}
}

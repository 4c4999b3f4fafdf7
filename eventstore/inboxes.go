package eventstore

import (
	"sync"

	"github.com/nats-io/nats.go"
)

// inboxesKept is how many inboxes wait to be used again: each has half a megabyte of room for messages that nobody has taken yet.
const inboxesKept = 8

// inboxes are where the answers of direct gets come in. To make one costs more than a whole load of some commits: the client clears
// its room, and the server takes it into its list of interest and out again.
type inboxes struct {
	mu   sync.Mutex
	free []*nats.Subscription
}

// take gives an inbox that nobody else uses.
func (i *inboxes) take(nc *nats.Conn) (*nats.Subscription, error) {
	i.mu.Lock()
	if last := len(i.free) - 1; last >= 0 {
		sub := i.free[last]
		i.free = i.free[:last]
		i.mu.Unlock()
		return sub, nil
	}
	i.mu.Unlock()
	return nc.SubscribeSync(nc.NewInbox())
}

// giveBack an inbox. Only one whose answers have ended can be used again: into any other, late ones could come.
func (i *inboxes) giveBack(sub *nats.Subscription, ended bool) {
	if ended {
		i.mu.Lock()
		keep := len(i.free) < inboxesKept
		if keep {
			i.free = append(i.free, sub)
		}
		i.mu.Unlock()
		if keep {
			return
		}
	}
	_ = sub.Unsubscribe() // an error means that the connection is gone: so is the subscription
}

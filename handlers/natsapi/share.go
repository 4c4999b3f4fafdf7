package natsapi

import (
	"errors"
	"sync"
)

// maxOfClient is how many requests of one client are in hand at a time, so that one that floods the engine leaves room for the
// others. The durable inbox takes what comes, and works it off in its order: there a client waits behind itself, and behind those
// whose aggregates are in the same partition.
const maxOfClient = maxRequests * 3 / 4

// errShare: the client has its share of the requests in hand. Nothing was done.
var errShare = errors.New("too many requests of the client in hand")

// shares counts the requests in hand of each client.
type shares struct {
	mu     sync.Mutex
	inHand map[string]int
}

// take counts one more, unless there are too many; leave gives it back.
func (s *shares) take(clientID string) (leave func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inHand[clientID] >= maxOfClient {
		return nil, false
	}
	if s.inHand == nil {
		s.inHand = map[string]int{}
	}
	s.inHand[clientID]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.inHand[clientID]--; s.inHand[clientID] == 0 {
			delete(s.inHand, clientID)
		}
	}, true
}

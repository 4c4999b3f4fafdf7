package readmodel

import (
	"context"
	"fmt"
	"sync"
)

// progress is a position that can be waited for.
type progress struct {
	mu    sync.Mutex
	at    uint64
	moved chan struct{} // closed, and made anew, when it moves
}

func newProgress() *progress { return &progress{moved: make(chan struct{})} }

func (p *progress) position() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at
}

// move to a position.
func (p *progress) move(to uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if to == p.at {
		return
	}
	p.at = to
	close(p.moved)
	p.moved = make(chan struct{})
}

// wait for a position, or for the context or the model to end, which is the error.
func (p *progress) wait(ctx context.Context, ended <-chan struct{}, wanted uint64) error {
	for {
		p.mu.Lock()
		at, moved := p.at, p.moved
		p.mu.Unlock()
		if at >= wanted {
			return nil
		}
		select {
		case <-moved:
		case <-ended:
			return fmt.Errorf("wait for sequence %d at %d: %w", wanted, at, errNotRunning)
		case <-ctx.Done():
			return fmt.Errorf("wait for sequence %d at %d: %w", wanted, at, ctx.Err())
		}
	}
}

package webhooks

import (
	"context"
	"encoding/json"
)

// Ensure makes the consumer of a subscription fit an entry of the bucket with a revision, as a process does whose view of
// the bucket may be behind.
func (s *Service) Ensure(ctx context.Context, clientID string, entry []byte, revision uint64) error {
	var sub subscription
	if err := json.Unmarshal(entry, &sub); err != nil {
		return err
	}
	sub.clientID, sub.revision = clientID, revision
	return s.ensureConsumer(ctx, sub)
}

// ErrGone is what Ensure says of a deleted subscription.
var ErrGone = errGone

// How many packages of a subscription may be under way, and delivered and not settled.
const (
	Parallel  = parallel
	Unsettled = unsettled
)

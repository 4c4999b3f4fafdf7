package webhooks

import (
	"context"
	"time"

	"closure/projections/webhooks/signing"
)

const (
	// DefaultOverlap is for how long the secret before signs as well after a rotation, and MaxOverlap is the longest.
	DefaultOverlap = 24 * time.Hour
	MaxOverlap     = 7 * 24 * time.Hour
)

// RotateSecret gives a subscription a new secret, and shows it this once: it is Current of what was stored. The one before it,
// Previous, signs as well until PreviousUntil, so that the receiver has the time to take the new one; an overlap of 0 is none,
// for a secret that was given away. Errors: *domain.Refusal (NotFound, Invalid), eventstore.ErrUnavailable, after which it may
// have been rotated.
func (s *Service) RotateSecret(ctx context.Context, clientID, id string, overlap time.Duration) (signing.Secrets, error) {
	if overlap < 0 || overlap > MaxOverlap {
		return signing.Secrets{}, invalid("overlap", "must be a duration from 0s to %s, got %s", MaxOverlap, overlap)
	}
	id, err := checkID(clientID, id)
	if err != nil {
		return signing.Secrets{}, err
	}
	sub, err := s.change(ctx, clientID, id, func(sub *subscription) error {
		sub.Secrets = sub.Secrets.Rotate(s.wall(), overlap)
		return nil
	})
	return sub.Secrets, err
}

// wall is the time that receivers go by.
func (s *Service) wall() time.Time { return time.Now().UTC().Round(0) }

// ensureSecret gives a secret to a subscription from before there were secrets. Nobody knows it; whoever wants to verify by
// one rotates it. Until then the engine's own signatures are what a receiver can verify.
func (s *Service) ensureSecret(ctx context.Context, sub subscription) (subscription, error) {
	if s.cfg.Signer == nil || !sub.Secrets.Current.IsZero() {
		return sub, nil
	}
	return s.change(ctx, sub.clientID, sub.ID, func(sub *subscription) error {
		if sub.Secrets.Current.IsZero() {
			sub.Secrets = sub.Secrets.Rotate(s.wall(), 0)
		}
		return nil
	})
}

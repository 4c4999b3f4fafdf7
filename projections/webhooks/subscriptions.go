package webhooks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/retry"
	"closure/projections/webhooks/signing"
)

const (
	// changeTries bounds the attempts of Update while others change the same subscription.
	changeTries = 20
	// callWithin bounds each step of a call that is repeated until the server answers.
	callWithin = 10 * time.Second
)

// Created is a subscription that was just made.
type Created struct {
	domain.Webhook
	// Secret verifies its requests. It is shown this once; RotateSecret gives another one.
	Secret signing.Secret
}

// Create makes a subscription and keeps the secret to itself; see CreateWithSecret.
func (s *Service) Create(ctx context.Context, clientID string, w domain.Webhook) (domain.Webhook, error) {
	made, err := s.CreateWithSecret(ctx, clientID, w)
	return made.Webhook, err
}

// CreateWithSecret makes a subscription. It assigns the id, the times and the secret. When it returns the subscription is
// stored and its consumer stands: it gets every event that is published from then on. Errors: *domain.Refusal (Invalid),
// eventstore.ErrUnavailable.
func (s *Service) CreateWithSecret(ctx context.Context, clientID string, w domain.Webhook) (Created, error) {
	w.DisabledReason = ""
	w = w.WithDefaults()
	if err := s.validate(w); err != nil {
		return Created{}, err
	}
	// The client's id becomes a token of subjects: a "*" there would be every client's events.
	if id, err := domain.ParseID(clientID); err != nil || id != clientID {
		return Created{}, fmt.Errorf("create a webhook: the client id %q is not a lower-case uuid", clientID)
	}
	w.ID = uuid.NewString()
	w.CreatedAt = s.now()
	w.UpdatedAt = w.CreatedAt
	from, err := s.nextSequence(ctx)
	if err != nil {
		return Created{}, err
	}
	secrets := signing.Secrets{Current: signing.NewSecret()}
	sub, err := s.write(ctx, subscription{Webhook: w, FromSequence: from, Secrets: secrets, clientID: clientID})
	if err != nil {
		return Created{}, err
	}
	if err := s.settleConsumer(ctx, sub); err != nil {
		return Created{}, errors.Join(err, s.withdraw(ctx, sub))
	}
	s.apply(sub)
	return Created{Webhook: sub.Webhook, Secret: secrets.Current}, nil
}

// validate refuses what cannot be delivered to.
func (s *Service) validate(w domain.Webhook) error {
	if err := w.Validate(); err != nil {
		return err
	}
	if err := s.sender.CheckURL(w.URL); err != nil {
		return invalid("url", "%s", err)
	}
	return nil
}

// nextSequence is the sequence of the next event that will be published.
func (s *Service) nextSequence(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	stream, err := retry.Insist(ctx, func(ctx context.Context) (jetstream.Stream, error) { return s.js.Stream(ctx, eventstore.StreamEvents) })
	if err != nil {
		return 0, eventstore.Unavailable("find where a webhook begins", err)
	}
	return stream.CachedInfo().State.LastSeq + 1, nil
}

// withdraw takes back a subscription that nobody was told of. Should that fail, too, it stays, and the list shows it.
func (s *Service) withdraw(ctx context.Context, sub subscription) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishWithin)
	defer cancel()
	return s.remove(ctx, sub.clientID, sub.ID)
}

// settleConsumer makes the consumer fit, and waits for that.
func (s *Service) settleConsumer(ctx context.Context, sub subscription) error {
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	var err error
	for p := newPause(); ; {
		if err = s.ensureConsumer(ctx, sub); err == nil || !retry.Transient(err) || p.Wait(ctx) != nil {
			break
		}
	}
	if errors.Is(err, errGone) {
		return missing(sub.ID)
	}
	if err != nil {
		return eventstore.Unavailable("make the consumer of a webhook", err)
	}
	return nil
}

// Get gives a subscription as it is now. Errors: *domain.Refusal (NotFound, also for another client's), eventstore.ErrUnavailable.
func (s *Service) Get(ctx context.Context, clientID, id string) (domain.Webhook, error) {
	id, err := checkID(clientID, id)
	if err != nil {
		return domain.Webhook{}, err
	}
	sub, err := s.read(ctx, clientID, id)
	return sub.Webhook, err
}

// checkID gives the form of an id in which it is stored. What could not be one is not there.
func checkID(clientID, id string) (string, error) {
	parsed, err := domain.ParseID(id)
	if err != nil {
		return "", missing(id)
	}
	if client, err := domain.ParseID(clientID); err != nil || client != clientID {
		return "", missing(id)
	}
	return parsed, nil
}

// List gives a page of the client's subscriptions, and how many there are in all. It shows what this process has accepted
// at once, and what others have a moment later.
func (s *Service) List(_ context.Context, clientID string, page domain.Page) ([]domain.Webhook, int, error) {
	if _, err := s.bucket(); err != nil {
		return nil, 0, err
	}
	page = page.WithDefaults()
	all := []domain.Webhook{}
	for _, sub := range s.known() {
		if sub.clientID == clientID {
			sub.Type, sub.ExcludeType = slices.Clone(sub.Type), slices.Clone(sub.ExcludeType)
			all = append(all, sub.Webhook)
		}
	}
	slices.SortFunc(all, func(a, b domain.Webhook) int {
		order := cmp.Or(compare(page.Sort, a, b), strings.Compare(a.ID, b.ID))
		if page.Order == domain.Descending {
			return -order
		}
		return order
	})
	from := min(max(page.Offset, 0), len(all))
	to := min(from+page.Limit, len(all))
	return all[from:to], len(all), nil
}

// compare by what a list is sorted by.
func compare(by domain.Sort, a, b domain.Webhook) int {
	switch by {
	case domain.SortUpdatedAt:
		return a.UpdatedAt.Compare(b.UpdatedAt)
	case domain.SortID:
		return 0 // the ids break the tie
	}
	return a.CreatedAt.Compare(b.CreatedAt)
}

// Update applies change to the present subscription, again when others have changed it meanwhile. Id and creation stay as
// they are; what changes nothing is not written. A new type holds for what the endpoint has not been offered yet, a new
// URL from the next attempt on. Errors: that of change as it is, *domain.Refusal (NotFound, Invalid),
// eventstore.ErrUnavailable, after which the change may have been made; repeating it is safe.
func (s *Service) Update(ctx context.Context, clientID, id string, change func(domain.Webhook) (domain.Webhook, error)) (domain.Webhook, error) {
	id, err := checkID(clientID, id)
	if err != nil {
		return domain.Webhook{}, err
	}
	sub, err := s.change(ctx, clientID, id, func(sub *subscription) error { return s.update(sub, change) })
	return sub.Webhook, err
}

// update applies a client's change to a subscription.
func (s *Service) update(sub *subscription, change func(domain.Webhook) (domain.Webhook, error)) error {
	before := sub.Webhook
	// change may write into the lists that it is given.
	given := before
	given.Type, given.ExcludeType = slices.Clone(before.Type), slices.Clone(before.ExcludeType)
	after, err := change(given)
	if err != nil {
		return err
	}
	after.ID, after.CreatedAt, after.UpdatedAt, after.DisabledReason = before.ID, before.CreatedAt, before.UpdatedAt, before.DisabledReason
	after = after.WithDefaults()
	if err := after.Validate(); err != nil {
		return err
	}
	if after.URL != before.URL { // one from before the rules were as they are may stay; it is checked at each attempt
		if err := s.validate(after); err != nil {
			return err
		}
	}
	sub.Webhook = after
	return nil
}

// change changes the entry of a subscription, again when others have changed it meanwhile; one that stays as it was is not
// written. When it returns the change has taken effect. Errors: that of apply as it is, *domain.Refusal (NotFound),
// eventstore.ErrUnavailable, after which the change may have been made.
func (s *Service) change(ctx context.Context, clientID, id string, apply func(*subscription) error) (subscription, error) {
	for range changeTries {
		sub, err := s.tryChange(ctx, clientID, id, apply)
		if !errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
			return sub, err
		}
	}
	return subscription{}, fmt.Errorf("%w: the webhook %s was changed by others %d times in a row", eventstore.ErrUnavailable, id, changeTries)
}

func (s *Service) tryChange(ctx context.Context, clientID, id string, apply func(*subscription) error) (subscription, error) {
	before, err := s.read(ctx, clientID, id)
	if err != nil {
		return subscription{}, err
	}
	after := before
	if err := apply(&after); err != nil {
		return subscription{}, err
	}
	if !reflect.DeepEqual(before, after) {
		if !reflect.DeepEqual(before.Webhook, after.Webhook) {
			after.UpdatedAt = s.now()
		}
		if after, err = s.write(ctx, after); err != nil {
			return subscription{}, err
		}
	}
	s.apply(after)
	return after, s.settleConsumer(ctx, after)
}

// Delete ends a subscription: its events are delivered no more, and what it had not got is not kept for it. A request that
// is under way is finished. Errors: *domain.Refusal (NotFound), eventstore.ErrUnavailable, after which it may be gone.
func (s *Service) Delete(ctx context.Context, clientID, id string) error {
	id, err := checkID(clientID, id)
	if err != nil {
		return err
	}
	if _, err := s.read(ctx, clientID, id); err != nil {
		return err
	}
	return s.remove(ctx, clientID, id)
}

// remove deletes the entry, and then what follows from it.
func (s *Service) remove(ctx context.Context, clientID, id string) error {
	kv, err := s.bucket()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	_, err = retry.Insist(ctx, func(ctx context.Context) (struct{}, error) { return struct{}{}, kv.Delete(ctx, key(clientID, id)) })
	if err != nil {
		return eventstore.Unavailable("delete the subscription", err)
	}
	s.drop(id)
	s.forgetState(ctx, clientID, id)
	// From here on it is deleted. Whatever process runs it cleans up as well, and so does every start.
	if err := s.removeConsumer(ctx, id); err != nil {
		s.cfg.Logger.Warn("webhooks: cannot remove the consumer of a deleted webhook at once", "webhook", id, "error", err)
	}
	return nil
}

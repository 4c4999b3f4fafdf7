package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/bucket"
	"closure/eventstore/retry"
)

const (
	// DefaultOverlap is how long the secret before a rotation stays valid, unless told otherwise.
	DefaultOverlap = 24 * time.Hour
	// changeTries bounds how often a change is made anew since somebody else was faster.
	changeTries = 8
	// maxKeys bounds the keys of a client.
	maxKeys = 10
)

// NewClient is what a client is made of.
type NewClient struct {
	// ID is a uuid. Defaults to a new one.
	ID     string
	Name   string
	Scopes Set
	Rate   Rate
}

// client is the client as it begins, and its secret.
func (n NewClient) client(now time.Time) (Client, string) {
	if n.ID == "" {
		n.ID = uuid.NewString()
	}
	first, secret := newSecret(now)
	return Client{ID: n.ID, Name: n.Name, Scopes: n.Scopes, Rate: n.Rate, Secrets: []Secret{first}, CreatedAt: now, UpdatedAt: now}, secret
}

// Add registers a client, and gives it its secret, which is not shown again. It is in force in this process when it returns,
// in the others a moment later. Errors: ErrClientExists, ErrInvalidClient; eventstore.ErrUnavailable, after which it may be
// registered, but nobody knows its secret: rotate.
func (c *Clients) Add(ctx context.Context, given NewClient) (added Client, secret string, err error) {
	kv, err := c.opened()
	if err != nil {
		return Client{}, "", eventstore.Unavailable("add a client", err)
	}
	first, secret := given.client(c.now())
	e, err := newEntry(first)
	if err != nil {
		return Client{}, "", fmt.Errorf("%w: %w", ErrInvalidClient, err)
	}
	if old, there := c.find(e.ID); there && old.file {
		return Client{}, "", ErrClientExists
	}
	value, err := json.Marshal(e.Client)
	if err != nil {
		return Client{}, "", err
	}
	e.revision, err = retry.Once(ctx, func(ctx context.Context) (uint64, error) { return kv.Create(ctx, clientKey+e.ID, value) })
	if bucket.Conflict(err) {
		return Client{}, "", ErrClientExists
	}
	if err != nil {
		return Client{}, "", eventstore.Unavailable("add a client", err)
	}
	c.apply(e)
	return e.copy(), secret, nil
}

// Rotate gives a client a new secret, which is not shown again. The one before stays valid for the overlap, and so do the
// tokens that were got with it; with an overlap of 0 they end now. A secret from before that ends now in any case. Errors:
// ErrUnknownClient, ErrFromFile, ErrInvalidClient; eventstore.ErrUnavailable, after which it may be rotated, but nobody knows
// the new secret: rotate again.
func (c *Clients) Rotate(ctx context.Context, id string, overlap time.Duration) (changed Client, secret string, err error) {
	if overlap < 0 {
		return Client{}, "", fmt.Errorf("%w: overlap: must be 0 or more, got %s", ErrInvalidClient, overlap)
	}
	changed, err = c.change(ctx, id, func(client *Client) error {
		var next Secret
		next, secret = newSecret(c.now())
		client.Secrets = rotated(client.Secrets, next, next.CreatedAt, overlap)
		return nil
	})
	if err != nil {
		return Client{}, "", err
	}
	return changed, secret, nil
}

// SetDisabled disables or enables a client. Its tokens are refused from now on, and valid again when it is enabled before
// they expire. Errors: ErrUnknownClient, ErrFromFile; eventstore.ErrUnavailable, after which it may be changed.
func (c *Clients) SetDisabled(ctx context.Context, id string, disabled bool) (Client, error) {
	return c.change(ctx, id, func(client *Client) error {
		client.Disabled = disabled
		return nil
	})
}

// AddKey registers a public key: from now on the client must sign. Errors: ErrUnknownClient, ErrFromFile, ErrInvalidClient
// for a key that cannot be used or whose id is taken; eventstore.ErrUnavailable, after which it may be registered.
func (c *Clients) AddKey(ctx context.Context, id string, key Key) (Client, error) {
	return c.change(ctx, id, func(client *Client) error {
		if len(client.Keys) >= maxKeys {
			return fmt.Errorf("%w: it has %d keys already: remove one first", ErrInvalidClient, maxKeys)
		}
		client.Keys = append(client.Keys, key)
		return nil
	})
}

// RemoveKey ends a key. With the last one ends that the client must sign. Errors: ErrUnknownClient, ErrFromFile,
// ErrInvalidClient when there is no such key; eventstore.ErrUnavailable, after which it may be removed.
func (c *Clients) RemoveKey(ctx context.Context, id, keyID string) (Client, error) {
	return c.change(ctx, id, func(client *Client) error {
		before := len(client.Keys)
		client.Keys = slices.DeleteFunc(client.Keys, func(k Key) bool { return k.KeyID == keyID })
		if len(client.Keys) == before {
			return fmt.Errorf("%w: it has no key with the id %s", ErrInvalidClient, domain.Quote(keyID))
		}
		return nil
	})
}

// change reads a client, changes it and writes it, again when somebody else was faster. It does not repeat a write that was
// not answered: its outcome is unknown.
func (c *Clients) change(ctx context.Context, id string, f func(*Client) error) (Client, error) {
	kv, err := c.opened()
	if err != nil {
		return Client{}, eventstore.Unavailable("change a client", err)
	}
	if id, err = domain.ParseID(id); err != nil {
		return Client{}, fmt.Errorf("%w: id: %w", ErrInvalidClient, err)
	}
	if e, there := c.find(id); there && e.file {
		return Client{}, ErrFromFile
	}
	for range changeTries {
		var e *entry
		if e, err = c.changeOnce(ctx, kv, id, f); err == nil {
			c.apply(e)
			return e.copy(), nil
		}
		if !bucket.Conflict(err) {
			break
		}
	}
	switch {
	case errors.Is(err, ErrInvalidClient):
		return Client{}, err
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return Client{}, ErrUnknownClient
	}
	return Client{}, eventstore.Unavailable("change a client", err)
}

func (c *Clients) changeOnce(ctx context.Context, kv jetstream.KeyValue, id string, f func(*Client) error) (*entry, error) {
	stored, err := retry.Once(ctx, func(ctx context.Context) (jetstream.KeyValueEntry, error) { return kv.Get(ctx, clientKey+id) })
	if err != nil {
		return nil, err
	}
	old, err := decodeClient(stored.Value(), stored.Revision())
	if err != nil {
		return nil, fmt.Errorf("%w: its entry cannot be read: %w", ErrInvalidClient, err)
	}
	client := old.copy()
	if err := f(&client); err != nil {
		return nil, err
	}
	client.UpdatedAt = c.now()
	e, err := newEntry(client)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidClient, err)
	}
	value, err := json.Marshal(e.Client)
	if err != nil {
		return nil, err
	}
	e.revision, err = retry.Once(ctx, func(ctx context.Context) (uint64, error) {
		return kv.Update(ctx, clientKey+id, value, stored.Revision())
	})
	return e, err
}

// now is the time of a change: UTC, and equal to itself after it was stored and read.
func (c *Clients) now() time.Time { return c.cfg.Now().UTC().Round(0) }

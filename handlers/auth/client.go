package auth

import (
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"closure/domain"
)

// maxName bounds the name of a client, in characters.
const maxName = 100

// Client is one that may call the engine, as it is kept.
type Client struct {
	// ID is the tenant: a uuid in its canonical form.
	ID string `json:"id"`
	// Name is for people.
	Name string `json:"name"`
	// Scopes are what its tokens may have. A token of another issuer is limited to them when there are any.
	Scopes Set `json:"scopes"`
	// Secrets are those that are valid, the newest first.
	Secrets []Secret `json:"secrets"`
	// Keys verify its signatures. A client that has one must sign.
	Keys []Key `json:"keys,omitempty"`
	// Disabled: it is refused, and so are its tokens, at once.
	Disabled bool `json:"disabled,omitempty"`
	// Rate is how often it may come.
	Rate Rate `json:"rate,omitzero"`
	// CreatedAt and UpdatedAt are of the registry; zero for a client of the file.
	CreatedAt time.Time `json:"created_at,omitzero"`
	UpdatedAt time.Time `json:"updated_at,omitzero"`
}

// Rate is how often a client may come.
type Rate struct {
	// PerSecond is the number of requests a second in the long run. 0 means the default of the engine.
	PerSecond float64 `json:"per_second,omitempty" yaml:"per_second,omitempty"`
	// Burst is how many may come at once. 0 means the default of the engine.
	Burst int `json:"burst,omitempty" yaml:"burst,omitempty"`
}

func (r Rate) validate() error {
	switch {
	case r.PerSecond < 0 || math.IsNaN(r.PerSecond) || math.IsInf(r.PerSecond, 0):
		return fmt.Errorf("rate: per_second: must be more than 0, or 0 for the default, got %g", r.PerSecond)
	case r.Burst < 0:
		return fmt.Errorf("rate: burst: must be 1 or more, or 0 for the default, got %d", r.Burst)
	}
	return nil
}

// entry is a client that was checked, ready for use. It is never changed.
type entry struct {
	Client
	secrets  []known
	keys     map[string]crypto.PublicKey // by keyid
	revision uint64                      // in the bucket; 0 for one of the file
	file     bool
	gone     bool // it was deleted
}

// newEntry checks a client. The error tells everything that is wrong with it, and shows no secret.
func newEntry(c Client) (*entry, error) {
	e := &entry{Client: c, keys: map[string]crypto.PublicKey{}}
	var errs []error
	id, err := domain.ParseID(c.ID)
	if err != nil {
		errs = append(errs, fmt.Errorf("id: %w", err))
	}
	e.ID = id
	errs = append(errs, checkName(c.Name), c.Rate.validate())
	e.Secrets = nil
	for i, secret := range c.Secrets {
		hash, err := secret.hash()
		if err != nil {
			errs = append(errs, fmt.Errorf("secrets[%d]: %w", i, err))
			continue
		}
		e.Secrets = append(e.Secrets, secret)
		e.secrets = append(e.secrets, known{secret, hash})
	}
	e.secrets = padded(e.secrets)
	e.Keys = nil
	for i, key := range c.Keys {
		complete, public, err := key.completed()
		if err == nil && e.keys[key.KeyID] != nil {
			err = fmt.Errorf("keyid: %s is there already", domain.Quote(key.KeyID))
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("keys[%d]: %w", i, err))
			continue
		}
		e.Keys = append(e.Keys, complete)
		e.keys[key.KeyID] = public
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return e, nil
}

func checkName(name string) error {
	n := utf8.RuneCountInString(name)
	if n < 1 || n > maxName || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return fmt.Errorf("name: must be 1 to %d characters, and no control ones, got %s", maxName, domain.Quote(name))
	}
	return nil
}

// hasSecret tells whether a secret with this id is valid.
func (e *entry) hasSecret(id string, now time.Time) bool {
	for _, one := range e.Secrets {
		if one.id() == id && one.validAt(now) {
			return true
		}
	}
	return false
}

// decodeClient reads an entry of the bucket. Members that are not known are of a newer engine.
func decodeClient(value []byte, revision uint64) (*entry, error) {
	var c Client
	if err := json.Unmarshal(value, &c); err != nil {
		return nil, err
	}
	e, err := newEntry(c)
	if err != nil {
		return nil, err
	}
	e.revision = revision
	return e, nil
}

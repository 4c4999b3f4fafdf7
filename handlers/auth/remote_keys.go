package auth

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	// fetchWithin bounds one fetch of a JWK set.
	fetchWithin = 5 * time.Second
	// fetchEvery is the least time between two fetches: tokens with made-up key ids do not make us knock without end.
	fetchEvery = 10 * time.Second
	// fetchAgain is the same after a fetch that failed.
	fetchAgain = time.Second
	// refreshEvery is when a JWK set that is in use is fetched anew: a key that the issuer has withdrawn is not kept.
	refreshEvery = 10 * time.Minute
	// maxJWKS bounds a JWK set, in bytes, and maxJWKs the keys of it.
	maxJWKS = 1 << 20
	maxJWKs = 100
	// minRSABits is the least length of an RSA key (RFC 7518, 3.3).
	minRSABits = 2048
)

// remoteKeys are the keys of another issuer. They are kept: an issuer that is down does not stop the engine.
//
// github.com/coreos/go-oidc has such a set, which fetches anew for each token that does not verify, as often as they come; the
// rate has to be bounded here. go-jose reads the keys and verifies with them, as it does there.
type remoteKeys struct {
	url    string
	now    func() time.Time
	logger *slog.Logger
	client *http.Client

	living context.Context // ended: nothing is fetched any more
	end    context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	keys    []jose.JSONWebKey
	fetched time.Time     // when the keys came; zero for never
	tried   time.Time     // when the last fetch began; zero for never
	failure error         // of the last fetch
	running chan struct{} // closed at the end of the fetch that runs; nil for none
}

func newRemoteKeys(url string, now func() time.Time, logger *slog.Logger) *remoteKeys {
	r := &remoteKeys{url: url, now: now, logger: logger}
	r.client = &http.Client{
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConns: 1, IdleConnTimeout: fetchEvery},
		// The keys are at this URL: whoever can redirect from it need not be able to choose them.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	r.living, r.end = context.WithCancel(context.Background())
	return r
}

// stop ends a fetch, and returns when nothing runs any more.
func (r *remoteKeys) stop() {
	r.mu.Lock() // no fetch begins after it
	r.end()
	r.mu.Unlock()
	r.wg.Wait()
	r.client.CloseIdleConnections()
}

// find gives the keys that may have signed a token: those with the id, or all when it has none. It fetches them when there is
// no such key, at most every fetchEvery. Errors: *Error, Unavailable when there is no such key, and the issuer cannot be asked
// whether there is one.
func (r *remoteKeys) find(ctx context.Context, kid, algorithm string) ([]any, error) {
	found, fetching := r.look(kid, algorithm)
	if len(found) > 0 {
		return found, nil
	}
	var gaveUp error
	select {
	case <-fetching:
	case <-ctx.Done():
		gaveUp = ctx.Err()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	found = matching(r.keys, kid, algorithm)
	if len(found) == 0 && (gaveUp != nil || r.failure != nil || r.fetched.IsZero()) {
		return nil, unavailable("the keys of the issuer of access tokens cannot be had at the moment: try again later", errors.Join(r.failure, gaveUp))
	}
	return found, nil
}

// look gives what is kept, and begins a fetch when it is time for one. fetching is closed at the end of the fetch that runs,
// and when there is none.
func (r *remoteKeys) look(kid, algorithm string) (found []any, fetching <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	found = matching(r.keys, kid, algorithm)
	now, pause := r.now(), fetchEvery
	if r.failure != nil {
		pause = fetchAgain
	}
	wanted := len(found) == 0 || now.Sub(r.fetched) >= refreshEvery // what is kept is good until there are newer ones
	if wanted && r.running == nil && (r.tried.IsZero() || now.Sub(r.tried) >= pause) && r.living.Err() == nil {
		r.fetch()
	}
	if r.running != nil {
		return found, r.running
	}
	return found, over
}

// over is closed: there is nothing to wait for.
var over = func() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// matching are the keys that fit a token's header.
func matching(all []jose.JSONWebKey, kid, algorithm string) []any {
	var out []any
	for _, key := range all {
		if (kid == "" || key.KeyID == kid) && (key.Algorithm == "" || key.Algorithm == algorithm) {
			out = append(out, key.Key)
		}
	}
	return out
}

// fetch begins a fetch. The caller holds the lock.
func (r *remoteKeys) fetch() {
	done := make(chan struct{})
	r.running, r.tried = done, r.now()
	r.wg.Go(func() {
		keys, err := r.get()
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.failure = err; err == nil {
			r.keys, r.fetched = keys, r.now()
			r.logger.Debug("the keys of the issuer of access tokens were fetched", "keys", len(keys))
		} else if r.living.Err() == nil {
			r.logger.Warn("the keys of the issuer of access tokens cannot be had; those from before stay", "error", err)
		}
		r.running = nil
		close(done)
	})
}

func (r *remoteKeys) get() ([]jose.JSONWebKey, error) {
	ctx, cancel := context.WithTimeout(r.living, fetchWithin)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("accept", "application/jwk-set+json, application/json")
	answer, err := r.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers %s", answer.Status)
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxJWKS+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxJWKS {
		return nil, fmt.Errorf("it has more than %d bytes", maxJWKS)
	}
	return parseJWKS(body)
}

// parseJWKS reads the public keys for signatures. Keys of kinds that we do not use are passed over (RFC 7517, 5).
func parseJWKS(body []byte) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, errors.New("it is no JWK set")
	}
	var out []jose.JSONWebKey
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if key.UnmarshalJSON(raw) != nil || !key.Valid() || !key.IsPublic() || key.Use != "" && key.Use != "sig" {
			continue
		}
		if public, ok := key.Key.(*rsa.PublicKey); ok && public.N.BitLen() < minRSABits {
			continue
		}
		out = append(out, key)
	}
	switch {
	case len(out) == 0:
		return nil, errors.New("the JWK set has no key that can be used")
	case len(out) > maxJWKs:
		return nil, fmt.Errorf("the JWK set has more than %d keys", maxJWKs)
	}
	return out, nil
}

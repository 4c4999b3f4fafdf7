package signing_test

import (
	"context"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"closure/eventstore"
	"closure/projections/webhooks/signing"
)

func TestProcessesThatStartAtOnceShareOneKey(t *testing.T) {
	r := newRig(t)
	const n = 8
	all := make([]*signing.Keys, n)
	for i := range all {
		all[i], _ = r.process(signing.Config{})
	}
	errs := make([]error, n)
	var wg sync.WaitGroup
	gate := make(chan struct{})
	for i, k := range all {
		wg.Go(func() {
			<-gate
			errs[i] = k.Start(testContext(t))
		})
	}
	close(gate)
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
	secrets := signing.Secrets{}.Rotate(time.Now(), time.Hour)
	for _, k := range all {
		require.Equal(t, string(jwks(t, all[0])), string(jwks(t, k)))
		require.Len(t, keyIDs(t, k), 1)
		verifyAll(t, signed(t, k, secrets, time.Now()), payload, jwks(t, all[0]), secrets.Current)
	}
}

// TestTheFirstKeyIsMadeOnce has processes that have all seen that there is none, before any of them makes one.
func TestTheFirstKeyIsMadeOnce(t *testing.T) {
	r := newRig(t)
	k, nc := r.process(signing.Config{})
	require.NoError(t, k.Start(testContext(t)))
	kv := openBucket(t, nc)
	old := keyIDs(t, k)[0]
	for _, gone := range []func(context.Context, string, ...jetstream.KVDeleteOpt) error{kv.Purge, kv.Delete} {
		require.NoError(t, gone(testContext(t), signing.EntryKey))
		before := revision(t, nc)
		const n = 3
		var looked sync.WaitGroup
		looked.Add(n)
		ids := make([]string, n)
		errs := make([]error, n)
		var done sync.WaitGroup
		for i := range n {
			barrier := &bucket{KeyValue: kv, afterGet: sync.OnceFunc(func() { looked.Done(); looked.Wait() })}
			done.Go(func() { ids[i], errs[i] = k.Load(testContext(t), barrier) })
		}
		done.Wait()
		require.NoError(t, errors.Join(errs...))
		require.Equal(t, []string{ids[0], ids[0], ids[0]}, ids)
		require.NotEqual(t, old, ids[0])
		require.Equal(t, before+1, revision(t, nc), "one was written")
	}
}

// revision is the last one of the bucket.
func revision(t testing.TB, nc *nats.Conn) uint64 {
	t.Helper()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	stream, err := js.Stream(testContext(t), "KV_"+signing.Bucket)
	require.NoError(t, err)
	return stream.CachedInfo().State.LastSeq
}

func TestARestartKeepsTheKey(t *testing.T) {
	r := newRig(t)
	first := r.start(signing.Config{})
	before := jwks(t, first)
	require.NoError(t, first.Stop(testContext(t)))
	require.Equal(t, string(before), string(jwks(t, r.start(signing.Config{}))))
}

// TestTheJWKSetIsPublic reads the set member by member.
func TestTheJWKSetIsPublic(t *testing.T) {
	r := newRig(t)
	k := r.start(signing.Config{})
	require.NoError(t, k.Rotate(testContext(t)))
	var set struct {
		Keys []map[string]string `json:"keys"`
	}
	require.NoError(t, json.Unmarshal(jwks(t, k), &set))
	require.Len(t, set.Keys, 2)
	for _, one := range set.Keys {
		x, err := base64.RawURLEncoding.DecodeString(one["x"])
		require.NoError(t, err)
		require.Len(t, x, 32)
		raw, err := json.Marshal(one)
		require.NoError(t, err)
		read, err := jwk.ParseKey(raw)
		require.NoError(t, err)
		print, err := read.Thumbprint(crypto.SHA256)
		require.NoError(t, err)
		require.Equal(t, map[string]string{
			"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "x": one["x"], "kid": base64.RawURLEncoding.EncodeToString(print),
		}, one, "these members, and no private one (d)")
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		require.NotContains(t, fmt.Sprintf(format, k), "private", "keys may be logged by accident")
	}
}

// TestARotation has two processes: one rotates, the other one is told.
func TestARotation(t *testing.T) {
	r, now, told := newRig(t), newClock(), newJournal()
	here := r.start(signing.Config{Now: now.now})
	there := r.start(signing.Config{Now: now.now, Logger: told.logger()})
	old := keyIDs(t, here)[0]
	secrets := signing.Secrets{}.Rotate(now.now(), 1000*time.Hour)

	require.NoError(t, here.Rotate(testContext(t)))
	both := keyIDs(t, here)
	require.Len(t, both, 2)
	require.Equal(t, old, both[1], "the new one is in front")
	told.await(t, both[0])
	require.Equal(t, both, keyIDs(t, there))

	// While the overlap lasts a receiver may hold either key, and take the set from either process.
	for _, k := range []*signing.Keys{here, there} {
		during := signed(t, k, secrets, now.now())
		verifyAll(t, during, payload, jwks(t, here), secrets.Current)
		verifyAll(t, during, payload, jwks(t, there), secrets.Current)
		require.NoError(t, verifyV1a(during.Header, payload, jwks(t, there), old))
		require.Equal(t, 2, strings.Count(during.Header.Get("webhook-signature"), "v1a,"))
		require.Contains(t, during.Header.Get("signature-input"), `keyid="`+both[0]+`"`)
	}
	withBoth := jwks(t, here)

	now.forward(7*24*time.Hour - time.Second)
	require.Len(t, keyIDs(t, there), 2, "to the last moment")
	now.forward(time.Second)
	for _, k := range []*signing.Keys{here, there} {
		require.Equal(t, both[:1], keyIDs(t, k), "the old one has vanished")
		after := signed(t, k, secrets, now.now())
		require.Equal(t, 1, strings.Count(after.Header.Get("webhook-signature"), "v1a,"))
		require.NoError(t, verifyV1a(after.Header, payload, jwks(t, k), both[0]))
		require.Error(t, verifyV1a(after.Header, payload, withBoth, old), "it does not sign any more")
	}
}

// TestAnOlderEntryChangesNothing: the watch may come with what was before a rotation of this process.
func TestAnOlderEntryChangesNothing(t *testing.T) {
	k, nc := newRig(t).process(signing.Config{})
	require.NoError(t, k.Start(testContext(t)))
	before, err := openBucket(t, nc).Get(testContext(t), signing.EntryKey)
	require.NoError(t, err)
	require.NoError(t, k.Rotate(testContext(t)))
	ids := keyIDs(t, k)
	k.Take(before)
	require.Equal(t, ids, keyIDs(t, k))
}

func TestASecondRotationEndsTheOlderKey(t *testing.T) {
	k := newRig(t).start(signing.Config{})
	require.NoError(t, k.Rotate(testContext(t)))
	second := keyIDs(t, k)
	require.NoError(t, k.Rotate(testContext(t)))
	third := keyIDs(t, k)
	require.Len(t, third, 2)
	require.Equal(t, second[0], third[1])
	require.NotContains(t, third, second[1])
}

func TestRotationsAtTheSameMomentCountAsOne(t *testing.T) {
	r := newRig(t)
	a, b := r.start(signing.Config{}), r.start(signing.Config{})
	old := keyIDs(t, a)[0]
	// Both have read the keys before either writes.
	var read sync.WaitGroup
	read.Add(2)
	for _, k := range []*signing.Keys{a, b} {
		k.SetBucket(func(kv jetstream.KeyValue) jetstream.KeyValue {
			return &bucket{KeyValue: kv, beforeUpdate: sync.OnceFunc(func() { read.Done(); read.Wait() })}
		})
	}
	errs := make(chan error, 2)
	for _, k := range []*signing.Keys{a, b} {
		go func() { errs <- k.Rotate(testContext(t)) }()
	}
	require.NoError(t, errors.Join(<-errs, <-errs))
	ids := keyIDs(t, a)
	require.Equal(t, ids, keyIDs(t, b))
	require.Len(t, ids, 2)
	require.Equal(t, old, ids[1], "the key of before both is still good")
}

// bucket is a bucket with faults.
type bucket struct {
	jetstream.KeyValue
	beforeUpdate func()
	afterGet     func()
	loseRequests int // so many updates do not arrive
	loseAnswers  int // so many updates arrive, and nobody hears of it
	updates      int
}

func (b *bucket) Get(ctx context.Context, key string) (jetstream.KeyValueEntry, error) {
	entry, err := b.KeyValue.Get(ctx, key)
	if b.afterGet != nil {
		b.afterGet()
	}
	return entry, err
}

func (b *bucket) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	b.updates++
	if b.beforeUpdate != nil {
		b.beforeUpdate()
	}
	if b.loseRequests > 0 {
		b.loseRequests--
		return 0, nats.ErrTimeout
	}
	revision, err := b.KeyValue.Update(ctx, key, value, revision)
	if b.loseAnswers > 0 {
		b.loseAnswers--
		return 0, nats.ErrTimeout
	}
	return revision, err
}

func TestARotationThatIsNotAnswered(t *testing.T) {
	for name, c := range map[string]struct {
		faults  bucket
		updates int
		failed  bool
	}{
		"the request is lost":        {bucket{loseRequests: 2}, 3, false},
		"the answer is lost":         {bucket{loseAnswers: 1}, 1, false},
		"nothing ever comes through": {bucket{loseRequests: 1000}, 5, true},
	} {
		t.Run(name, func(t *testing.T) {
			k := newRig(t).start(signing.Config{})
			old := keyIDs(t, k)
			k.SetBucket(func(kv jetstream.KeyValue) jetstream.KeyValue { c.faults.KeyValue = kv; return &c.faults })
			err := k.Rotate(testContext(t))
			require.Equal(t, c.updates, c.faults.updates)
			if c.failed {
				require.ErrorIs(t, err, eventstore.ErrUnavailable)
				require.Equal(t, old, keyIDs(t, k))
				return
			}
			require.NoError(t, err)
			require.Len(t, keyIDs(t, k), 2, "rotated once")
			require.Equal(t, old[0], keyIDs(t, k)[1])
		})
	}
}

// TestAKeyThatHasEndedLeavesTheBucket looks into the bucket: a private key must not lie there longer than it has to.
func TestAKeyThatHasEndedLeavesTheBucket(t *testing.T) {
	r, now := newRig(t), newClock()
	k, nc := r.process(signing.Config{Now: now.now, Overlap: time.Hour})
	require.NoError(t, k.Start(testContext(t)))
	require.NoError(t, k.Rotate(testContext(t)))
	kv := openBucket(t, nc)
	require.Len(t, stored(t, kv).Keys, 2)
	now.forward(time.Hour)

	w, err := kv.Watch(testContext(t), signing.EntryKey, jetstream.UpdatesOnly())
	require.NoError(t, err)
	defer func() { require.NoError(t, w.Stop()) }()
	r.start(signing.Config{Now: now.now})
	select {
	case <-w.Updates():
	case <-time.After(patience):
		t.Fatal("nobody has taken the key out of the bucket")
	}
	left := stored(t, kv).Keys
	require.Len(t, left, 1)
	require.Equal(t, keyIDs(t, k), []string{left[0].KeyID})
}

type entry struct {
	Keys []struct {
		KeyID string `json:"kid"`
		PKCS8 []byte `json:"pkcs8"`
	} `json:"keys"`
}

func openBucket(t testing.TB, nc *nats.Conn) jetstream.KeyValue {
	t.Helper()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	kv, err := js.KeyValue(testContext(t), signing.Bucket)
	require.NoError(t, err)
	return kv
}

func stored(t testing.TB, kv jetstream.KeyValue) entry {
	t.Helper()
	e, err := kv.Get(testContext(t), signing.EntryKey)
	require.NoError(t, err)
	var read entry
	require.NoError(t, json.Unmarshal(e.Value(), &read))
	return read
}

// TestAnEntryThatCannotBeRead stops nobody who signs, and lets nobody start with a key that is none.
func TestAnEntryThatCannotBeRead(t *testing.T) {
	r, told := newRig(t), newJournal()
	k, nc := r.process(signing.Config{Logger: told.logger()})
	require.NoError(t, k.Start(testContext(t)))
	kv := openBucket(t, nc)
	good, err := kv.Get(testContext(t), signing.EntryKey)
	require.NoError(t, err)
	ids := keyIDs(t, k)
	private := base64.StdEncoding.EncodeToString(stored(t, kv).Keys[0].PKCS8)

	for broken, want := range map[string]string{
		private:       "not JSON",
		`{"keys":[]}`: "it has no key",
		`{"keys":[{"pkcs8":"AAAA","created_at":"2026-01-01T00:00:00Z"}]}`:                                           "key 0 is not an Ed25519 key in PKCS#8",
		`{"keys":[{"pkcs8":"` + private + `","created_at":"2026-01-01T00:00:00Z","until":"2026-01-01T00:00:00Z"}]}`: "key 0: the first key has to be without until",
		`{"keys":[{"pkcs8":"` + private + `"},{"pkcs8":"` + private + `","created_at":"2026-01-01T00:00:00Z"}]}`:    "key 1: the first key has to be without until, and all others with it",
	} {
		_, err := kv.PutString(testContext(t), signing.EntryKey, broken)
		require.NoError(t, err)
		line := told.await(t, "cannot be read")
		require.Contains(t, line, want)
		require.NotContains(t, line, private)
		require.Equal(t, ids, keyIDs(t, k), "the keys of before go on to sign")

		other, _ := r.process(signing.Config{})
		err = other.Start(testContext(t))
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, signing.Bucket)
		require.NotContains(t, err.Error(), private)
	}

	_, err = kv.Put(testContext(t), signing.EntryKey, good.Value())
	require.NoError(t, err)
	require.NoError(t, k.Rotate(testContext(t)))
	require.Len(t, keyIDs(t, k), 2)
	require.NoError(t, kv.Delete(testContext(t), signing.EntryKey))
	told.await(t, "somebody has deleted them")
	require.Len(t, keyIDs(t, k), 2, "and these")
	require.Len(t, keyIDs(t, r.start(signing.Config{})), 1, "a start makes a new key")
}

// TestARotationIsSeenAfterTheConnectionWasLost loses the connection of the process that is to be told.
func TestARotationIsSeenAfterTheConnectionWasLost(t *testing.T) {
	r, told := newRig(t), newJournal()
	here := r.start(signing.Config{})
	there, nc := r.process(signing.Config{Logger: told.logger()})
	require.NoError(t, there.Start(testContext(t)))
	for range 3 {
		require.NoError(t, nc.ForceReconnect())
		require.NoError(t, here.Rotate(testContext(t)))
		told.await(t, keyIDs(t, here)[0])
		require.Equal(t, keyIDs(t, here), keyIDs(t, there))
	}
}

func TestLifecycle(t *testing.T) {
	r := newRig(t)
	k, _ := r.process(signing.Config{})
	secrets := signing.Secrets{}.Rotate(time.Now(), time.Hour)
	refuses := func() {
		t.Helper()
		_, err := k.JWKSet()
		require.ErrorIs(t, err, eventstore.ErrUnavailable)
		require.ErrorIs(t, k.Rotate(testContext(t)), eventstore.ErrUnavailable)
		require.ErrorIs(t, k.Sign(post(t, "https://example.com", payload), payload, messageID, secrets, time.Now()), eventstore.ErrUnavailable)
	}
	require.NoError(t, k.Stop(testContext(t)), "before Start")
	refuses()
	require.NoError(t, k.Start(testContext(t)))
	require.ErrorContains(t, k.Start(testContext(t)), "started before")
	require.Len(t, keyIDs(t, k), 1, "a second Start changes nothing")
	require.NoError(t, k.Stop(testContext(t)))
	require.NoError(t, k.Stop(testContext(t)), "twice")
	refuses()

	ended, cancel := context.WithCancel(testContext(t))
	cancel()
	other, _ := r.process(signing.Config{})
	require.ErrorIs(t, other.Start(ended), context.Canceled)
	require.ErrorContains(t, other.Start(testContext(t)), "started before")
}

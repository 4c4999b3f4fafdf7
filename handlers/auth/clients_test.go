package auth_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"closure/eventstore"
	"closure/handlers/auth"
)

func openBucket(t testing.TB, i *instance) jetstream.KeyValue {
	t.Helper()
	js, err := jetstream.New(i.conn)
	require.NoError(t, err)
	kv, err := js.KeyValue(testContext(t), auth.Bucket)
	require.NoError(t, err)
	return kv
}

func TestAClientIsAddedAndKept(t *testing.T) {
	r := newRig(t)
	i := r.start()
	id := uuid.NewString()
	c, secret, err := i.Clients().Add(testContext(t), auth.NewClient{
		ID: strings.ToUpper(id), Name: "Broker", Scopes: auth.NewSet(auth.OrdersRead), Rate: auth.Rate{PerSecond: 2.5, Burst: 7},
	})
	require.NoError(t, err)
	require.Equal(t, id, c.ID, "in its canonical form")
	require.Regexp(t, `^cls_[A-Za-z0-9_-]{43}$`, secret)
	sum := sha256.Sum256([]byte(secret))
	require.Equal(t, []auth.Secret{{Hash: hex.EncodeToString(sum[:]), CreatedAt: c.CreatedAt}}, c.Secrets)
	perSecond, burst := i.Rate(c.ID)
	require.InDelta(t, 2.5, perSecond, 0)
	require.Equal(t, 7, burst)
	perSecond, burst = i.Rate(otherID)
	require.Zero(t, perSecond+float64(burst), "the default")
	require.False(t, i.MustSign(c.ID))
	require.False(t, i.MustSign(otherID))

	stored, err := openBucket(t, i).Get(testContext(t), "client."+c.ID)
	require.NoError(t, err)
	require.NotContains(t, string(stored.Value()), secret)
	require.NotContains(t, string(stored.Value()), strings.TrimPrefix(secret, "cls_"))

	_, _, err = i.Clients().Add(testContext(t), auth.NewClient{ID: id, Name: "Again"})
	require.ErrorIs(t, err, auth.ErrClientExists)
	later, _, err := i.Clients().Add(testContext(t), auth.NewClient{Name: "Later"})
	require.NoError(t, err)
	require.NoError(t, uuid.Validate(later.ID))

	again := r.start()
	require.Equal(t, []auth.Client{c, later}, again.Clients().List(), "the oldest first")
	got, ok := again.Clients().Get(c.ID)
	require.True(t, ok)
	require.Equal(t, c, got)
	_, ok = again.Clients().Get(otherID)
	require.False(t, ok)
	require.NoError(t, second(again.Token(testContext(t), c.ID, secret, "")))
}

func TestAClientThatIsNotValidIsNotAdded(t *testing.T) {
	i := newRig(t).start()
	for text, c := range map[string]auth.NewClient{
		"id: ":              {ID: "seven", Name: "a"},
		"name: ":            {},
		"no control ones":   {Name: "a\nb"},
		"1 to 100":          {Name: strings.Repeat("ä", 101)},
		"rate: per_second:": {Name: "a", Rate: auth.Rate{PerSecond: -1}},
		"rate: burst:":      {Name: "a", Rate: auth.Rate{Burst: -1}},
	} {
		_, secret, err := i.Clients().Add(testContext(t), c)
		require.ErrorIs(t, err, auth.ErrInvalidClient)
		require.ErrorContains(t, err, text)
		require.Empty(t, secret)
	}
	require.Empty(t, i.Clients().List())
}

// TestASecondRotationEndsTheOldestSecret and does not make the one before it live longer.
func TestASecondRotationEndsTheOldestSecret(t *testing.T) {
	r := newRig(t)
	i := r.start()
	c, _ := registered(t, i)
	rotate := func(overlap time.Duration) auth.Client {
		changed, _, err := i.Clients().Rotate(testContext(t), c.ID, overlap)
		require.NoError(t, err)
		return changed
	}
	one := rotate(time.Hour)
	require.Len(t, one.Secrets, 2)
	require.Nil(t, one.Secrets[0].ValidUntil)
	require.Equal(t, one.UpdatedAt.Add(time.Hour).Round(time.Second), one.Secrets[1].ValidUntil.Round(time.Second))
	two := rotate(time.Minute)
	require.Len(t, two.Secrets, 2)
	require.Equal(t, one.Secrets[0].Hash, two.Secrets[1].Hash)
	require.Len(t, rotate(0).Secrets, 1)
	r.clock.forward(time.Hour)
	rotate(time.Minute)
	r.clock.forward(time.Hour)
	require.Len(t, rotate(time.Hour).Secrets, 2)
	_, _, err := i.Clients().Rotate(testContext(t), c.ID, -1)
	require.ErrorIs(t, err, auth.ErrInvalidClient)
}

// TestChangesAtTheSameMoment: none is lost.
func TestChangesAtTheSameMoment(t *testing.T) {
	r := newRig(t)
	instances := []*instance{r.start(), r.start()}
	c, _ := registered(t, instances[0])
	private := privateKeys(t)[auth.AlgorithmEd25519]
	key := publicPEM(t, private.Public())
	const n = 4
	errs := make([]error, n)
	var wg sync.WaitGroup
	for k := range n {
		wg.Go(func() {
			_, errs[k] = instances[k%2].Clients().AddKey(testContext(t), c.ID, auth.Key{KeyID: fmt.Sprint("k", k), PEM: key})
		})
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
	c, err := instances[1].Clients().SetDisabled(testContext(t), c.ID, false)
	require.NoError(t, err)
	require.Len(t, c.Keys, n)
}

func TestTheKeysOfAClient(t *testing.T) {
	i := newRig(t).start()
	ctx := testContext(t)
	c, _ := registered(t, i)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	require.NoError(t, err)
	private := privateKeys(t)[auth.AlgorithmP384]
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	good := publicPEM(t, private.Public())
	for text, key := range map[string]auth.Key{
		"keyid: must be 1 to 128":             {PEM: good},
		`got "a b"`:                           {KeyID: "a b", PEM: good},
		"must be PEM":                         {KeyID: "k", PEM: "ssh-ed25519 AAAA"},
		"this is a private key":               {KeyID: "k", PEM: string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))},
		`PUBLIC KEY, got "CERTIFICATE"`:       {KeyID: "k", PEM: strings.ReplaceAll(good, "PUBLIC KEY", "CERTIFICATE")},
		"nothing after it":                    {KeyID: "k", PEM: good + good},
		"SubjectPublicKeyInfo":                {KeyID: "k", PEM: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pkcs8}))},
		"must be Ed25519, or ECDSA":           {KeyID: "k", PEM: publicPEM(t, rsaKey.Public())},
		"or ECDSA on P-256, P-384":            {KeyID: "k", PEM: publicPEM(t, p224.Public())},
		"must be ecdsa-p384-sha512 for this ": {KeyID: "k", Algorithm: "ed25519", PEM: good},
	} {
		_, err := i.Clients().AddKey(ctx, c.ID, key)
		require.ErrorIs(t, err, auth.ErrInvalidClient, text)
		require.ErrorContains(t, err, text)
	}
	for k := range 10 {
		c, err = i.Clients().AddKey(ctx, c.ID, auth.Key{KeyID: fmt.Sprint("k", k), PEM: good})
		require.NoError(t, err)
	}
	require.Equal(t, auth.Key{KeyID: "k0", Algorithm: auth.AlgorithmP384, PEM: good}, c.Keys[0])
	_, err = i.Clients().AddKey(ctx, c.ID, auth.Key{KeyID: "more", PEM: good})
	require.ErrorContains(t, err, "10 keys already")
	c, err = i.Clients().RemoveKey(ctx, c.ID, "k0")
	require.NoError(t, err)
	require.Len(t, c.Keys, 9)
	_, err = i.Clients().AddKey(ctx, c.ID, auth.Key{KeyID: "k1", PEM: good})
	require.ErrorContains(t, err, `keyid: "k1" is there already`)
	_, err = i.Clients().RemoveKey(ctx, c.ID, "k0")
	require.ErrorContains(t, err, `no key with the id "k0"`)
	for k := 1; k < 10; k++ {
		require.True(t, i.MustSign(c.ID))
		_, err = i.Clients().RemoveKey(ctx, c.ID, fmt.Sprint("k", k))
		require.NoError(t, err)
	}
	require.False(t, i.MustSign(c.ID))
}

func TestChangesOfAClientThatThereIsNot(t *testing.T) {
	r := newRig(t)
	i := r.start()
	check := func(id string, want error) {
		_, _, err := i.Clients().Rotate(testContext(t), id, 0)
		require.ErrorIs(t, err, want)
		_, err = i.Clients().SetDisabled(testContext(t), id, true)
		require.ErrorIs(t, err, want)
		_, err = i.Clients().RemoveKey(testContext(t), id, "k")
		require.ErrorIs(t, err, want)
	}
	check(otherID, auth.ErrUnknownClient)
	check("seven", auth.ErrInvalidClient)
	require.NoError(t, i.Stop(testContext(t)))
	check(otherID, eventstore.ErrUnavailable)
	_, _, err := i.Clients().Add(testContext(t), auth.NewClient{Name: "a"})
	require.ErrorIs(t, err, eventstore.ErrUnavailable)
}

// TestEntriesThatSomebodyElseWrites: one that is deleted is gone, one that cannot be read is refused.
func TestEntriesThatSomebodyElseWrites(t *testing.T) {
	r := newRig(t)
	i := r.start()
	kv := openBucket(t, i)
	for n, spoil := range []func(key string) error{
		func(key string) error { return kv.Delete(testContext(t), key) },
		func(key string) error { return kv.Purge(testContext(t), key) },
		func(key string) error { return second(kv.PutString(testContext(t), key, "nonsense")) },
		func(key string) error {
			return second(kv.PutString(testContext(t), key, `{"id":"`+otherID+`","name":"a"}`))
		},
		func(key string) error {
			return second(kv.PutString(testContext(t), key, `{"id":"`+key[7:]+`","name":"a","scopes":["x"]}`))
		},
	} {
		c, secret := registered(t, i)
		token := tokenFor(t, i, c.ID, secret)
		stored, err := kv.Get(testContext(t), "client."+c.ID)
		require.NoError(t, err)
		require.NoError(t, spoil("client."+c.ID))
		i.log.await(t, "an entry", c.ID, fmt.Sprint("revision=", stored.Revision()+1))
		reason := "the client is disabled"
		if n < 2 {
			reason = "not registered any more"
		}
		check := func(i *instance) {
			_, err = i.Authenticate(testContext(t), "Bearer "+token, c.ID)
			refused(t, err, auth.Unauthenticated, reason)
			_, err = i.Token(testContext(t), c.ID, secret, "")
			refused(t, err, auth.Invalid, "client_secret is wrong")
			_, there := i.Clients().Get(c.ID)
			require.Equal(t, n >= 2, there)
		}
		check(i)
		check(r.start())
		// What is newer counts, wherever it comes from.
		_, err = kv.Put(testContext(t), "client."+c.ID, stored.Value())
		require.NoError(t, err)
		i.log.await(t, "an entry", c.ID, fmt.Sprint("revision=", stored.Revision()+2))
		require.NoError(t, second(i.Authenticate(testContext(t), "Bearer "+token, c.ID)))
	}
	require.NoError(t, second(kv.PutString(testContext(t), "something.else", "x")), "what is no client is passed over")
	c, secret := registered(t, i)
	require.NoError(t, second(i.Token(testContext(t), c.ID, secret, "")))
}

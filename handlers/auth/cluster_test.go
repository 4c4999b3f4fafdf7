package auth_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"closure/eventstore/embedded"
	"closure/handlers/auth"
)

// TestOnAClusterAServerMayFail: what was used stays used, and signatures go on, without the server that led the nonces.
func TestOnAClusterAServerMayFail(t *testing.T) {
	cluster, err := embedded.StartCluster(3, t.TempDir())
	require.NoError(t, err)
	t.Cleanup(cluster.Shutdown)
	r := &rig{t: t, url: cluster.ClientURL(), ring: newRing(t), clock: &clock{}}
	threefold := func(cfg *auth.Config) { cfg.Replicas = 3 }
	here := r.start(threefold)
	c := registeredKey(t, here, "k", privateKeys(t)[auth.AlgorithmEd25519])
	there := r.start(threefold)
	verify := func(i *instance, at time.Time) (func(*instance) error, error) {
		request, body := order(t, "http://127.0.0.1", c.ID)
		require.NoError(t, auth.SignRequest(request, body, c.key, at))
		show := func(i *instance) error {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			return i.VerifySignature(ctx, request, body, auth.Principal{ClientID: c.ID})
		}
		return show, show(i)
	}
	again, err := verify(here, time.Now())
	require.NoError(t, err)
	refused(t, again(there), auth.Unauthenticated, "used before")
	_, err = verify(there, time.Now())
	require.NoError(t, err, "both know that it is the first store")

	js, err := jetstream.New(here.conn)
	require.NoError(t, err)
	for _, bucket := range []string{auth.Bucket, auth.NonceBucket} {
		stream, err := js.Stream(testContext(t), "KV_"+bucket)
		require.NoError(t, err)
		require.Equal(t, 3, stream.CachedInfo().Config.Replicas)
	}
	stream, err := js.Stream(testContext(t), "KV_"+auth.NonceBucket)
	require.NoError(t, err)
	require.Equal(t, jetstream.MemoryStorage, stream.CachedInfo().Config.Storage)
	for member := range 3 {
		if cluster.MemberName(member) == stream.CachedInfo().Cluster.Leader {
			cluster.Stop(member)
		}
	}

	// Until there is a leader again it cannot be told: then the client comes again. What is told is right.
	for _, i := range []*instance{here, there} {
		eventually(t, func() error { return again(i) }, func(err error) { refused(t, err, auth.Unauthenticated, "used before") })
		eventually(t, func() error { _, err := verify(i, time.Now()); return err }, func(err error) { require.NoError(t, err) })
	}
}

// eventually repeats what is unavailable; each try waits for the servers by itself.
func eventually(t *testing.T, try func() error, check func(error)) {
	t.Helper()
	for ctx := testContext(t); ; {
		err := try()
		if refusal, ok := err.(*auth.Error); ok && refusal.Kind == auth.Unavailable && ctx.Err() == nil {
			continue
		}
		check(err)
		return
	}
}

package auth_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"closure/handlers/auth"
)

// BenchmarkAuthenticate verifies an access token, as each request does.
func BenchmarkAuthenticate(b *testing.B) {
	i := newRig(b).start()
	c, secret := registered(b, i)
	header, ctx := "Bearer "+tokenFor(b, i, c.ID, secret), testContext(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := i.Authenticate(ctx, header, c.ID); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkToken makes an access token for a secret.
func BenchmarkToken(b *testing.B) {
	i := newRig(b).start()
	c, secret := registered(b, i)
	ctx := testContext(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := i.Token(ctx, c.ID, secret, ""); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkVerifySignature signs a request and verifies it, with the nonce that it uses up on the server.
func BenchmarkVerifySignature(b *testing.B) {
	for algorithm, private := range privateKeys(b) {
		b.Run(algorithm, func(b *testing.B) {
			i := newRig(b).start()
			c := registeredKey(b, i, "k", private)
			request, body := order(b, "http://127.0.0.1", c.ID)
			ctx := testContext(b)
			b.ReportAllocs()
			for b.Loop() {
				require.NoError(b, auth.SignRequest(request, body, c.key, time.Now()))
				if err := i.VerifySignature(ctx, request, body, auth.Principal{ClientID: c.ID}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

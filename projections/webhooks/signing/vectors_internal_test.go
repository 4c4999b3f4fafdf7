package signing

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"testing"
	"time"

	"github.com/dunglas/httpsfv"
	"github.com/stretchr/testify/require"
)

// TestTheVectorOfTheRFC makes the signature of RFC 9421, B.2.6; Ed25519 signatures are deterministic.
func TestTheVectorOfTheRFC(t *testing.T) {
	der, err := base64.StdEncoding.DecodeString("MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF")
	require.NoError(t, err)
	private, err := x509.ParsePKCS8PrivateKey(der)
	require.NoError(t, err)
	params := httpsfv.NewParams()
	params.Add("created", 1618884473)
	params.Add("keyid", "test-key-ed25519")
	input, signature, err := signMessage(private.(ed25519.PrivateKey), "sig-b26", []component{
		{"date", "Tue, 20 Apr 2021 02:07:55 GMT"}, {"@method", "POST"}, {"@path", "/foo"}, {"@authority", "example.com"},
		{"content-type", "application/json"}, {"content-length", "18"},
	}, params)
	require.NoError(t, err)
	require.Equal(t, `sig-b26=("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519"`, input)
	require.Equal(t, "sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:", signature)
}

// TestTheVectorsOfStandardWebhooks makes the signatures that the libraries of the standard have in their tests.
func TestTheVectorsOfStandardWebhooks(t *testing.T) {
	secret, err := ParseSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	require.NoError(t, err)
	seed, err := base64.StdEncoding.DecodeString("VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk=")
	require.NoError(t, err)
	engine, err := keyOf(ed25519.NewKeyFromSeed(seed), time.Time{}, time.Time{})
	require.NoError(t, err)
	got := standardSignatures("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`), []Secret{secret}, []key{engine})
	require.Equal(t, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= "+
		"v1a,tQ9V2XOqn7jL/DQenEFpqIugdBVtiMmER5mhSkXBNwM0mkATuDe6KYYUuxqtaiHeYGb7KaaBRdM5WqyeFiL8Ag==", got)
}

// TestTheDigestOfThePublicAPI makes the content-digest of the API's documentation.
func TestTheDigestOfThePublicAPI(t *testing.T) {
	require.Equal(t, "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:",
		contentDigest([]byte(`{"hello": "world"}`)))
}

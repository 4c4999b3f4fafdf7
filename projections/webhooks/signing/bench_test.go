package signing_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"closure/projections/webhooks/signing"
)

// BenchmarkSign signs requests with bodies of several sizes, without and with an overlap of both secrets and keys.
func BenchmarkSign(b *testing.B) {
	r := newRig(b)
	for _, overlap := range []bool{false, true} {
		k, secrets := r.start(signing.Config{}), signing.Secrets{}.Rotate(time.Now(), time.Hour)
		if overlap {
			secrets = secrets.Rotate(time.Now(), time.Hour)
			require.NoError(b, k.Rotate(testContext(b)))
		}
		for _, size := range []int{1 << 10, 64 << 10, 1 << 20} {
			b.Run(fmt.Sprintf("overlap=%t/bytes=%d", overlap, size), func(b *testing.B) {
				body := bytes.Repeat([]byte("x"), size)
				request := post(b, "https://example.com/hook?tenant=7", body)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					if err := k.Sign(request, body, messageID, secrets, time.Now()); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

package natsapi_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"closure/eventstore"
	"closure/eventstore/embedded"
)

func TestZZMeasure(t *testing.T) {
	for _, nosync := range []bool{false} {
		s, err := embedded.Start(embedded.Config{Dir: t.TempDir(), NoSync: nosync})
		require.NoError(t, err)
		t.Cleanup(s.Shutdown)
		r := newRigAt(t, s.ClientURL(), 1)
		r.keepEvents(1)
		r.start(r.config())
		begin := time.Now()
		const n = 2000
		for range n {
			_, err := r.js.PublishAsync(eventstore.CommandSubject("account_group", uuid.NewString(), "open"), body(t, personal()))
			require.NoError(t, err)
		}
		<-r.js.PublishAsyncComplete()
		t.Logf("nosync %v: stored after %s", nosync, time.Since(begin))
		r.settled()
		t.Logf("nosync %v: %d opens in %s: %.0f/s", nosync, n, time.Since(begin), n/time.Since(begin).Seconds())
	}
}

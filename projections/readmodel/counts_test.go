package readmodel_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/projections/readmodel"
)

// The counts are those of the lists: by each status, and by each blocker.
func TestClosureCounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m, _ := started(t, w.log, file(t))
	caughtUp(t, w.log, m)
	none, err := m.ClosureCounts(testContext(t))
	require.NoError(t, err)
	require.Equal(t, readmodel.ClosureCounts{ByStatus: map[domain.Status]int{}, ByBlocker: map[domain.BlockerCode]int{}}, none)

	closings(w)
	last := caughtUp(t, w.log, m)
	got, err := m.ClosureCounts(testContext(t))
	require.NoError(t, err)
	want := readmodel.ClosureCounts{ByStatus: map[domain.Status]int{}, ByBlocker: map[domain.BlockerCode]int{}}
	for _, item := range w.wantClosures() {
		want.ByStatus[item.Closure.Status]++
		for _, b := range item.Closure.Blockers {
			want.ByBlocker[b.Code]++
		}
	}
	require.Equal(t, want, got)
	require.Greater(t, len(want.ByStatus), 1)
	require.Greater(t, len(want.ByBlocker), 1)

	require.True(t, m.CaughtUp(last, 0))
	require.False(t, m.CaughtUp(last+2, 1))
	require.True(t, m.CaughtUp(last+1, 1))
	stop(t, m)
	_, err = m.ClosureCounts(testContext(t))
	require.Error(t, err)
}

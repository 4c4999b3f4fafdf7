package eventstore

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// disk is a server with a store, by what it costs: simulated, so that each machine is
// there, and a hiccup comes when it has to.
type disk struct {
	alone, fixed, perMessage time.Duration
	hiccups                  float64 // how often something takes 50 times as long
	cluster                  int     // how many answers come at once; 0 for each by itself
	random                   *rand.Rand
	now                      time.Time
}

func (d *disk) takes(cost time.Duration) time.Duration {
	took := time.Duration(float64(cost) * (0.5 + d.random.Float64()))
	if d.random.Float64() < d.hiccups {
		took *= 50
	}
	d.now = d.now.Add(took)
	return took
}

// run appends, n at a time, for some rounds, by what the policy decides, and gives the
// time that it took, and that of going alone always. It ends with a share of batches.
func (d *disk) run(c *costs, n, rounds int) (took, alone time.Duration, batches int) {
	for range rounds {
		begin := d.now
		rest := n
		if sample, unsure := c.unsure(d.now); unsure && n > sample {
			rest -= sample
			d.runAlone(c, sample)
		}
		if c.pays(rest, d.now) {
			batches++
			c.sawBatch(rest, d.takes(d.fixed+time.Duration(rest)*d.perMessage), d.now)
		} else {
			d.runAlone(c, rest)
		}
		took += d.now.Sub(begin)
		alone += time.Duration(n) * d.alone
	}
	return took, alone, batches
}

// runAlone publishes n, of which the answers come in clusters.
func (d *disk) runAlone(c *costs, n int) {
	var unseen time.Duration
	for i := range n {
		unseen += d.takes(d.alone)
		if d.cluster > 0 && i%d.cluster != d.cluster-1 && i < n-1 {
			continue
		}
		first := i
		if d.cluster > 0 {
			first = i / d.cluster * d.cluster
		}
		for j := first; j <= i; j++ {
			c.sawAlone(unseen, n-1-j, d.now)
			unseen = 0
		}
	}
}

func TestCostsChooseWhatIsQuicker(t *testing.T) {
	t.Parallel()
	const us, ms = time.Microsecond, time.Millisecond
	for name, m := range map[string]struct {
		disk  disk
		n     int
		gains float64 // how many times quicker than alone it has to be at least
	}{
		"a disk that syncs in 0.2 ms, 256":       {disk{alone: 210 * us, fixed: 4 * ms, perMessage: 20 * us}, 256, 4},
		"and 1000":                               {disk{alone: 210 * us, fixed: 4 * ms, perMessage: 20 * us}, 1000, 6},
		"and 16":                                 {disk{alone: 210 * us, fixed: 4 * ms, perMessage: 20 * us}, 16, 0.95},
		"and 256 with answers in clusters":       {disk{alone: 210 * us, fixed: 4 * ms, perMessage: 20 * us, cluster: 50}, 256, 4},
		"and 256 with all answers at once":       {disk{alone: 210 * us, fixed: 4 * ms, perMessage: 20 * us, cluster: 256}, 256, 4},
		"a slow disk with answers in clusters":   {disk{alone: 1700 * us, fixed: 80 * ms, perMessage: 60 * us, cluster: 100}, 256, 3.5},
		"and 1":                                  {disk{alone: 210 * us, fixed: 4 * ms, perMessage: 20 * us}, 1, 0.95},
		"a slow disk, 16":                        {disk{alone: 5 * ms, fixed: 30 * ms, perMessage: 20 * us}, 16, 1.9},
		"a slow disk with a slow batch, 16":      {disk{alone: 2 * ms, fixed: 60 * ms, perMessage: 20 * us}, 16, 0.95},
		"a slow disk with a slow batch, 256":     {disk{alone: 2 * ms, fixed: 60 * ms, perMessage: 20 * us}, 256, 6},
		"no sync, 1000":                          {disk{alone: 14 * us, fixed: 3 * ms, perMessage: 17 * us}, 1000, 0.95},
		"no sync, 64":                            {disk{alone: 18 * us, fixed: 3 * ms, perMessage: 17 * us}, 64, 0.95},
		"no sync, a batch that is as quick, 500": {disk{alone: 20 * us, fixed: 0, perMessage: 20 * us}, 500, 0.95},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(8) {
				d := m.disk
				d.random, d.now = rand.New(rand.NewPCG(seed, 1)), time.Unix(0, 0)
				c := newCosts()
				d.run(c, m.n, 100+2000/m.n) // it learns
				took, alone, _ := d.run(c, m.n, 300)
				require.Greater(t, float64(alone)/float64(took), m.gains, "seed %d", seed)
			}
		})
	}
}

// A hiccup of the disk, in whatever it hits, does not make it wrong for long.
func TestCostsBearHiccups(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		d := disk{
			alone: 210 * time.Microsecond, fixed: 4 * time.Millisecond, perMessage: 20 * time.Microsecond,
			hiccups: 0.01, random: rand.New(rand.NewPCG(seed, 2)), now: time.Unix(0, 0),
		}
		c := newCosts()
		d.run(c, 256, 100)
		_, _, batches := d.run(c, 256, 1000)
		require.Greater(t, batches, 900, "seed %d: of 1000 rounds that a batch is best for", seed)
		_, _, batches = d.run(c, 10, 5000)
		require.Less(t, batches, 400, "seed %d: of 5000 rounds that alone is best for", seed)
	}
}

// What changes is noticed, in both directions.
func TestCostsFollowTheDisk(t *testing.T) {
	t.Parallel()
	quick := disk{alone: 15 * time.Microsecond, fixed: 3 * time.Millisecond, perMessage: 17 * time.Microsecond}
	slow := disk{alone: 2 * time.Millisecond, fixed: 15 * time.Millisecond, perMessage: 20 * time.Microsecond}
	c, random, now := newCosts(), rand.New(rand.NewPCG(1, 3)), time.Unix(0, 0)
	for range 3 {
		quick.random, quick.now = random, now
		quick.run(c, 256, 3000)
		_, _, batches := quick.run(c, 256, 1000)
		require.Less(t, batches, 20)
		slow.random, slow.now = random, quick.now
		slow.run(c, 256, 200)
		_, _, batches = slow.run(c, 256, 1000)
		require.Greater(t, batches, 950)
		now = slow.now
	}
}

// Before it knows anything, nobody waits for company.
func TestCostsBeginAlone(t *testing.T) {
	t.Parallel()
	c := newCosts()
	require.False(t, c.pays(batchMessages, time.Now()))
	_, unsure := c.unsure(time.Now())
	require.False(t, unsure)
}

package eventstore

import (
	"slices"
	"time"
)

// costs decides what is quicker: n publishes, or one batch of n. It compares what both
// took lately. The costs are those of the server's one queue: how long it was busy with
// each, not how long a caller waited.
//
// A batch costs a fixed part, for the files that stage it and their fsyncs, and a part
// for each message. Both are estimated from the batches seen, the last ones counting
// most. A wrong estimate mends itself: what seems not to pay is tried again now and
// then, and so is going alone when it is long ago. Both are rare enough to cost less
// than a hundredth of the time.
type costs struct {
	// alone: the mean costs of the last samples.
	alone   []time.Duration
	sum     time.Duration // of the sample that is not full yet
	count   int
	most    int // how many were on their way at once while it was taken
	aloneAt time.Time
	each    time.Duration // what one publish alone costs; 0 for not known yet
	batchAt time.Time
	// losing is how many batches in a row cost more than going alone; batches counts
	// those since the last sample, and winning the samples in a row that had some.
	losing, batches, winning int
	// Sums over the batches, with weights that fade: of 1, n, n², cost, n*cost.
	w, n, nn, c, nc float64
}

const (
	// fewest appends that may share a batch. Its fixed part is never less than some
	// fsyncs, whatever the estimates say after a hiccup of the disk.
	fewest = 8
	// sampleSize and samples: a mean evens out that answers come in clusters, as large
	// as what was on its way; of the means one of the lower counts, since a hiccup of
	// the disk only makes them larger.
	sampleSize = 8
	samples    = 9
	lower      = 3 // of so many
	// margin by which a batch has to be better.
	margin = 1.1
	// seldom is how much rarer a trial is than the time it costs. It is made more often
	// at first, and half as often each time that it changed nothing.
	seldom      = 200
	seldomFirst = 10
	// fade of the weights at each batch.
	fade = 0.9
	// hiccup: a batch that took so many times of what was expected counts as this.
	hiccup = 4
)

// newCosts begins with what batches cost on common machines, and gives it the weight of
// one batch. What it costs alone it does not know: until it does, nothing pays.
func newCosts() *costs {
	c := &costs{}
	for _, common := range []struct {
		n    int
		took time.Duration
	}{{16, 3 * time.Millisecond}, {batchMessages, 20 * time.Millisecond}} {
		c.add(0.5, common.n, common.took)
	}
	return c
}

func (c *costs) add(weight float64, n int, took time.Duration) {
	size, cost := float64(n), float64(took)
	c.w += weight
	c.n += weight * size
	c.nn += weight * size * size
	c.c += weight * cost
	c.nc += weight * size * cost
}

// batch is what a batch of n is expected to cost: least squares over the batches seen,
// with both parts kept above zero.
func (c *costs) batch(n int) time.Duration {
	perMessage := 0.0
	if spread := c.w*c.nn - c.n*c.n; spread > 0 {
		perMessage = (c.w*c.nc - c.n*c.c) / spread
	}
	perMessage = min(max(perMessage, 0), c.c/c.n)
	fixed := (c.c - perMessage*c.n) / c.w
	return time.Duration(fixed + perMessage*float64(n))
}

func (c *costs) pays(n int, now time.Time) bool {
	if n < fewest || c.each == 0 {
		return false
	}
	batch := c.batch(n)
	if better(batch, n, c.each) {
		return true
	}
	return c.losing > 0 && now.Sub(c.batchAt) > pause(c.losing)*batch
}

// pause before the next trial, as a multiple of what it costs.
func pause(inVain int) time.Duration {
	return time.Duration(min(seldom, seldomFirst<<min(inVain, 10)))
}

// better: a batch of n than n alone.
func better(batch time.Duration, n int, each time.Duration) bool {
	return float64(each)*float64(n) > margin*float64(batch)
}

func (c *costs) unsure(now time.Time) (int, bool) {
	return sampleSize, c.each > 0 && now.Sub(c.aloneAt) > pause(c.winning)*sampleSize*c.each
}

func (c *costs) sawAlone(took time.Duration, others int, now time.Time) {
	c.aloneAt = now
	c.sum, c.count, c.most = c.sum+took, c.count+1, max(c.most, others+1)
	if !c.sampled(others) {
		return
	}
	c.alone = append(c.alone, c.sum/time.Duration(c.count))
	if len(c.alone) > samples {
		c.alone = c.alone[1:]
	}
	c.sum, c.count, c.most = 0, 0, 0
	sorted := slices.Sorted(slices.Values(c.alone))
	c.each = max(sorted[(len(sorted)-1)/lower], 1)
	if c.batches > 0 {
		c.winning++
	} else {
		c.winning = 0
	}
	c.batches = 0
}

// sampled tells whether the sample is large enough: the last one on its way has ended, or
// it has twice what a cluster of answers can have. The first sample is taken sooner, since
// without it nothing pays.
func (c *costs) sampled(others int) bool {
	clusters := 2
	if c.each == 0 {
		clusters = 1
	}
	return c.count >= sampleSize && (others == 0 || c.count >= clusters*c.most)
}

func (c *costs) sawBatch(n int, took time.Duration, now time.Time) {
	c.batchAt = now
	c.batches++
	if better(took, n, c.each) {
		c.losing = 0
	} else {
		c.losing++
	}
	took = min(took, hiccup*c.batch(n))
	c.w, c.n, c.nn, c.c, c.nc = c.w*fade, c.n*fade, c.nn*fade, c.c*fade, c.nc*fade
	c.add(1, n, took)
}

package eventstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"closure/eventstore/retry"
)

// BucketCounters is the key-value bucket of all counters.
const BucketCounters = "CLOSURE_COUNTERS"

// CounterConfig of one counter.
type CounterConfig struct {
	// Name of the counter: the key in the bucket. Required.
	Name string
	// First number that the counter ever gives. It counts only when the counter
	// does not exist yet. Defaults to 1.
	First uint64
	// Block is how many numbers one instance takes at a time. What it has not
	// given when it ends is lost: larger blocks mean fewer requests and larger
	// gaps. Defaults to 16.
	Block uint64
	// Replicas of the bucket when it is created. Defaults to 1.
	Replicas int
}

// Counter gives numbers that are unique among all instances and over restarts.
// They ascend within an instance, and may have gaps. It may be used from many
// goroutines.
type Counter struct {
	kv  jetstream.KeyValue
	cfg CounterConfig

	mu   sync.Mutex
	next uint64 // to give
	end  uint64 // first one that is not ours
}

// NewCounter opens the counter, and creates the bucket when it is missing. A bucket
// that is not kept in files is ErrWrongStream: it would forget, and give numbers
// twice.
func NewCounter(ctx context.Context, js jetstream.JetStream, cfg CounterConfig) (*Counter, error) {
	if !ValidToken(cfg.Name) {
		return nil, fmt.Errorf("counter: the name %q is not one token", cfg.Name)
	}
	cfg.First = max(cfg.First, 1)
	if cfg.Block == 0 {
		cfg.Block = 16
	}
	cfg.Replicas = max(cfg.Replicas, 1)
	ctx, cancel := context.WithTimeout(ctx, retry.StartWithin)
	defer cancel()
	kv, err := retry.Insist(ctx, func(ctx context.Context) (jetstream.KeyValue, error) { return openBucket(ctx, js, cfg.Replicas) })
	if err != nil {
		return nil, Unavailable("counter "+cfg.Name, err)
	}
	return &Counter{kv: kv, cfg: cfg}, nil
}

func openBucket(ctx context.Context, js jetstream.JetStream, replicas int) (jetstream.KeyValue, error) {
	kv, err := js.KeyValue(ctx, BucketCounters)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		kv, err = js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket:      BucketCounters,
			Description: "closure: the highest number that was taken, for each counter",
			Storage:     jetstream.FileStorage,
			Replicas:    replicas,
			History:     1,
		})
		// Another instance was faster, with other replicas.
		if errors.Is(err, jetstream.ErrBucketExists) {
			kv, err = js.KeyValue(ctx, BucketCounters)
		}
	}
	if err != nil {
		return nil, err
	}
	status, err := kv.Status(ctx)
	if err != nil {
		return nil, err
	}
	switch cfg := status.Config(); {
	case cfg.Storage != jetstream.FileStorage:
		return nil, fmt.Errorf("%w: bucket %s: storage is %s, has to be file", ErrWrongStream, BucketCounters, cfg.Storage)
	case cfg.TTL != 0:
		return nil, fmt.Errorf("%w: bucket %s: its values expire after %s, and may not", ErrWrongStream, BucketCounters, cfg.TTL)
	}
	return kv, nil
}

// Next gives the next number. When the block is used up it takes another one; if
// the bucket does not answer until the context ends, or within 5 s, that is
// ErrUnavailable, and trying again is safe.
func (c *Counter) Next(ctx context.Context) (uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next == c.end {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		if err := c.reserve(ctx); err != nil {
			return 0, err
		}
	}
	n := c.next
	c.next++
	return n, nil
}

// reserve takes the next block: it moves the stored number on, under the guard
// that nobody else has moved it. A lost answer costs the block, and no more.
func (c *Counter) reserve(ctx context.Context) error {
	for wait := retry.NewBackoff(2*time.Millisecond, 100*time.Millisecond); ; {
		err := c.tryReserve(ctx)
		if err == nil {
			return nil
		}
		if !lostRace(err) && !retry.Transient(err) {
			return fmt.Errorf("counter %s: %w", c.cfg.Name, err)
		}
		if waitErr := wait.Wait(ctx); waitErr != nil {
			return fmt.Errorf("%w: counter %s: %w", ErrUnavailable, c.cfg.Name, errors.Join(err, waitErr))
		}
	}
}

func (c *Counter) tryReserve(ctx context.Context) error {
	first, revision := c.cfg.First, uint64(0)
	entry, err := c.kv.Get(ctx, c.cfg.Name)
	switch {
	case err == nil:
		revision = entry.Revision()
		if first, err = strconv.ParseUint(string(entry.Value()), 10, 64); err != nil {
			// To begin anew would give numbers twice.
			return fmt.Errorf("the stored value %q is not a number", entry.Value())
		}
	case !errors.Is(err, jetstream.ErrKeyNotFound):
		return err
	}
	if first > math.MaxUint64-c.cfg.Block {
		return errors.New("no numbers are left")
	}
	end := first + c.cfg.Block
	// Revision 0 means that the key does not exist.
	if _, err := c.kv.Update(ctx, c.cfg.Name, strconv.AppendUint(nil, end, 10), revision); err != nil {
		return err
	}
	c.next, c.end = first, end
	return nil
}

// lostRace: another instance took a block in between.
func lostRace(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) &&
		(api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
			api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"closure/domain"
	"closure/eventstore"
	"closure/handlers"
	publishing "closure/projections/publisher"
	"closure/projections/webhooks"
	"closure/projections/webhooks/endpoint"
	"closure/projections/webhooks/signing"
)

// delivering is the server of the deliveries. Each write is synced, as in `closure serve`: the attempts are.
var delivering = setting{"delivering", true}

const (
	// endpoints that get deliveries at a time, each with a subscription and a connection of its own.
	endpoints = 16
	// deliveryBody is the size of one body: that of an account, with what is around it.
	deliveryBody = 1 << 10
	// backlogFor is how many deliveries a second to an endpoint the backlog of a turn has to last for; when it does not, the turn
	// ends with it.
	backlogFor = 2000
	// publishedAtOnce is how many events are on their way to the server at a time.
	publishedAtOnce = 500
	// latencyRate is the moderate load: commits a second. Each is delivered to latencyEndpoints.
	latencyRate      = 100
	latencyEndpoints = 4
	// latencySlices is for how many slices that is measured.
	latencySlices = 5
)

// deliveryFigure: webhook requests a second, each with one event, signed by both schemes, with its attempt kept, beside a loop that
// posts the same bytes.
func deliveryFigure() Figure {
	return Figure{
		ID: "webhook_deliveries", Name: fmt.Sprintf("webhooks: signed deliveries of 1 kB over https, %d endpoints", endpoints), Unit: "requests/s",
		Baseline: "plain loop of the same posts", Target: atLeast(0.5), on: []setting{delivering}, prepare: deliveries,
	}
}

// figure: within which time p in a hundred deliveries of a commit arrive, at a moderate load. All such figures are of one
// measurement.
func (l *latency) figure(p int) Figure {
	return Figure{
		ID: fmt.Sprintf("webhook_latency_p%d", p), Unit: "ms", Rounds: 1, on: []setting{delivering},
		Name: fmt.Sprintf("webhooks: commit to delivery, p%d, %d commits/s to %d endpoints", p, latencyRate, latencyEndpoints),
		prepare: func(_ context.Context, b *bench) (sides, error) {
			return sides{engine: func(ctx context.Context) (float64, error) { return l.percentile(ctx, b, p) }, note: l.note}, nil
		},
	}
}

// deliveries compares deliveries of a backlog with a plain loop.
func deliveries(ctx context.Context, b *bench) (sides, error) {
	a, err := b.arena(ctx, delivering)
	if err != nil {
		return sides{}, err
	}
	d := &dispatch{b: b, a: a}
	// The plain side needs a request to repeat, and both have to have run once.
	if _, err := d.turn(ctx, amount{most: 2 * endpoints}); err != nil {
		return sides{}, err
	}
	if _, err := d.plain(ctx, amount{most: 2 * endpoints}); err != nil {
		return sides{}, err
	}
	return sides{
		engine:   func(ctx context.Context) (float64, error) { return d.turn(ctx, b.slice()) },
		baseline: func(ctx context.Context) (float64, error) { return d.plain(ctx, b.slice()) },
		note: func() string {
			return fmt.Sprintf("%s, bodies of %d bytes, one request at a time to each endpoint on both sides; the engine reads the event, signs (two Ed25519, an HMAC, a digest), keeps the attempt on disk, and acknowledges",
				d.protocol, len(d.sample.body))
		},
	}, nil
}

// dispatch is the webhooks of an engine, for one turn after the other.
type dispatch struct {
	b        *bench
	a        *arena
	sample   posted // a request as the engine has made it
	protocol string // of the requests
}

// posted is a request as an endpoint got it.
type posted struct {
	header http.Header
	body   []byte
}

// turn delivers a backlog, and gives how many requests a second came. All that it has made is gone afterwards.
func (d *dispatch) turn(ctx context.Context, much amount) (rate float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, much.lasting+patience)
	defer cancel()
	// Each endpoint holds its first request until all is ready: those do not count.
	gate := make(chan struct{})
	open := sync.OnceFunc(func() { close(gate) })
	hall, err := openHall(endpoints, func(n int64, p posted) {
		if n == 1 {
			d.sample = p
		}
		<-gate
	})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, hall.close()) }()
	e, err := d.b.openSending(ctx, d.a, hall, d.b.ids.next(), domain.WebhookConfig{MaxPackageSize: deliveryBody})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, e.close()) }()
	defer open() // before the rest: it would hold up the end
	each := much.most/endpoints + int(backlogFor*much.lasting.Seconds())
	if err := e.publish(ctx, each+1); err != nil {
		return 0, err
	}
	if err := hall.came.await(ctx, endpoints); err != nil {
		return 0, err
	}
	d.protocol = hall.protocol()
	runtime.GC()
	until := ctx
	if much.lasting > 0 {
		var done context.CancelFunc
		until, done = context.WithTimeout(ctx, much.lasting)
		defer done()
	}
	begin := time.Now()
	open()
	if err := hall.came.await(until, int64(endpoints*(each+1))); err != nil && (ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded)) {
		return 0, err
	}
	return float64(hall.came.load()-endpoints) / time.Since(begin).Seconds(), nil
}

// plain posts the same request again and again: as many connections, the same headers, the same body.
func (d *dispatch) plain(ctx context.Context, much amount) (rate float64, err error) {
	hall, err := openHall(endpoints, func(int64, posted) {})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, hall.close()) }()
	transport := &http.Transport{TLSClientConfig: hall.trusted(), ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	post := func(ctx context.Context, worker, _ int) error {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, hall.urls[worker], bytes.NewReader(d.sample.body))
		if err != nil {
			return err
		}
		maps.Copy(r.Header, d.sample.header)
		res, err := client.Do(r)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, res.Body)
		return errors.Join(err, res.Body.Close())
	}
	for worker := range endpoints { // the connections stand before anything counts, as they do for the engine
		if err := post(ctx, worker, 0); err != nil {
			return 0, err
		}
	}
	return measure(ctx, much, inFlight(endpoints, post))
}

// sending is the part of an engine that delivers: keys, webhooks, and a subscription for each endpoint.
type sending struct {
	a      *arena
	client string
	ids    *idSource
	parts  []lifecycle // in the order of their starts
}

// lifecycle is the one of all parts of an engine.
type lifecycle interface {
	Start(context.Context) error
	Stop(context.Context) error
}

func (b *bench) openSending(ctx context.Context, a *arena, hall *hall, client string, config domain.WebhookConfig) (_ *sending, err error) {
	s := &sending{a: a, client: client, ids: b.ids}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	keys := signing.New(signing.Config{Log: a.log, Replicas: b.cfg.Replicas})
	hooks := webhooks.New(webhooks.Config{
		Log: a.log, Replicas: b.cfg.Replicas, Signer: keys,
		Sender: endpoint.New(endpoint.Config{AllowInsecure: true, RootCAs: hall.trusted().RootCAs}), // loopback; the rest is as in production
	})
	for _, p := range []lifecycle{publishing.New(publishing.Config{Log: a.log, Replicas: b.cfg.Replicas}), keys, hooks} {
		s.parts = append(s.parts, p)
		if err := p.Start(ctx); err != nil {
			return nil, err
		}
	}
	for i, url := range hall.urls {
		_, err := hooks.Create(ctx, s.client, domain.Webhook{
			Title: fmt.Sprint("bench ", i), URL: url, Enabled: true, Type: []domain.WebhookFamily{domain.WebhookAll}, Config: config,
		})
		if err != nil {
			return nil, err
		}
	}
	return s, nil
}

// publish events as the publisher writes them, with an object that makes a body of the right size.
func (s *sending) publish(ctx context.Context, n int) error {
	js, account := s.a.log.JetStream(), s.ids.next()
	object := accountOf(account)
	var last jetstream.PubAckFuture
	for i := range n {
		id := s.ids.next()
		msg := nats.NewMsg(eventstore.EventSubject(s.client, domain.PublishedAccountUpdated, account))
		msg.Data = object
		for _, h := range [][2]string{{"ce-id", id}, {"ce-type", domain.PublishedAccountUpdated}, {"ce-time", time.Now().UTC().Format(time.RFC3339Nano)}, {jetstream.MsgIDHeader, id}} {
			msg.Header.Set(h[0], h[1])
		}
		var err error
		if last, err = js.PublishMsgAsync(msg); err != nil {
			return err
		}
		if i%publishedAtOnce == 0 {
			if err := settle(ctx, last, &spot{}); err != nil {
				return err
			}
			last = nil // it gives its answer once
		}
	}
	return settle(ctx, last, &spot{})
}

// accountOf is an object that makes a body of deliveryBody bytes, or a few less.
func accountOf(id string) []byte {
	const around = 240 // of the payload, with the longest time
	head, tail := `{"id":"`+id+`","status":"ACTIVE","name":"`, `"}`
	return append(append([]byte(head), bytes.Repeat([]byte("x"), deliveryBody-around-len(head)-len(tail))...), tail...)
}

// close stops the parts and takes away the streams that they have made: the next turn begins anew.
func (s *sending) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), cleanWithin)
	defer cancel()
	var errs []error
	for _, p := range slices.Backward(s.parts) {
		errs = append(errs, p.Stop(ctx))
	}
	names, err := engineStreams(ctx, s.a.plainJS)
	errs = append(errs, err)
	for _, name := range names {
		if name != eventstore.StreamLog && name != plainStream {
			errs = append(errs, s.a.plainJS.DeleteStream(ctx, name))
		}
	}
	return errors.Join(errs...)
}

// latency is how long deliveries have taken.
type latency struct {
	came    tally
	renamed int // how many renames there were
	mu      sync.Mutex
	took    []time.Duration // sorted when all have come
}

// percentile is in milliseconds.
func (l *latency) percentile(ctx context.Context, b *bench, p int) (float64, error) {
	if len(l.took) == 0 {
		if err := l.measure(ctx, b); err != nil {
			return 0, err
		}
	}
	return float64(l.took[(len(l.took)-1)*p/100]) / float64(time.Millisecond), nil
}

func (l *latency) note() string {
	return fmt.Sprintf("%s deliveries, from the time that the commit bears to the arrival; packages of one event, since config.delay comes on top of it",
		thousands(len(l.took)))
}

// measure renames accounts at a steady rate, whatever is still on its way, and looks when the endpoints hear of it.
func (l *latency) measure(ctx context.Context, b *bench) (err error) {
	a, err := b.arena(ctx, delivering)
	if err != nil {
		return err
	}
	hall, err := openHall(latencyEndpoints, func(_ int64, p posted) { l.arrived(p, time.Now()) })
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, hall.close()) }()
	d := &desk{engine: handlers.New(handlers.Config{Log: a.log, SecuritiesAccountNumbers: &counter{}}), ids: b.ids, client: b.ids.next()}
	accounts := make([]*held, accountsOfAGroup)
	if err := d.open(ctx, accounts); err != nil {
		return err
	}
	s, err := b.openSending(ctx, a, hall, d.client, domain.WebhookConfig{MaxPackageSize: 100})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	// Until the first ones have come the parts of the engine may still be about to begin.
	if err := l.rename(ctx, d, accounts, len(accounts)); err != nil {
		return err
	}
	l.mu.Lock()
	l.took = nil
	l.mu.Unlock()
	if err := l.rename(ctx, d, accounts, max(int(latencySlices*b.cfg.Sizes.Slice.Seconds()*latencyRate), 1)); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	slices.Sort(l.took)
	return nil
}

// rename renames accounts in turn, n times, and waits until the endpoints have heard of all of it.
func (l *latency) rename(ctx context.Context, d *desk, accounts []*held, n int) error {
	before := l.came.load()
	group, working := errgroup.WithContext(ctx)
	tick := time.NewTicker(time.Second / latencyRate)
	defer tick.Stop()
	for range n {
		select {
		case <-tick.C:
		case <-working.Done():
			return group.Wait()
		}
		at := accounts[l.renamed%len(accounts)].ref
		l.renamed++
		name := fmt.Sprint("Savings ", l.renamed)
		group.Go(func() error { return d.do(working, at, &domain.RenameAccount{Name: name}) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := l.came.await(waiting, before+int64(latencyEndpoints*n)); err != nil {
		return fmt.Errorf("%d of %d deliveries came: %w", l.came.load()-before, latencyEndpoints*n, err)
	}
	return nil
}

// arrived notes how old the events of a request are. Those of the opening of the accounts may come as well, and do not count.
func (l *latency) arrived(p posted, at time.Time) {
	var body struct {
		Payload []struct {
			Type      string    `json:"type"`
			CreatedAt time.Time `json:"created_at"`
		} `json:"payload"`
	}
	if json.Unmarshal(p.body, &body) != nil {
		return // then the number is not reached
	}
	for _, e := range body.Payload {
		if e.Type != domain.PublishedAccountUpdated {
			continue
		}
		l.mu.Lock()
		l.took = append(l.took, at.Sub(e.CreatedAt))
		l.mu.Unlock()
		l.came.add(1)
	}
}

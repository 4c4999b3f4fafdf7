package webhooks

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"closure/eventstore"
)

const (
	// pinGroup is the priority group of a consumer: the server delivers to one member of it, the pinned one.
	pinGroup = "active"
	// headerPin names the pin under which a message was delivered.
	headerPin = "Nats-Pin-Id"

	// askExpiry and askHeartbeat are how long a request for the first event stands, and how often the server says meanwhile
	// that it still has it. Two heartbeats missing, and the runner looks what is the matter.
	askExpiry    = time.Minute
	askHeartbeat = 10 * time.Second
	// askMargin is how long the end of a request may be on its way.
	askMargin = 5 * time.Second

	// askBatch is the most events of one request, and what the channel of a feed has room for, with what else is answered.
	askBatch = 256

	nextSubject = "$JS.API.CONSUMER.MSG.NEXT." + eventstore.StreamEvents + "."
)

// What the server answers instead of an event, in the header Status.
const (
	statusNone      = ""    // it is an event
	statusHeartbeat = "100" // the request stands
	statusNothing   = "404" // the request has ended without an event
	statusExpired   = "408" // the request has ended
	statusConflict  = "409" // the description says what it is
	statusPinLost   = "423" // another one is pinned

	completed = "Batch Completed"
	tooLarge  = "Message Size Exceeds MaxBytes"
)

var (
	// errSilent: neither an event nor a heartbeat came.
	errSilent = errors.New("the server is silent")
	// errPinLost: the server delivers to another process.
	errPinLost = errors.New("another process is pinned")
)

// feed asks the server for the events of one consumer.
//
// The iterator of the client library costs two goroutines more for each subscription, a buffer of half a megabyte, and keeps
// to itself that nobody has heard its request, as happens while a consumer is just being made or moves to another server.
// Here that is an error at once.
type feed struct {
	nc      *nats.Conn
	replies *nats.Subscription
	inbox   string // each request has a reply subject of its own below it, so that late answers to earlier ones do not count
	ch      chan *nats.Msg
	subject string
	pin     string // "": not pinned yet

	number int       // of the last request
	left   int       // how many events it may still bring; 0: no request stands
	got    int       // how many it brought
	alone  bool      // the next event is larger than what was asked for, and has to be asked for without a bound
	asked  time.Time // when the server last heard of this process; with that its pin was renewed
	heard  time.Time // when the server was last heard
	quiet  time.Duration
}

// openFeed makes a feed with an inbox of its own.
func (s *Service) openFeed(id, pin string) (*feed, error) {
	nc := s.cfg.Log.Conn()
	f := &feed{nc: nc, inbox: nc.NewInbox(), ch: make(chan *nats.Msg, askBatch+16), subject: nextSubject + consumerName(id), pin: pin}
	replies, err := nc.ChanSubscribe(f.inbox+".*", f.ch)
	if err != nil {
		return nil, err
	}
	f.replies = replies
	return f, nil
}

// idle tells whether no request stands.
func (f *feed) idle() bool { return f.left == 0 }

// reply is where the answers to the last request come.
func (f *feed) reply() string { return f.inbox + "." + strconv.Itoa(f.number) }

// ask for events: batch of them at most, and with more than 0 bytes, so many. A request that has a pin renews it.
func (f *feed) ask(batch, bytes int, expires, heartbeat time.Duration) error {
	if f.alone {
		batch, bytes = 1, 0
	}
	f.number++
	f.left, f.got = min(batch, askBatch), 0
	f.asked = time.Now()
	f.heard, f.quiet = f.asked, expires+askMargin
	request := fmt.Appendf(nil, `{"batch":%d,"expires":%d,"group":%q`, f.left, expires.Nanoseconds(), pinGroup)
	if bytes > 0 {
		request = fmt.Appendf(request, `,"max_bytes":%d`, bytes)
	}
	if heartbeat > 0 {
		f.quiet = 2 * heartbeat
		request = fmt.Appendf(request, `,"idle_heartbeat":%d`, heartbeat.Nanoseconds())
	}
	if f.pin != "" {
		request = fmt.Appendf(request, `,"id":%q`, f.pin)
	}
	return f.nc.PublishRequest(f.subject, f.reply(), append(request, '}'))
}

// touch renews the pin without an event: there is none of one byte. Nobody listens to the answer.
func (f *feed) touch() error {
	f.asked = time.Now()
	return f.sendTouch()
}

// sendTouch is for any goroutine.
func (f *feed) sendTouch() error {
	request := fmt.Appendf(nil, `{"batch":1,"max_bytes":1,"expires":%d,"group":%q,"id":%q}`, time.Second.Nanoseconds(), pinGroup, f.pin)
	return f.nc.PublishRequest(f.subject, f.inbox, request)
}

// sweep has the server drop the request that stood, now that nobody listens. It would do so with the next event only, and not
// before it has given the pin to that request: then nobody would get anything until the pin lapses. A request for an event
// of one byte makes it look, and takes neither an event nor a pin.
func (f *feed) sweep() {
	request := fmt.Appendf(nil, `{"batch":1,"max_bytes":1,"expires":%d,"group":%q}`, time.Second.Nanoseconds(), pinGroup)
	_ = f.nc.PublishRequest(f.subject, f.inbox, request) // it only saves time
}

// silentAt is when the server should have been heard again.
func (f *feed) silentAt() time.Time { return f.heard.Add(f.quiet) }

// take looks at what came. It gives back an event, or nil for what else the server answers. After an error the session is
// over.
func (f *feed) take(msg *nats.Msg) (*nats.Msg, error) {
	f.heard = time.Now()
	status := statusOf(msg)
	if status == statusNone {
		f.left, f.alone = max(f.left-1, 0), false
		f.got++
		return msg, nil
	}
	if msg.Subject != f.reply() {
		return nil, nil // the answer to an earlier request
	}
	switch description := msg.Header.Get("Description"); {
	case status == statusHeartbeat:
	case status == statusNothing, status == statusExpired, status == statusConflict && description == completed:
		f.left = 0
	case status == statusConflict && description == tooLarge:
		f.left, f.alone = 0, f.got == 0
	case status == statusPinLost:
		return nil, errPinLost
	default:
		return nil, fmt.Errorf("the server answers %s %s", status, description)
	}
	return nil, nil
}

// first waits for the first event: with it this process is pinned. When a request has ended in vain, the first of them after
// expires, it looks what is the matter.
func (f *feed) first(ctx context.Context, expires time.Duration, look func() error) (*nats.Msg, error) {
	for asked := false; ; asked = true {
		if f.idle() {
			if asked {
				if err := look(); err != nil {
					return nil, err
				}
				expires = askExpiry
			}
			if err := f.ask(1, 0, expires, min(askHeartbeat, expires/3)); err != nil {
				return nil, err
			}
		}
		msg, err := f.next(ctx, time.Time{})
		if err != nil || msg != nil {
			return msg, err
		}
	}
}

// next waits for what comes next, until a time (zero: without end). nil: nothing came, or nothing that is an event.
func (f *feed) next(ctx context.Context, until time.Time) (*nats.Msg, error) {
	select {
	case msg := <-f.ch:
		return f.take(msg)
	default:
	}
	now := time.Now()
	silent := f.silentAt()
	wait := silent.Sub(now)
	if !until.IsZero() {
		wait = min(wait, until.Sub(now))
	}
	timer := time.NewTimer(max(wait, 0))
	defer timer.Stop()
	select {
	case msg := <-f.ch:
		return f.take(msg)
	case <-timer.C:
		if f.left > 0 && !time.Now().Before(silent) {
			return nil, errSilent
		}
		return nil, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// statusOf tells an event from what else the server answers.
func statusOf(msg *nats.Msg) string {
	if len(msg.Data) > 0 {
		return statusNone
	}
	return msg.Header.Get("Status")
}

// drain ends the asking, and gives the pin of an event that came all the same; "" when none did. After it the server sends
// nothing more to this feed.
func (f *feed) drain() (pin string) {
	if !f.nc.IsConnected() || f.replies.Drain() != nil {
		_ = f.replies.Unsubscribe() // an error could only say that it has ended
		return ""
	}
	// What the server had sent before it read of the end comes before its answer to this.
	if f.nc.FlushTimeout(finishWithin) != nil {
		return ""
	}
	if f.pin == "" {
		f.sweep()
	}
	for {
		select {
		case msg := <-f.ch:
			if statusOf(msg) == statusNone {
				pin = msg.Header.Get(headerPin)
			}
		default:
			return pin
		}
	}
}

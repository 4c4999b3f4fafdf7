package webhooks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"closure/eventstore"
)

const (
	// askExpiry and askHeartbeat are how long a request for the next event stands, and how often the server says meanwhile
	// that it still has it. Two heartbeats missing, and the runner looks what is the matter.
	askExpiry    = time.Minute
	askHeartbeat = 10 * time.Second

	nextSubject = "$JS.API.CONSUMER.MSG.NEXT." + eventstore.StreamEvents + "."
)

// What the server answers instead of an event, in the header Status.
const (
	statusNone      = ""    // it is an event
	statusHeartbeat = "100" // the request stands
	statusNothing   = "404" // the request has ended without an event
	statusExpired   = "408" // the request has ended without an event
)

// errSilent: neither an event nor a heartbeat came.
var errSilent = errors.New("the server is silent")

// feed asks the server for the events of one consumer, one at a time.
//
// The iterator of the client library costs two goroutines more for each subscription, and keeps to itself that nobody has
// heard its request, as happens while a consumer is just being made or moves to another server: it then waits for two
// missing heartbeats. Here that is an error at once.
type feed struct {
	nc      *nats.Conn
	replies *nats.Subscription
	subject string
	asked   bool // a request stands
}

func (s *Service) openFeed(id string) (*feed, error) {
	nc := s.cfg.Log.Conn()
	replies, err := nc.SubscribeSync(nc.NewInbox())
	if err != nil {
		return nil, err
	}
	return &feed{nc: nc, replies: replies, subject: nextSubject + consumerName(id)}, nil
}

// next waits for the next event. After an error other than the context's the consumer has to be looked at.
func (f *feed) next(ctx context.Context) (*nats.Msg, error) {
	for {
		if err := f.ask(); err != nil {
			return nil, err
		}
		msg, err := f.receive(ctx)
		if err != nil {
			f.asked = false
			return nil, err
		}
		switch status := statusOf(msg); status {
		case statusNone:
			f.asked = false
			return msg, nil
		case statusHeartbeat:
		case statusNothing, statusExpired:
			f.asked = false
		default:
			f.asked = false
			return nil, fmt.Errorf("the server answers %s %s", status, msg.Header.Get("Description"))
		}
	}
}

// ask for one event, unless that was done.
func (f *feed) ask() error {
	if f.asked {
		return nil
	}
	request := fmt.Appendf(nil, `{"batch":1,"expires":%d,"idle_heartbeat":%d}`, askExpiry.Nanoseconds(), askHeartbeat.Nanoseconds())
	if err := f.nc.PublishRequest(f.subject, f.replies.Subject, request); err != nil {
		return err
	}
	f.asked = true
	return nil
}

func (f *feed) receive(ctx context.Context) (*nats.Msg, error) {
	bound, cancel := context.WithTimeout(ctx, 2*askHeartbeat)
	defer cancel()
	msg, err := f.replies.NextMsgWithContext(bound)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return nil, errSilent
	}
	return msg, err
}

// statusOf tells an event from what else the server answers.
func statusOf(msg *nats.Msg) string {
	if len(msg.Data) > 0 {
		return statusNone
	}
	return msg.Header.Get("Status")
}

// close ends the asking, and returns what came all the same, so that it does not have to wait until the server misses its
// acknowledgement.
func (f *feed) close() {
	if !f.nc.IsConnected() || f.replies.Drain() != nil {
		// The server misses it in time; an error could only say that the subscription has ended.
		_ = f.replies.Unsubscribe()
		return
	}
	for {
		msg, err := f.replies.NextMsg(finishWithin)
		if err != nil {
			return
		}
		if statusOf(msg) == statusNone && msg.Nak() != nil {
			return
		}
	}
}

package natsapi

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/micro"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/retry"
	"closure/eventstore/tracing"
	"closure/handlers"
)

const (
	// maxRequests is how many requests are in hand at a time; one more is answered as unavailable at once.
	maxRequests = 256
	// quietTime: when no request has come for so long, the client's buffer is empty.
	quietTime = 25 * time.Millisecond
)

// Rejected is the result of a command that was refused or failed; the answer's error says why.
const Rejected handlers.Result = "rejected"

// Answer is what a request on closure.rpc.<aggregate>.<id>.<command> is answered with (CONTRACT: NATS).
type Answer struct {
	// Result is accepted, unchanged or rejected.
	Result handlers.Result `json:"result"`
	// Sequence in CLOSURE_LOG: of the command's commit, or when it is unchanged of the aggregate's last one; 0 when it
	// is rejected.
	Sequence uint64 `json:"sequence"`
	// Error says why it is rejected.
	Error *Problem `json:"error,omitempty"`
}

// startRPC registers the micro service. The endpoint takes all of closure.rpc.>, so that a subject with the wrong number
// of tokens is answered, too.
func (s *Service) startRPC() error {
	service, err := micro.AddService(s.nc, micro.Config{
		Name:        "closure",
		Version:     s.cfg.Version,
		Description: "Closes investment accounts and account groups: commands and facts on " + eventstore.RPCForm + ", answered at once.",
		ErrorHandler: func(_ micro.Service, err *micro.NATSError) {
			s.log.Warn("the micro service has trouble with its connection", "subject", err.Subject, "error", err)
		},
	})
	if err != nil {
		return fmt.Errorf("micro service: %w", err)
	}
	s.rpc = service
	err = service.AddEndpoint("rpc", micro.HandlerFunc(s.takeRequest), micro.WithEndpointSubject(eventstore.RPCSubjects),
		micro.WithEndpointMetadata(map[string]string{"subject": eventstore.RPCForm, "answer": `{"result", "sequence", "error"}`}))
	if err != nil {
		return fmt.Errorf("micro service: %w", err)
	}
	if err := s.addQueries(service); err != nil {
		return fmt.Errorf("micro service: %w", err)
	}
	return s.flush() // the server knows of it: requests are answered from now on
}

// takeRequest is called for one request after the other, so it only hands them on.
func (s *Service) takeRequest(req micro.Request) {
	s.lastRequest.Store(time.Now().UnixNano())
	if req.Reply() == "" {
		// There is nobody to answer to, and so nobody who would learn that it was refused. Who cannot wait for an answer
		// uses the inbox.
		s.log.Debug("dropped a request without a reply subject", "subject", req.Subject())
		return
	}
	from := tracing.From(req.Headers())
	s.hand(req, func() any { return s.answer(req.Subject(), req.Data(), from) }, func(p *Problem) any { return Answer{Result: Rejected, Error: p} })
}

// answer executes one request.
func (s *Service) answer(subject string, body []byte, from tracing.Context) Answer {
	r := request{subject: subject, body: body, way: "rpc", trace: from}
	var ok bool
	if r.aggregate, r.id, r.command, ok = eventstore.ParseRPCSubject(subject); !ok {
		r.refusal = malformedSubject(subject, eventstore.RPCForm)
	}
	c, out, err := s.execute(r)
	if err == nil {
		return Answer{Result: out.Result, Sequence: out.Sequence}
	}
	s.logAnswer(r, c, err)
	return Answer{Result: Rejected, Error: problemOf(err, c.RequestID)}
}

// logAnswer keeps the cause of what the client is only told in general.
func (s *Service) logAnswer(r request, c domain.Command, err error) {
	switch {
	case slugOf(err) == handlers.InternalError:
		s.logFailure(r, c, err)
	case transient(err):
		s.log.WarnContext(r.trace.In(s.working), "a request could not be carried out", "subject", r.subject, "command_id", c.ID,
			"request_id", c.RequestID, "correlation_id", c.CorrelationID, "error", err)
	}
}

// respond answers by the connection and not by the request: micro reads its request again after the handler, while
// this may still run.
func (s *Service) respond(req micro.Request, a any) {
	body, err := encode(a)
	if err == nil {
		err = s.nc.Publish(req.Reply(), body)
	}
	if err != nil {
		s.log.Error("a request could not be answered", "subject", req.Subject(), "error", err)
	}
}

// stopRPC tells the server to send no more requests.
func (s *Service) stopRPC() error {
	if s.rpc == nil {
		return nil
	}
	if err := s.rpc.Stop(); err != nil && !s.nc.IsClosed() {
		return fmt.Errorf("natsapi: micro service: %w", err)
	}
	// What the server sent before it heard of it is in the client's buffer once this is answered.
	return s.flush()
}

// finishRequests returns when all requests that came are answered. From then on each is answered as unavailable.
func (s *Service) finishRequests() {
	if s.rpc == nil {
		return
	}
	// The client's buffer is handed on at once, and nobody tells when it is empty: no request for a while tells it.
	s.lastRequest.Store(time.Now().UnixNano())
	for {
		quiet := time.Since(time.Unix(0, s.lastRequest.Load()))
		if quiet >= quietTime || retry.Pause(s.working, quietTime-quiet) != nil {
			break
		}
	}
	// Holding all slots means that no request is in hand. It cannot fail: the context never ends.
	_ = s.slots.Acquire(context.Background(), maxRequests)
}

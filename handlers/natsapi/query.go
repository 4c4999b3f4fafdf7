package natsapi

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go/micro"

	"closure/domain"
	"closure/eventstore"
	"closure/handlers"
)

// Lists are what operators ask for: readmodel.Model has them.
type Lists interface {
	Closures(ctx context.Context, q domain.ClosureQuery) ([]domain.ClosureItem, int, error)
}

// ClosuresRequest is a question on closure.query.closures. Every member is optional, and so is the body. Whoever may send it
// is an operator: it is not bound to a tenant.
type ClosuresRequest struct {
	ClientID       string             `json:"client_id,omitempty"` // one tenant alone
	Status         domain.Status      `json:"status,omitempty"`
	Blocker        domain.BlockerCode `json:"blocker,omitempty"`
	Reconciliation bool               `json:"reconciliation,omitempty"` // only those with something to reconcile
	Offset         int                `json:"offset,omitempty"`
	Limit          int                `json:"limit,omitempty"` // 1 to 1000. Defaults to 100
}

// ClosuresAnswer is its answer: a page of the closings, the oldest request first, and how many there are in all.
type ClosuresAnswer struct {
	TotalCount int                  `json:"total_count"`
	Data       []domain.ClosureItem `json:"data"`
	Error      *Problem             `json:"error,omitempty"`
}

// addQueries registers what operators may ask; without lists there is nothing to ask.
func (s *Service) addQueries(service micro.Service) error {
	if err := s.addStatus(service); err != nil {
		return err
	}
	if s.cfg.Lists == nil {
		return nil
	}
	return service.AddEndpoint("closures", micro.HandlerFunc(func(req micro.Request) {
		s.hand(req, func() any { return s.closures(req.Data()) }, func(p *Problem) any { return ClosuresAnswer{Error: p} })
	}), micro.WithEndpointSubject(eventstore.QueryClosures),
		micro.WithEndpointMetadata(map[string]string{"answer": `{"total_count", "data", "error"}`}))
}

// addStatus registers the question of how the engine is. Every engine answers it.
func (s *Service) addStatus(service micro.Service) error {
	if s.cfg.Status == nil {
		return nil
	}
	return service.AddEndpoint("status", micro.HandlerFunc(func(req micro.Request) {
		s.hand(req, func() any {
			ctx, cancel := context.WithTimeout(s.working, s.commandTime)
			defer cancel()
			return s.cfg.Status(ctx)
		}, func(p *Problem) any { return ClosuresAnswer{Error: p} })
	}), micro.WithEndpointSubject(eventstore.QueryStatus), micro.WithEndpointQueueGroupDisabled(),
		micro.WithEndpointMetadata(map[string]string{"answer": "each engine's own state"}))
}

func (s *Service) closures(body []byte) ClosuresAnswer {
	q, err := parseClosures(body)
	if err != nil {
		return ClosuresAnswer{Error: problemOf(err, "")}
	}
	ctx, cancel := context.WithTimeout(s.working, s.commandTime)
	defer cancel()
	items, total, err := s.cfg.Lists.Closures(ctx, domain.ClosureQuery(q))
	if err != nil {
		if slugOf(err) == handlers.InternalError {
			s.log.Error("the list of closings could not be read", "error", err)
		}
		return ClosuresAnswer{Error: problemOf(err, "")}
	}
	return ClosuresAnswer{TotalCount: total, Data: items}
}

func parseClosures(body []byte) (q ClosuresRequest, err error) {
	if len(body) == 0 {
		return q, nil
	}
	if err := json.Unmarshal(body, &q, json.RejectUnknownMembers(true)); err != nil {
		var semantic *json.SemanticError
		if errors.As(err, &semantic) {
			return q, invalid("body", "must be a JSON object with client_id, status, blocker, reconciliation, offset, limit; wrong at %s",
				domain.Quote(string(semantic.JSONPointer)))
		}
		return q, invalid("body", "must be a JSON object with client_id, status, blocker, reconciliation, offset, limit")
	}
	if q.ClientID != "" {
		id, err := domain.ParseID(q.ClientID)
		if err != nil {
			return q, invalid("client_id", "%v", err)
		}
		q.ClientID = id
	}
	return q, nil
}

// isInbox tells whether a reply subject may be answered on. The engine may publish everywhere and the sender may not: by a reply
// subject, it could have the engine write for it.
func isInbox(reply string) bool {
	return reply != "" && !strings.HasPrefix(reply, "closure.") && !strings.HasPrefix(reply, "$")
}

// hand executes a request beside the others, within the bound on all of them, and answers it.
func (s *Service) hand(req micro.Request, answer func() any, refuse func(*Problem) any) {
	if !isInbox(req.Reply()) {
		s.log.Warn("dropped a request whose reply subject is no inbox", "subject", req.Subject(), "reply", domain.Quote(req.Reply()))
		return
	}
	if !s.slots.TryAcquire(1) {
		s.respond(req, refuse(problemOf(fmt.Errorf("%w: too many requests in hand", eventstore.ErrUnavailable), "")))
		return
	}
	go func() {
		defer s.slots.Release(1)
		s.respond(req, answer())
	}()
}

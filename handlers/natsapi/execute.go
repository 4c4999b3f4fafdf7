package natsapi

import (
	"context"
	"errors"
	"fmt"

	"closure/domain"
	"closure/handlers"
)

// request is a command as it came, by either way.
type request struct {
	subject                string // as the client sent it
	aggregate, id, command string // its tokens
	refusal                error  // when the subject does not have them
	body                   []byte
}

// execute reads and does a command once, within its time. A panic is an internal error. What is returned with an error
// says whose command it was, as far as that could be read.
func (s *Service) execute(r request) (c domain.Command, out handlers.Outcome, err error) {
	defer recovered(&err)
	c, err = ParseCommand(r.aggregate, r.id, r.command, r.body)
	if r.refusal != nil {
		return c, out, r.refusal
	}
	if err != nil {
		return c, out, err
	}
	ctx, cancel := context.WithTimeoutCause(s.working, s.commandTime, errTimeUp)
	defer cancel()
	out, err = s.cfg.Engine.Do(ctx, c)
	var refusal *domain.Refusal
	if err != nil && !errors.As(err, &refusal) && !transient(err) && errors.Is(context.Cause(ctx), errTimeUp) {
		err = fmt.Errorf("%w: %w", errTimeUp, err)
	}
	return c, out, err
}

// logFailure tells the operator what the client is not told.
func (s *Service) logFailure(r request, c domain.Command, err error) {
	s.log.Error("a command failed for an internal reason", "subject", r.subject,
		"command_id", c.ID, "client_id", c.ClientID, "request_id", c.RequestID, "error", err)
}

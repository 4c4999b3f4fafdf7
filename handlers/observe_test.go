package handlers

import (
	"context"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"closure/domain"
	"closure/eventstore/tracing"
)

// What becomes of a command is told once, and a command that the domain refused is not one that failed.
func TestCommandsAreToldOf(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	var mu sync.Mutex
	var told []Observation
	s.engine.observe = func(o Observation) {
		mu.Lock()
		defer mu.Unlock()
		require.Positive(t, o.Took)
		o.Took = 0
		told = append(told, o)
	}
	id := uuid.NewString()
	open := command(group(id), openGroup())
	s.accepted(open)
	s.unchanged(open)
	s.refused(command(account(uuid.NewString()), &domain.RequestAccountClosure{}), domain.NotFound)
	gone, cancel := context.WithCancel(testContext(t))
	cancel()
	_, err := s.engine.Do(gone, command(account(uuid.NewString()), openAccount(id)))
	require.Error(t, err)
	require.Equal(t, []Observation{
		{Aggregate: domain.KindAccountGroup, Command: "open", Result: Accepted},
		{Aggregate: domain.KindAccountGroup, Command: "open", Result: Unchanged},
		{Aggregate: domain.KindAccount, Command: "request_closure", Refused: true, Problem: NotFound},
		{Aggregate: domain.KindAccount, Command: "open", Problem: Unavailable},
	}, told)
}

// The commit is stored in the span of its append, which is within that of the command.
func TestSpansOfACommand(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	spans := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	s.engine.tracer = provider.Tracer("test")
	from := tracing.Context{Parent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
	id := uuid.NewString()
	_, err := s.engine.Do(from.In(testContext(t)), command(group(id), openGroup()))
	require.NoError(t, err)
	commits, err := s.log.Load(testContext(t), string(domain.KindAccountGroup), id, 0)
	require.NoError(t, err)
	byName := map[string]sdktrace.ReadOnlySpan{}
	for _, span := range spans.Ended() {
		require.Equal(t, "0af7651916cd43dd8448eb211c80319c", span.SpanContext().TraceID().String(), span.Name())
		byName[span.Name()] = span // of two decisions the one of the group is the last
	}
	root := byName["account_group open"]
	require.NotNil(t, root)
	require.Equal(t, "b7ad6b7169203331", root.Parent().SpanID().String())
	require.Equal(t, root.SpanContext().SpanID(), byName["decide"].Parent().SpanID())
	require.Equal(t, root.SpanContext().SpanID(), byName["append"].Parent().SpanID())
	require.Equal(t, tracing.Context{Parent: "00-0af7651916cd43dd8448eb211c80319c-" + byName["append"].SpanContext().SpanID().String() + "-01"}, commits[0].Trace)
}

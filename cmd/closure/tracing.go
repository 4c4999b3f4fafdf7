package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"closure/eventstore/tracing"
)

// The variables of OpenTelemetry that say whether there are traces, and where they go. Those of the exporter, the sampler and the
// resource are read by its libraries.
const (
	envDisabled       = "OTEL_SDK_DISABLED"
	envExporter       = "OTEL_TRACES_EXPORTER"
	envEndpoint       = "OTEL_EXPORTER_OTLP_ENDPOINT"
	envTracesEndpoint = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
	envProtocol       = "OTEL_EXPORTER_OTLP_PROTOCOL"
	envTracesProtocol = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"

	protocolHTTP = "http/protobuf"
)

// tracers make the spans of an engine: a provider of its own, since more than one engine may live in a process. Without a
// configuration they make none.
type tracers struct {
	logger   *slog.Logger
	provider *sdktrace.TracerProvider // nil for none
}

// tracer is for the parts of the engine.
func (t *tracers) tracer() trace.Tracer {
	if t.provider == nil {
		return tracing.None()
	}
	return t.provider.Tracer("closure", trace.WithInstrumentationVersion(version()))
}

// tracingWanted tells whether the environment asks for traces.
func tracingWanted() (bool, error) {
	exporter := strings.ToLower(os.Getenv(envExporter))
	endpoint := os.Getenv(envEndpoint) != "" || os.Getenv(envTracesEndpoint) != ""
	switch {
	case strings.EqualFold(os.Getenv(envDisabled), "true"), exporter == "none", exporter == "" && !endpoint:
		return false, nil
	case exporter != "" && exporter != "otlp":
		return false, fmt.Errorf("%s: must be otlp or none, got %q", envExporter, exporter)
	}
	protocol, name := os.Getenv(envProtocol), envProtocol
	if special := os.Getenv(envTracesProtocol); special != "" {
		protocol, name = special, envTracesProtocol
	}
	if protocol != "" && protocol != protocolHTTP {
		return false, fmt.Errorf("%s: must be %s, got %q", name, protocolHTTP, protocol)
	}
	return true, nil
}

func (t *tracers) Start(ctx context.Context) error {
	wanted, err := tracingWanted()
	if err != nil {
		return usageError{err}
	}
	if !wanted {
		return nil
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return fmt.Errorf("traces: %w", err)
	}
	about, err := resource.New(ctx, resource.WithAttributes(semconv.ServiceName("closure"), semconv.ServiceVersion(version())),
		resource.WithHost(), resource.WithTelemetrySDK(), resource.WithFromEnv()) // what the environment says counts
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return fmt.Errorf("traces: %w", err)
	}
	t.provider = sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(&quietExporter{SpanExporter: exporter, logger: t.logger}), sdktrace.WithResource(about))
	return nil
}

// lastSpansWithin bounds the sending of the last spans: a stop does not wait for a collector that does not answer.
const lastSpansWithin = 3 * time.Second

// Stop sends the spans that are still here.
func (t *tracers) Stop(ctx context.Context) error {
	if t.provider == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, lastSpansWithin)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		t.logger.Warn("the last spans could not be sent", "error", err)
	}
	return nil
}

// quietExporter logs that spans could not be sent, once until it goes well again: who traces is not to fill the log of who does not
// answer. The library would tell one handler for the whole process.
type quietExporter struct {
	sdktrace.SpanExporter
	logger  *slog.Logger
	failing atomic.Bool
}

func (e *quietExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := e.SpanExporter.ExportSpans(ctx, spans)
	switch was := e.failing.Swap(err != nil); {
	case err != nil && !was:
		e.logger.Warn("spans cannot be sent; they are dropped", "error", err)
	case err == nil && was:
		e.logger.Info("spans can be sent again")
	}
	return nil
}

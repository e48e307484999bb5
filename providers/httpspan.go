package providers

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// httpSpan is the span of one HTTP call. It tells method, host and status; never a URL's path or query.
type httpSpan struct{ span trace.Span }

// startHTTPSpan uses the tracer provider of the surrounding span, so that an adapter needs no telemetry
// settings and a call outside of any span costs nothing.
func startHTTPSpan(ctx context.Context, req *http.Request) (context.Context, httpSpan) {
	tracer := trace.SpanFromContext(ctx).TracerProvider().Tracer(scope)
	ctx, span := tracer.Start(ctx, req.Method, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("http.request.method", req.Method),
		attribute.String("server.address", req.URL.Hostname())))
	return ctx, httpSpan{span}
}

func (s httpSpan) end(status int, err error) {
	if err != nil {
		s.span.SetStatus(codes.Error, describe(err))
	} else {
		s.span.SetAttributes(attribute.Int("http.response.status_code", status))
	}
	s.span.End()
}

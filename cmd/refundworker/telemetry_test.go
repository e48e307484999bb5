package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/otel/trace"
)

func TestTelemetryIsSentOnlyWhenAskedFor(t *testing.T) {
	for _, row := range []struct {
		env  map[string]string
		want string
	}{
		{nil, ""},
		{map[string]string{"OTEL_SERVICE_NAME": "x", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, ""},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, "TRACES METRICS LOGS"},
		{map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c"}, "TRACES"},
		{map[string]string{"OTEL_LOGS_EXPORTER": "console"}, "LOGS"},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_METRICS_EXPORTER": "none"}, "TRACES LOGS"},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "true"}, ""},
	} {
		var got []string
		for _, signal := range []string{"TRACES", "METRICS", "LOGS"} {
			if wanted(invocation{env: row.env}.getenv, signal) {
				got = append(got, signal)
			}
		}
		if strings.Join(got, " ") != row.want {
			t.Errorf("%v: sends %v, want %s", row.env, got, row.want)
		}
	}
}

// collector counts what is sent to it over OTLP/HTTP, by path.
type collector struct {
	mu   sync.Mutex
	seen map[string]int
}

func (c *collector) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen[r.URL.Path]++
}

func TestTelemetryReachesACollector(t *testing.T) {
	c := &collector{seen: map[string]int{}}
	srv := httptest.NewServer(c)
	defer srv.Close()
	// The exporters read the process's own environment.
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", srv.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
	env := invocation{env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": srv.URL}}
	var logs bytes.Buffer
	tel, err := startTelemetry(t.Context(), env.getenv, &logs, slog.LevelInfo)
	if err != nil {
		t.Fatal(err)
	}
	ctx, span := tel.tracers.Tracer("test").Start(t.Context(), "work")
	tel.log.InfoContext(ctx, "hello")
	tel.log.DebugContext(ctx, "too quiet")
	span.End()
	tel.stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, path := range []string{"/v1/traces", "/v1/metrics", "/v1/logs"} {
		if c.seen[path] == 0 {
			t.Errorf("nothing was sent to %s; sent were %v", path, c.seen)
		}
	}
	if got := logs.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, span.SpanContext().TraceID().String()) {
		t.Errorf("the local log is %q, want one line with the trace id", got)
	}
}

func TestLogLinesNameTheirSpan(t *testing.T) {
	var logs bytes.Buffer
	log := slog.New(traced{slog.NewJSONHandler(&logs, nil)}).With("a", 1)
	sc := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}})
	for _, row := range []struct {
		ctx         context.Context
		trace, span string
	}{
		{t.Context(), "", ""},
		{trace.ContextWithSpanContext(t.Context(), sc), sc.TraceID().String(), sc.SpanID().String()},
	} {
		logs.Reset()
		log.InfoContext(row.ctx, "hello")
		var got struct {
			TraceID string `json:"trace_id"`
			SpanID  string `json:"span_id"`
			A       int
		}
		if err := json.Unmarshal(logs.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if got.TraceID != row.trace || got.SpanID != row.span || got.A != 1 {
			t.Errorf("logged %s, want trace %q and span %q", &logs, row.trace, row.span)
		}
	}
}

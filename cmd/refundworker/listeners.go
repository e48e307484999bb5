package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"refundworker/schemas"
)

const (
	listenerHeader = 5 * time.Second
	listenerRead   = 30 * time.Second
	listenerIdle   = 2 * time.Minute
	listenerGrace  = 5 * time.Second
)

// listener is one HTTP server of this process.
type listener struct {
	// address is where it really listens.
	address string
	server  *http.Server
	done    chan struct{}
}

// listen serves HTTP until close. Answers have no deadline of their own: a handler that streams sets one.
func listen(address string, handler http.Handler) (*listener, error) {
	return listenWith(address, &http.Server{Handler: handler, ReadHeaderTimeout: listenerHeader, ReadTimeout: listenerRead,
		IdleTimeout: listenerIdle})
}

// listenWith serves with a server of the caller's own bounds, by TLS if it is set up for it.
func listenWith(address string, server *http.Server) (*listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	s := &listener{address: l.Addr().String(), done: make(chan struct{}), server: server}
	go func() {
		defer close(s.done)
		if server.TLSConfig != nil {
			_ = server.ServeTLS(l, "", "") // it always ends with close
			return
		}
		_ = server.Serve(l)
	}()
	return s, nil
}

// close lets running requests end, for a while.
func (l *listener) close() {
	ctx, cancel := context.WithTimeout(context.Background(), listenerGrace)
	defer cancel()
	if err := l.server.Shutdown(ctx); errors.Is(err, context.DeadlineExceeded) {
		_ = l.server.Close()
	}
	<-l.done
}

// adminHandler answers those who watch the process: is it alive, does it work, and how is it doing.
func adminHandler(readiness func() readyAnswer, metrics *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]bool{"alive": true})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		now, status := readiness(), http.StatusOK
		if !now.Ready {
			status = http.StatusServiceUnavailable
		}
		answer(w, status, now)
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	return mux
}

type readyAnswer struct {
	Ready   bool     `json:"ready"`
	Reasons []string `json:"reasons,omitempty"`
	// Providers is what holds each of them back. One that is held back does not make the worker unready.
	Providers map[schemas.ProviderName]string `json:"providers"`
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the caller may be gone
}

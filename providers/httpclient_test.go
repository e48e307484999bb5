package providers_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"refundworker/providers"
)

func post(t *testing.T, c *providers.HTTPClient, url string) (providers.HTTPResponse, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	return c.Do(ctx, providers.HTTPRequest{Op: "refund", Method: http.MethodPost, URL: url, Body: []byte(`{"a":1}`)})
}

func newClient(t *testing.T, cfg providers.HTTPConfig) *providers.HTTPClient {
	t.Helper()
	c := providers.NewHTTPClient(cfg)
	t.Cleanup(c.Close)
	return c
}

func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func TestDoReturnsAnyAnswer(t *testing.T) {
	for _, status := range []int{200, 302, 404, 503} {
		s := serve(t, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
			_, _ = w.Write(body)
		})
		resp, err := post(t, newClient(t, providers.HTTPConfig{}), s.URL)
		if err != nil || resp.Status != status || string(resp.Body) != `{"a":1}` || resp.ContentType != "application/json" {
			t.Errorf("status %d: got %d %q %q, %v", status, resp.Status, resp.Body, resp.ContentType, err)
		}
	}
}

// TestDoKinds: Unavailable only when nothing was sent.
func TestDoKinds(t *testing.T) {
	gone := serve(t, nil)
	gone.Close()
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(secure.Close)
	old := httptest.NewUnstartedServer(http.NotFoundHandler())
	old.TLS = &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	old.StartTLS()
	t.Cleanup(old.Close)
	trusted := old.Client().Transport.(*http.Transport).TLSClientConfig
	hang := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	})
	long := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1001)) })
	noise := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, _ := http.NewResponseController(w).Hijack()
		_, _ = io.WriteString(conn, "4242424242424242 is no http\r\n\r\n")
		_ = conn.Close()
	})
	tests := []struct {
		name, url string
		cfg       providers.HTTPConfig
		want      providers.Kind
		text      string
	}{
		{"nobody listens", gone.URL, providers.HTTPConfig{}, providers.Unavailable, "connection refused"},
		{"no such host", "http://no-such-host.invalid/", providers.HTTPConfig{}, providers.Unavailable, "host name not resolved"},
		{"certificate not trusted", secure.URL, providers.HTTPConfig{}, providers.Unavailable, "tls handshake refused"},
		{"old tls", old.URL, providers.HTTPConfig{TLS: trusted}, providers.Unavailable, ""},
		{"no tls there", strings.Replace(gone.URL, "http:", "https:", 1), providers.HTTPConfig{}, providers.Unavailable, ""},
		{"no answer", hang.URL, providers.HTTPConfig{Timeout: 200 * time.Millisecond}, providers.Unknown, "timed out"},
		{"answer too long", long.URL, providers.HTTPConfig{MaxBody: 1000}, providers.Unknown, "longer than the limit"},
		{"no http", noise.URL, providers.HTTPConfig{}, providers.Unknown, "no readable answer"},
		{"not a url", "http://host:port/", providers.HTTPConfig{}, providers.Invalid, "not a valid request"},
		{"not http", "ftp://host/", providers.HTTPConfig{}, providers.Invalid, "not a valid request"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := post(t, newClient(t, tt.cfg), tt.url)
			if err == nil || providers.KindOf(err) != tt.want || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %v, want kind %v and %q", err, tt.want, tt.text)
			}
			if err != nil && strings.Contains(err.Error(), "4242") {
				t.Errorf("the error quotes the answer: %v", err)
			}
		})
	}
}

func TestDoKeepsTheLimit(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1000)) })
	if resp, err := post(t, newClient(t, providers.HTTPConfig{MaxBody: 1000}), s.URL); err != nil || len(resp.Body) != 1000 {
		t.Errorf("got %d bytes, %v, want 1000", len(resp.Body), err)
	}
}

func TestErrorsHideTheURL(t *testing.T) {
	for _, url := range []string{"http://user:secret@127.0.0.1:1/path?token=secret#secret", "http://secret@bad host/?secret"} {
		_, err := post(t, newClient(t, providers.HTTPConfig{}), url)
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("got %v, want an error without the secret", err)
		}
	}
}

// TestNoSilentReplay: a kept connection that dies under a request must not lead to a second request, which
// net/http sends on its own when it can rewind the body.
func TestNoSilentReplay(t *testing.T) {
	var arrived atomic.Int32
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if arrived.Add(1) == 2 {
			panic(http.ErrAbortHandler)
		}
	})
	c := newClient(t, providers.HTTPConfig{})
	if _, err := post(t, c, s.URL); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	_, err := c.Do(ctx, providers.HTTPRequest{Op: "refund", Method: http.MethodPost, URL: s.URL, Body: []byte("{}"),
		Header: http.Header{"Idempotency-Key": {"k"}}})
	if err == nil || providers.KindOf(err) != providers.Unknown {
		t.Errorf("got %v, want unknown", err)
	}
	if got := arrived.Load(); got != 2 {
		t.Errorf("requests: got %d, want 2", got)
	}
}

// TestCancelRace cancels calls at random moments: whenever the client says that nothing was sent, nothing
// may have arrived.
func TestCancelRace(t *testing.T) {
	arrived := make(chan string, 4096)
	s := serve(t, func(_ http.ResponseWriter, r *http.Request) { arrived <- r.Header.Get("X-Call") })
	c := newClient(t, providers.HTTPConfig{})
	unsent := make(map[string]bool)
	for n := range 600 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(n)*time.Microsecond)
		id := fmt.Sprint(n)
		_, err := c.Do(ctx, providers.HTTPRequest{Op: "refund", Method: http.MethodPost, URL: s.URL, Body: []byte("{}"),
			Header: http.Header{"X-Call": {id}}})
		cancel()
		if providers.KindOf(err) == providers.Unavailable {
			unsent[id] = true
		}
	}
	s.Close()
	close(arrived)
	for id := range arrived {
		if unsent[id] {
			t.Errorf("call %s arrived, but was said not to be sent", id)
		}
	}
	if len(unsent) == 0 || len(unsent) == 600 {
		t.Errorf("unsent calls: got %d of 600, want some of both", len(unsent))
	}
}

package providers

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"time"
)

// HTTPConfig shapes the HTTP client of one provider instance.
type HTTPConfig struct {
	// Timeout bounds one whole call, the answer's body included. Default 30 s. Shorter means more refunds in
	// doubt; longer means longer leases.
	Timeout time.Duration
	// Concurrency is how many calls run at once; as many idle connections are kept. Default 64.
	Concurrency int
	// MaxBody bounds an answer's body in bytes; a longer one is unreadable. Default 1 MiB.
	MaxBody int64
	// TLS is where trust and client certificates come from; nil means the system's. TLS 1.2 is the least.
	TLS *tls.Config
}

// WithDefaults returns a copy in which every missing setting has its default.
func (c HTTPConfig) WithDefaults() HTTPConfig {
	if c.Timeout <= 0 {
		c.Timeout = 30 * time.Second
	}
	if c.Concurrency <= 0 {
		c.Concurrency = 64
	}
	if c.MaxBody <= 0 {
		c.MaxBody = 1 << 20
	}
	return c
}

// HTTPRequest is one call.
type HTTPRequest struct {
	// Op names the operation in errors, such as "refund" or "query".
	Op     string
	Method string
	URL    string
	Header http.Header
	Body   []byte
}

// HTTPResponse is one complete answer.
type HTTPResponse struct {
	Status      int
	Header      http.Header
	Body        []byte
	ContentType string
}

// HTTPClient makes single HTTP calls and knows, when one fails, whether anything of it was sent. It follows
// no redirect, uses no proxy, keeps no cookies and never repeats a request that has a body.
type HTTPClient struct {
	cfg       HTTPConfig
	transport *http.Transport
}

// NewHTTPClient returns a client with connections of its own.
func NewHTTPClient(cfg HTTPConfig) *HTTPClient {
	cfg = cfg.WithDefaults()
	trust := &tls.Config{}
	if cfg.TLS != nil {
		trust = cfg.TLS.Clone()
	}
	trust.MinVersion = max(trust.MinVersion, tls.VersionTLS12)
	dialer := net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	return &HTTPClient{cfg: cfg, transport: &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &gatedConn{Conn: conn}, nil
		},
		TLSClientConfig:        trust,
		TLSHandshakeTimeout:    10 * time.Second,
		ResponseHeaderTimeout:  cfg.Timeout,
		MaxResponseHeaderBytes: 64 << 10,
		MaxIdleConns:           cfg.Concurrency,
		MaxIdleConnsPerHost:    cfg.Concurrency,
		// Servers commonly drop idle connections after a minute; leaving first avoids writing into one that
		// is being closed, which would put a refund in doubt.
		IdleConnTimeout:    30 * time.Second,
		DisableCompression: true,
		// One request a connection at a time: only so is it known whether a request was written.
		Protocols: onlyHTTP1(),
	}}
}

func onlyHTTP1() *http.Protocols {
	p := &http.Protocols{}
	p.SetHTTP1(true)
	return p
}

// Close drops idle connections.
func (c *HTTPClient) Close() { c.transport.CloseIdleConnections() }

// Do makes one call and reads its whole answer, whatever its status. Every error is an *Error: Unavailable
// when surely nothing was sent, Invalid when the request cannot be built, otherwise Unknown.
func (c *HTTPClient) Do(ctx context.Context, r HTTPRequest) (HTTPResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	target := redactURL(r.URL)
	req, err := newHTTPRequest(ctx, r)
	if err != nil {
		return HTTPResponse{}, &Error{Kind: Invalid, Op: r.Op, Err: fmt.Errorf("%s %s: not a valid request", r.Method, target)}
	}
	ctx, span := startHTTPSpan(ctx, req)
	var w watch
	req = req.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: w.gotConn}))
	resp, err := c.roundTrip(req)
	span.end(resp.Status, err)
	if err != nil {
		kind := Unknown
		if w.stopUnsent() {
			kind = Unavailable
		}
		return HTTPResponse{}, &Error{Kind: kind, Op: r.Op, Err: fmt.Errorf("%s %s: %w", r.Method, target, clean(err))}
	}
	return resp, nil
}

// newHTTPRequest clears GetBody: with it, net/http may silently send a request again on another connection.
func newHTTPRequest(ctx context.Context, r HTTPRequest) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, r.Method, r.URL, bytes.NewReader(r.Body))
	if err != nil {
		return nil, err
	}
	if req.URL.Host == "" || req.URL.Scheme != "https" && req.URL.Scheme != "http" {
		return nil, errors.New("not an http url")
	}
	if len(r.Body) > 0 {
		req.GetBody = nil
	}
	for name, values := range r.Header {
		req.Header[http.CanonicalHeaderKey(name)] = values
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "refundworker")
	}
	return req, nil
}

func (c *HTTPClient) roundTrip(req *http.Request) (HTTPResponse, error) {
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return HTTPResponse{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, c.cfg.MaxBody+1))
	if err != nil {
		return HTTPResponse{}, err
	}
	if int64(len(body)) > c.cfg.MaxBody {
		return HTTPResponse{}, errTooLong
	}
	return HTTPResponse{Status: resp.StatusCode, Header: resp.Header, Body: body,
		ContentType: resp.Header.Get("Content-Type")}, nil
}

// redactURL keeps scheme, host and path: user names, query strings and fragments can hold secrets.
func redactURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "(unreadable url)"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

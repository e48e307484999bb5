package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"refundworker/providers"
	"refundworker/providers/craftgate"
	"refundworker/providers/google/host"
	"refundworker/providers/google/seal"
	"refundworker/schemas"
)

// defaultEdgeListen is where providers report when one of them does and the settings do not say where.
const defaultEdgeListen = ":8080"

// Bounds of the edge: whoever can reach it may send, so nothing waits for a slow sender for long.
const (
	edgeHeader  = 5 * time.Second
	edgeRead    = 10 * time.Second
	edgeWrite   = 20 * time.Second
	edgeHeaders = 16 << 10
)

// edgeSettings say where providers report.
type edgeSettings struct {
	listen string
	// tls is nil for plain HTTP, behind something that ends TLS.
	tls *tls.Config
}

// reports is how a provider instance reports by itself. Both fields may be nil.
type reports struct {
	account *host.Account
	webhook *craftgate.WebhookConfig
}

// named returns the reports for an instance of that name.
func (r reports) named(name schemas.ProviderName) reports {
	if r.account != nil {
		a := *r.account
		a.Provider, r.account = name, &a
	}
	if r.webhook != nil {
		w := *r.webhook
		w.Provider, r.webhook = name, &w
	}
	return r
}

// edgeTLS offers what payment networks ask for: TLS 1.2 with forward secrecy and AEAD, or newer.
func edgeTLS(cfg *tls.Config) *tls.Config {
	if cfg == nil {
		return nil
	}
	cfg = cfg.Clone()
	cfg.MinVersion = tls.VersionTLS12
	cfg.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256}
	return cfg
}

// edge is where providers report, and the watch over the keys that they and we use there.
type edge struct {
	*listener
	stopWatch context.CancelFunc
	watch     sync.WaitGroup
}

// close lets running requests end, for a while, and waits until nobody watches.
func (e *edge) close() {
	e.stopWatch()
	e.listener.close()
	e.watch.Wait()
}

// openEdge listens for what providers report; nil when none of the configured ones does.
func openEdge(s *settings, inbox providers.Inbox, t *telemetry) (*edge, error) {
	if len(s.reports) == 0 {
		return nil, nil
	}
	handler, err := edgeHandler(s.reports, inbox, t)
	if err != nil {
		return nil, usageError{fmt.Errorf("edge: %w", err)}
	}
	l, err := listenWith(cmp.Or(s.edge.listen, defaultEdgeListen), &http.Server{Handler: handler, ReadHeaderTimeout: edgeHeader,
		ReadTimeout: edgeRead, WriteTimeout: edgeWrite, IdleTimeout: listenerIdle, MaxHeaderBytes: edgeHeaders,
		TLSConfig: edgeTLS(s.edge.tls), ErrorLog: slog.NewLogLogger(t.log.Handler(), slog.LevelDebug)})
	if err != nil {
		return nil, fmt.Errorf("edge listener: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	e := &edge{listener: l, stopWatch: stop}
	keys := keyWatch{reports: s.reports, log: t.log, told: map[watchedKey]time.Duration{}}
	e.watch.Go(func() { keys.run(ctx) })
	return e, nil
}

// edgeHandler serves the reports of all instances: the paths of Google's hosted methods, and a webhook address for each
// Craftgate instance.
func edgeHandler(all []reports, inbox providers.Inbox, t *telemetry) (http.Handler, error) {
	mux, strangers := http.NewServeMux(), &providers.Strangers{}
	observe, err := countEdge(t.meters)
	if err != nil {
		return nil, err
	}
	var accounts []host.Account
	for _, r := range all {
		if r.account != nil {
			accounts = append(accounts, *r.account)
		}
		if r.webhook != nil {
			cfg := *r.webhook
			cfg.Inbox, cfg.Strangers, cfg.Log = inbox, strangers, t.log
			hook, err := craftgate.NewWebhook(cfg)
			if err != nil {
				return nil, err
			}
			mux.Handle("/webhooks/craftgate/"+string(cfg.Provider), counted(hook, observe))
		}
	}
	if len(accounts) > 0 {
		h, err := host.New(host.Config{Accounts: accounts, Inbox: inbox, Strangers: strangers, Log: t.log, Observe: observe})
		if err != nil {
			return nil, err
		}
		h.Mount(mux)
	}
	return mux, nil
}

func countEdge(meters metric.MeterProvider) (func(method, result string), error) {
	requests, err := meters.Meter("refundworker/edge").Int64Counter("refund.edge.requests", metric.WithUnit("{request}"),
		metric.WithDescription("What providers report, by what became of it."))
	if err != nil {
		return nil, fmt.Errorf("edge metrics: %w", err)
	}
	return func(method, result string) {
		requests.Add(context.Background(), 1, metric.WithAttributes(attribute.String("method", method),
			attribute.String("result", result)))
	}, nil
}

// methodWebhook is what requests of Craftgate are counted as, beside the methods of Google.
const methodWebhook = "webhook"

// counted has every answer of a handler observed, by its status.
func counted(h http.Handler, observe func(method, result string)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen := &seenStatus{ResponseWriter: w, status: http.StatusOK}
		h.ServeHTTP(seen, r)
		observe(methodWebhook, webhookResult(seen.status))
	})
}

// seenStatus keeps the status that passes through.
type seenStatus struct {
	http.ResponseWriter
	status int
}

// WriteHeader is called by the handler.
func (s *seenStatus) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

func webhookResult(status int) string {
	switch {
	case status < 300:
		return host.ResultAccepted
	case status == http.StatusUnauthorized:
		return host.ResultUnverified
	case status == http.StatusTooManyRequests:
		return host.ResultBarred
	case status < 500:
		return host.ResultUnreadable
	}
	return host.ResultUnavailable
}

const day = 24 * time.Hour

// keyLook is the time between two looks at the keys' ends.
const keyLook = day

// keyAlarms are how long before a key's end it is told, the last one first.
var keyAlarms = []struct {
	before time.Duration
	level  slog.Level
}{{7 * day, slog.LevelError}, {30 * day, slog.LevelWarn}, {60 * day, slog.LevelWarn}}

// keyWatch tells which keys are about to expire: once as each alarm is reached, and daily from the last one on.
type keyWatch struct {
	reports []reports
	log     *slog.Logger
	// told is the alarm that was told last.
	told map[watchedKey]time.Duration
}

type watchedKey struct {
	provider schemas.ProviderName
	id       string
	use      seal.Use
}

// run looks daily until ctx ends.
func (w keyWatch) run(ctx context.Context) {
	for {
		for _, r := range w.reports {
			if r.account != nil {
				w.look(ctx, *r.account, time.Now())
			}
		}
		select {
		case <-time.After(keyLook):
		case <-ctx.Done():
			return
		}
	}
}

func (w keyWatch) look(ctx context.Context, a host.Account, now time.Time) {
	for _, k := range a.Seal.Expiries() {
		left := k.At.Sub(now)
		for i, alarm := range keyAlarms {
			if left > alarm.before {
				continue
			}
			key := watchedKey{a.Provider, k.KeyID, k.Use}
			if i == 0 || w.told[key] != alarm.before {
				w.log.Log(ctx, alarm.level, "a key expires soon: put its successor beside it", "provider", string(a.Provider),
					"key", k.KeyID, "use", string(k.Use), "at", k.At.UTC(), "days", int(left/day))
			}
			w.told[key] = alarm.before
			break
		}
	}
}

// errSameAccount says that two instances would take each other's reports.
var errSameAccount = errors.New("another instance of this type has the same account")

// checkAccounts refuses two instances of one type with one account.
func checkAccounts(all []reports) error {
	seen := map[[2]string]bool{}
	for _, r := range all {
		if r.account == nil {
			continue
		}
		key := [2]string{r.account.API, r.account.ID}
		if seen[key] {
			return fmt.Errorf("provider %q: account %s: %w", r.account.Provider, r.account.ID, errSameAccount)
		}
		seen[key] = true
	}
	return nil
}

// readSeal reads {"mode","signingKeys","peerKeys","algorithms"} of a Google type; nil when it has problems.
func readSeal(o *object) *seal.Seal {
	var cfg seal.Config
	var mode string
	before := len(*o.found)
	o.choice("mode", []string{string(seal.Plain), string(seal.PGP), string(seal.JOSE)}, &mode)
	cfg.Mode = seal.Mode(mode)
	cfg.SigningKeys = o.secretList("signingKeys")
	for _, key := range o.secretList("peerKeys") {
		cfg.PeerKeys = append(cfg.PeerKeys, key.Reveal())
	}
	if o.texts("algorithms", &cfg.Algorithms); len(cfg.Algorithms) > 0 && cfg.Mode != seal.JOSE {
		o.found.add(o.at("algorithms"), "must not be given: only jose has a choice")
	}
	o.finish()
	if len(*o.found) > before { // what follows from these problems would only distract
		return nil
	}
	if err := cfg.Validate(); err != nil {
		o.found.addUnder(o.path, err)
		return nil
	}
	s, err := seal.New(cfg)
	if err != nil {
		o.found.addUnder(o.path, err)
		return nil
	}
	return s
}

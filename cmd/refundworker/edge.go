package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
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

// openEdge listens for what providers report; nil when none of the configured ones does.
func openEdge(s *settings, inbox providers.Inbox, t *telemetry) (*listener, error) {
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
	return l, nil
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
			mux.Handle("/webhooks/craftgate/"+string(cfg.Provider), hook)
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
		metric.WithDescription("Requests of integrators, by what became of them."))
	if err != nil {
		return nil, fmt.Errorf("edge metrics: %w", err)
	}
	return func(method, result string) {
		requests.Add(context.Background(), 1, metric.WithAttributes(attribute.String("method", method),
			attribute.String("result", result)))
	}, nil
}

// keyLook is the time between two looks at the keys' ends, and keyAlarm how long before one it is told.
const (
	keyLook  = 24 * time.Hour
	keyAlarm = 60 * 24 * time.Hour
)

// watchKeys tells, daily until ctx ends, which keys are about to expire.
func watchKeys(ctx context.Context, all []reports, log *slog.Logger) {
	for {
		for _, r := range all {
			if r.account != nil {
				tellExpiries(*r.account, time.Now(), log)
			}
		}
		select {
		case <-time.After(keyLook):
		case <-ctx.Done():
			return
		}
	}
}

func tellExpiries(a host.Account, now time.Time, log *slog.Logger) {
	for _, k := range a.Seal.Expiries() {
		if left := k.At.Sub(now); left < keyAlarm {
			log.Warn("a key expires soon: put its successor beside it", "provider", string(a.Provider), "key", k.KeyID,
				"use", string(k.Use), "at", k.At.UTC(), "days", int(left.Hours()/24))
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

// readSeal reads {"mode","signingKeys","peerKeys"} of a Google type; nil when it has problems.
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
	o.finish()
	if len(*o.found) > before { // what follows from these problems would only distract
		return nil
	}
	s, err := seal.New(cfg)
	if err != nil {
		o.found.addUnder(o.path, err)
		return nil
	}
	return s
}

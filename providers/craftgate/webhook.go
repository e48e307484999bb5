package craftgate

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"refundworker/providers"
	"refundworker/schemas"
)

// EventType is what a webhook reports.
type EventType string

// Events about refunds. Craftgate adds others over time.
const (
	EventRefund   EventType = "REFUND"
	EventRefundTx EventType = "REFUND_TX"
)

// WebhookConfig is what a Webhook stands on.
type WebhookConfig struct {
	// Provider is the instance whose refunds are reported.
	Provider schemas.ProviderName
	// Key is the merchant's hook key.
	Key   providers.Secret
	Inbox providers.Inbox
	// Strangers bounds what senders without a valid signature may cost; it is shared with other handlers.
	Strangers *providers.Strangers
	// Resolve finds the requestId of a refund, as Provider.Resolve does.
	Resolve func(ctx context.Context, t EventType, payloadID string) (schemas.RequestID, bool, error)
	// Log takes what a person may want to know. Default: nothing is logged.
	Log *slog.Logger
}

// Webhook takes Craftgate's events in. An event is a hint to look the refund up, never an outcome: its signature covers
// little, and nothing guards it against being sent again, so that little work is done for it. It answers 200 once the hint was acted on, 401 to a wrong
// signature and 503 where Craftgate shall repeat, which it does for about three quarters of an hour.
type Webhook struct {
	cfg WebhookConfig
	// sign holds the key instead of cfg: fmt does not ask a secret inside a private field how it wants to be printed.
	sign func(event) string
	// asking has room for as many events as may be asked about at once.
	asking  chan struct{}
	handled *handled
}

// NewWebhook returns a handler, or what its settings lack. Without a key anybody could sign.
func NewWebhook(cfg WebhookConfig) (*Webhook, error) {
	if !validKey(cfg.Key) {
		return nil, errors.New("craftgate webhook: webhookKey: 1 to 200 visible ASCII characters are needed")
	}
	if cfg.Inbox == nil || cfg.Strangers == nil || cfg.Resolve == nil {
		return nil, errors.New("craftgate webhook: inbox, strangers and resolve are needed")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	key := cfg.Key
	cfg.Key = ""
	return &Webhook{cfg: cfg, sign: func(e event) string { return eventSignature(key, e) },
		asking: make(chan struct{}, maxAsking), handled: &handled{}}, nil
}

const (
	// maxEvent bounds an event's body in bytes; payloads come with some.
	maxEvent = 64 << 10
	// eventPatience bounds the work on one event: Craftgate repeats it rather than wait. It ends well before a listener that
	// gives a request 20 s, its reading included, drops the answer.
	eventPatience = 10 * time.Second
	// maxAsking bounds how many requests events can have made to Craftgate at once, whoever sends them.
	maxAsking = 4
	// eventAge is for how long an event speaks for its sender. Craftgate's last repeat comes three quarters of an hour after
	// the first; an older event may be one that somebody has caught.
	eventAge = time.Hour
)

// errBusy tells that as many events are asked about as may be.
var errBusy = errors.New("too many events at once")

// event is the signed part of a webhook. What it carries beyond is not read.
type event struct {
	Type      EventType `json:"eventType"`
	Timestamp text      `json:"eventTimestamp"`
	Status    text      `json:"status"`
	PayloadID text      `json:"payloadId"`
}

// eventForm is how an event's type, timestamp and status look. Nothing separates the fields where they are signed: without
// it, one signature would hold for many events that differ in where a field ends.
var eventForm = regexp.MustCompile(`^[A-Z_]{1,40} [0-9]{1,18} [A-Z_]{1,40}$`)

func (e event) wellFormed() bool {
	return eventForm.MatchString(string(e.Type) + " " + string(e.Timestamp) + " " + string(e.Status))
}

// aboutRefund tells whether there is a refund to look up.
func (e event) aboutRefund() bool {
	return (e.Type == EventRefund || e.Type == EventRefundTx) && e.wellFormed() && idForm.MatchString(string(e.PayloadID))
}

// recent tells whether an event was made within eventAge.
func (e event) recent() bool {
	seconds, err := strconv.ParseInt(string(e.Timestamp), 10, 64)
	return err == nil && e.wellFormed() && time.Since(time.Unix(seconds, 0)).Abs() <= eventAge
}

// ServeHTTP answers one event.
func (h *Webhook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	if h.cfg.Strangers.Barred(r) {
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	e, ok := h.read(w, r)
	if !ok {
		h.cfg.Strangers.Failed(r)
		h.cfg.Log.WarnContext(r.Context(), "webhook not verified", "provider", string(h.cfg.Provider))
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if e.recent() {
		h.cfg.Strangers.Verified(r)
	}
	if err := h.act(r.Context(), e); err != nil {
		level := slog.LevelWarn
		if errors.Is(err, errBusy) {
			level = slog.LevelDebug // a flood of events must not become one of warnings
		}
		h.cfg.Log.Log(r.Context(), level, "craftgate webhook not acted on", "provider", h.cfg.Provider, "error", err)
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusOK)
}

// read returns a verified event. Too long, unreadable and wrongly signed bodies look alike from outside.
func (h *Webhook) read(w http.ResponseWriter, r *http.Request) (e event, ok bool) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxEvent))
	if err != nil || json.Unmarshal(body, &e) != nil {
		return event{}, false
	}
	given, want := r.Header.Get("x-cg-signature-v1"), h.sign(e)
	return e, subtle.ConstantTimeCompare([]byte(given), []byte(want)) == 1
}

// act has the refund looked up now. Events of other types, and refunds of other systems, are none of the worker's.
func (h *Webhook) act(ctx context.Context, e event) error {
	if !e.aboutRefund() || h.handled.has(e) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, eventPatience)
	defer cancel()
	id, ours, err := h.resolve(ctx, e)
	if err == nil && ours {
		err = h.cfg.Inbox.Hurry(ctx, h.cfg.Provider, id)
	}
	if err == nil {
		h.handled.add(e)
	}
	return err
}

// resolve asks Craftgate outside the rate that refunds keep to, so few events at a time may do so.
func (h *Webhook) resolve(ctx context.Context, e event) (schemas.RequestID, bool, error) {
	select {
	case h.asking <- struct{}{}:
		defer func() { <-h.asking }()
	default:
		return "", false, errBusy
	}
	return h.cfg.Resolve(ctx, e.Type, string(e.PayloadID))
}

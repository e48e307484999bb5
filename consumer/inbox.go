package consumer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"refundworker/idempotency"
	"refundworker/providers"
	"refundworker/schemas"
)

// inboxBucket remembers which inbound messages were accepted. It is a JetStream bucket, not Redis: losing it would
// let the same message be answered in two ways.
const inboxBucket = "refund-inbox"

// Inbox takes in what providers report by HTTP: it implements providers.Inbox on the worker's streams.
type Inbox struct {
	journal *journal
	store   *idempotency.Store
	cfg     Config
}

var _ providers.Inbox = (*Inbox)(nil)

// Inbox returns the worker's inbox. It answers once the worker is set up and ready, and with errors before.
func (w *Worker) Inbox() *Inbox { return &Inbox{journal: w.journal, store: w.store, cfg: w.cfg} }

// bucket opens the memory, creating it where it is missing.
func (i *Inbox) bucket(ctx context.Context) (jetstream.KeyValue, error) {
	kv, err := i.journal.js.KeyValue(ctx, inboxBucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		kv, err = i.journal.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: inboxBucket,
			Description: "Hashes of inbound requests that were accepted.", Storage: jetstream.FileStorage,
			Replicas: i.cfg.Replicas, TTL: i.cfg.Retain})
		if errors.Is(err, jetstream.ErrBucketExists) { // another worker was first
			kv, err = i.journal.js.KeyValue(ctx, inboxBucket)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", inboxBucket, err)
	}
	return kv, nil
}

func memoryKey(m providers.Message) string {
	sum := sha256.Sum256([]byte(string(m.Provider) + "\x00" + m.Key))
	return hex.EncodeToString(sum[:])
}

// Recall is part of providers.Inbox.
func (i *Inbox) Recall(ctx context.Context, m providers.Message) (providers.Recollection, error) {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	kv, err := i.bucket(ctx)
	if err != nil {
		return providers.New, err
	}
	return recall(ctx, kv, m)
}

func recall(ctx context.Context, kv jetstream.KeyValue, m providers.Message) (providers.Recollection, error) {
	entry, err := kv.Get(ctx, memoryKey(m))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return providers.New, nil
	}
	if err != nil {
		return providers.New, fmt.Errorf("recall a message: %w", err)
	}
	if string(entry.Value()) == hex.EncodeToString(m.Content[:]) {
		return providers.Same, nil
	}
	return providers.Other, nil
}

// Store is part of providers.Inbox. The notice goes first: a memory without its notice would answer the repeat of a message
// that was lost. A notice that is stored twice is one fact, by its id.
func (i *Inbox) Store(ctx context.Context, m providers.Message, n schemas.Notice) (providers.Recollection, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*publishTimeout)
	defer cancel()
	kv, err := i.bucket(ctx)
	if err != nil {
		return providers.New, err
	}
	if known, err := recall(ctx, kv, m); err != nil || known != providers.New {
		return known, err
	}
	body, err := n.Encode()
	if err != nil {
		return providers.New, fmt.Errorf("encode a notice: %w", err)
	}
	msg := &nats.Msg{Subject: i.journal.subjects.Notices(n.Provider), Data: body, Header: nats.Header{}}
	msg.Header.Set(schemas.HeaderMsgID, n.MsgID(body))
	propagator.Inject(ctx, carrier(msg.Header))
	if _, err := i.journal.publish(ctx, msg); err != nil {
		return providers.New, err
	}
	_, err = kv.Create(ctx, memoryKey(m), []byte(hex.EncodeToString(m.Content[:])))
	if errors.Is(err, jetstream.ErrKeyExists) || errors.Is(overtaken(err), errOvertaken) { // its twin was faster
		return recall(ctx, kv, m)
	}
	if err != nil {
		return providers.New, fmt.Errorf("remember a message: %w", err)
	}
	return providers.New, nil
}

// Refund is part of providers.Inbox.
func (i *Inbox) Refund(ctx context.Context, id schemas.RequestID) (providers.KnownRefund, error) {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	r, _, err := i.store.Look(ctx, id)
	if err != nil {
		return providers.KnownRefund{}, err
	}
	known := providers.KnownRefund{Known: r.Last > 0 || r.Fingerprint != schemas.Fingerprint{}, Amount: r.Amount,
		Reversed: schemas.Money{Micros: r.Reversed, Currency: r.Amount.Currency}}
	if r.State.Settled() {
		known.Outcome = r.State.Kind()
	}
	return known, nil
}

// Hurry is part of providers.Inbox.
func (i *Inbox) Hurry(ctx context.Context, p schemas.ProviderName, id schemas.RequestID) error {
	return i.journal.hurry(ctx, p, id)
}

// hurry has the schedule of a refund fire now. Where there is none, the refund is in hand or ended.
func (j *journal) hurry(ctx context.Context, p schemas.ProviderName, id schemas.RequestID) error {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	stream, err := j.js.Stream(ctx, schemas.StreamRetries)
	if err != nil {
		return fmt.Errorf("stream %s: %w", schemas.StreamRetries, err)
	}
	subject := j.subjects.Later(p, id)
	raw, err := stream.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the refund's schedule: %w", err)
	}
	if due := (&standing{header: raw.Header}).due(); !due.IsZero() && time.Until(due) < scheduleFloor {
		return nil
	}
	round, _ := strconv.Atoi(raw.Header.Get(schemas.HeaderRound))
	msg := j.schedule(scheduled{subject: subject, round: round, target: j.subjects.Retry(p),
		id: fmt.Sprintf("%s:hurry:%d", id, raw.Sequence), body: raw.Data, header: raw.Header, at: time.Now()})
	_, err = j.publishAfter(ctx, msg, raw.Sequence)
	if errors.Is(err, errOvertaken) { // it fired, or was replaced by a worker that has just looked
		return nil
	}
	return err
}

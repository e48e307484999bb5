package stream

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"refundworker/idempotency"
	"refundworker/idempotency/ledger"
	"refundworker/providers"
	"refundworker/schemas"
)

// inboxBucket remembers which inbound messages were accepted. It is a JetStream bucket, not Redis: losing it would
// let the same message be answered in two ways.
const inboxBucket = "refund-inbox"

// Inbox takes in what providers report by HTTP: it implements providers.Inbox on the worker's streams.
type Inbox struct {
	sender  *Sender
	journal *Journal
	gate    *idempotency.Gate

	mu sync.Mutex
	kv jetstream.KeyValue
}

var _ providers.Inbox = (*Inbox)(nil)

// NewInbox returns an inbox. It answers once its streams are set up and the gate is open, and with errors before.
func NewInbox(s *Sender, j *Journal, g *idempotency.Gate) *Inbox {
	return &Inbox{sender: s, journal: j, gate: g}
}

func (i *Inbox) bucket(ctx context.Context) (jetstream.KeyValue, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.kv == nil {
		kv, err := i.sender.js.KeyValue(ctx, inboxBucket)
		if err != nil {
			return nil, fmt.Errorf("bucket %s: %w", inboxBucket, err)
		}
		i.kv = kv
	}
	return i.kv, nil
}

func memoryKey(m providers.Message) string {
	sum := sha256.Sum256([]byte(string(m.Provider) + "\x00" + m.Key))
	return hex.EncodeToString(sum[:])
}

// memory is what is kept of a message. Until its notice is stored for sure it holds the notice, so that whoever comes next
// can store the very same one.
type memory struct {
	Content string          `json:"content"`
	Notice  json.RawMessage `json:"notice,omitempty"`
}

func (m memory) encode() []byte {
	body, err := json.Marshal(m)
	if err != nil {
		panic(err) // a notice that was encoded is JSON
	}
	return body
}

// Recall is part of providers.Inbox. A message whose notice was not surely stored is finished first.
func (i *Inbox) Recall(ctx context.Context, m providers.Message) (providers.Recollection, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	kv, err := i.bucket(ctx)
	if err != nil {
		return providers.New, err
	}
	return i.recall(ctx, kv, m)
}

func (i *Inbox) recall(ctx context.Context, kv jetstream.KeyValue, m providers.Message) (providers.Recollection, error) {
	entry, err := kv.Get(ctx, memoryKey(m))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return providers.New, nil
	}
	if err != nil {
		return providers.New, fmt.Errorf("recall a message: %w", err)
	}
	var kept memory
	if err := json.Unmarshal(entry.Value(), &kept); err != nil {
		return providers.New, errors.New("recall a message: what is remembered of it cannot be read")
	}
	if kept.Notice != nil {
		if err := i.finish(ctx, kv, begun{key: entry.Key(), revision: entry.Revision(), memory: kept}); err != nil {
			return providers.New, err
		}
	}
	if kept.Content == hex.EncodeToString(m.Content[:]) {
		return providers.Same, nil
	}
	return providers.Other, nil
}

// Store is part of providers.Inbox. What will be stored is remembered first: of two messages with one key only the first
// ever becomes a notice, and a repeat of one that was cut off in between stores the same notice, not a new one.
func (i *Inbox) Store(ctx context.Context, m providers.Message, n schemas.Notice) (providers.Recollection, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	kv, err := i.bucket(ctx)
	if err != nil {
		return providers.New, err
	}
	body, err := n.Encode()
	if err != nil {
		return providers.New, fmt.Errorf("encode a notice: %w", err)
	}
	b := begun{key: memoryKey(m), memory: memory{Content: hex.EncodeToString(m.Content[:]), Notice: body}}
	b.revision, err = kv.Create(ctx, b.key, b.memory.encode())
	if errors.Is(err, jetstream.ErrKeyExists) || errors.Is(overtaken(err), ErrOvertaken) { // accepted before, or by its twin
		return i.recall(ctx, kv, m)
	}
	if err != nil {
		return providers.New, fmt.Errorf("remember a message: %w", err)
	}
	return providers.New, i.finish(ctx, kv, b)
}

// begun is a message that is remembered and whose notice may not be stored yet.
type begun struct {
	key      string
	revision uint64
	memory   memory
}

// finish stores the notice and then keeps only its memory.
func (i *Inbox) finish(ctx context.Context, kv jetstream.KeyValue, b begun) error {
	n, err := schemas.DecodeNotice(b.memory.Notice)
	if err != nil {
		return fmt.Errorf("finish a message: %w", err)
	}
	msg := &nats.Msg{Subject: i.sender.subjects.Notices(n.Provider), Data: b.memory.Notice, Header: nats.Header{}}
	msg.Header.Set(schemas.HeaderMsgID, n.MsgID(b.memory.Notice))
	Inject(ctx, msg.Header)
	if _, err := i.sender.Publish(ctx, msg); err != nil {
		if isRefusal(err) || errors.Is(err, jetstream.ErrNoStreamResponse) { // surely not stored: the key is free again
			_ = kv.Delete(ctx, b.key, jetstream.LastRevision(b.revision))
		}
		return err
	}
	_, err = kv.Update(ctx, b.key, memory{Content: b.memory.Content}.encode(), b.revision)
	if err != nil && !errors.Is(overtaken(err), ErrOvertaken) && !errors.Is(err, jetstream.ErrKeyRevisionMismatch) { // else its twin was faster
		return fmt.Errorf("remember a message: %w", err)
	}
	return nil
}

// ensureInbox creates the memory of inbound messages where it is missing, and verifies it.
func (t Topology) ensureInbox(ctx context.Context, js jetstream.JetStream) ([]Difference, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*topologyTry)
	defer cancel()
	kv, err := js.KeyValue(ctx, inboxBucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		kv, err = js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: inboxBucket,
			Description: "Hashes of inbound messages that were accepted.", Storage: jetstream.FileStorage,
			Replicas: t.Replicas, TTL: t.Retain})
		if errors.Is(err, jetstream.ErrBucketExists) { // another worker was first
			kv, err = js.KeyValue(ctx, inboxBucket)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", inboxBucket, err)
	}
	status, err := kv.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", inboxBucket, err)
	}
	var out []Difference
	if cfg := status.Config(); cfg.TTL != 0 && cfg.TTL < t.Retain {
		out = append(out, Difference{Where: "bucket " + inboxBucket, Setting: "max age", Found: age(cfg.TTL),
			Wanted: age(t.Retain), Mend: "nats stream edit KV_" + inboxBucket + " --max-age=" + t.Retain.String()})
	} else if cfg.Storage != jetstream.FileStorage {
		out = append(out, Difference{Where: "bucket " + inboxBucket, Setting: "storage", Found: cfg.Storage.String(),
			Wanted: "File", Mend: "creating the bucket anew (what it remembers is lost)"})
	}
	return out, nil
}

// Refund is part of providers.Inbox.
func (i *Inbox) Refund(ctx context.Context, id schemas.RequestID) (providers.KnownRefund, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if reason := i.gate.Closed(); reason != idempotency.Ready {
		return providers.KnownRefund{}, fmt.Errorf("look at %s: %w: %s", id, idempotency.ErrNotReady, reason)
	}
	chain, err := i.journal.Chain(ctx, id)
	if err != nil {
		return providers.KnownRefund{}, err
	}
	refund := ledger.Fold(chain, 0)
	if refund.First == nil {
		return providers.KnownRefund{}, nil
	}
	known := providers.KnownRefund{Known: true}
	if amount := refund.First.Amount; amount != nil {
		known.Amount, known.Reversed.Currency = *amount, amount.Currency
	}
	if n := len(refund.Reversals); n > 0 {
		known.Reversed = refund.Reversals[n-1].Total
	}
	if refund.Outcome != nil {
		known.Outcome = refund.Outcome.Kind
	}
	return known, nil
}

// Hurry is part of providers.Inbox.
func (i *Inbox) Hurry(ctx context.Context, p schemas.ProviderName, id schemas.RequestID) error {
	return i.sender.Hurry(ctx, p, id, Shifted(time.Now(), i.gate.Apart()))
}

package drills

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"refundworker/providers/simulator"
	"refundworker/schemas"
)

// merchant is the Craftgate instance of these drills.
const merchant schemas.ProviderName = "craftgate-tr"

const (
	webhookKey = "merchant-hook-key"
	// followedUp is when the worker would look by itself for what became of a refund that waits.
	followedUp = time.Minute
)

// hinted is a worker for a Craftgate merchant whose refunds all wait, far longer than the worker is patient.
type hinted struct {
	*reported
	commands []schemas.Command
}

func newHinted(t *testing.T) *hinted {
	t.Helper()
	d := newDrill(t)
	h := &hinted{reported: newReported(d, func(sim *simulated) document {
		return document{"name": string(merchant), "type": "craftgate", "timeout": callTimeout.String(),
			"craftgate": document{"baseURL": "http://" + sim.addr + "/craftgate", "apiKey": d.secretFile("api.key", "api"),
				"secretKey": d.secretFile("secret.key", "secret"), "webhookKey": d.secretFile("webhook.key", webhookKey)}}
	})}
	h.sim.put("keys/craftgate", []any{document{"apiKey": "api", "secretKey": "secret", "webhookKey": webhookKey}})
	h.sim.put("open/craftgate", document{"amount": amountOf(refundUnits, "TRY"), "behaviour": "WAITING", "lookups": 1000})
	return h
}

// taken publishes n more refunds and waits until the provider has taken them on.
func (h *hinted) taken(n int) []schemas.Command {
	h.t.Helper()
	for range n {
		i := len(h.commands)
		h.commands = append(h.commands, schemas.Command{RequestID: schemas.RequestID(fmt.Sprintf("ord_%d:r1", i)),
			Provider: merchant, Payment: schemas.Payment{Reference: fmt.Sprint(7000 + i)},
			RequestedAt: time.Now().UTC().Truncate(time.Second),
			Amount:      schemas.Money{Micros: refundUnits * micros, Currency: "TRY"}})
	}
	h.load.publish(h.commands[len(h.commands)-n:], 1)
	h.until("the refunds are taken on", func() error {
		if got := len(h.events(schemas.KindAcknowledged)); got < len(h.commands) {
			return fmt.Errorf("%d refunds, want %d", got, len(h.commands))
		}
		return nil
	})
	return h.commands[len(h.commands)-n:]
}

// events are those of a kind, by refund.
func (h *hinted) events(k schemas.Kind) map[schemas.RequestID]schemas.Event {
	h.t.Helper()
	found := map[schemas.RequestID]schemas.Event{}
	h.each(h.load.js, schemas.StreamJournal, func(msg jetstream.Msg) {
		if e := h.readEvent(msg).Event; e.Kind == k {
			found[e.RequestID] = e
		}
	})
	return found
}

// schedule is the sequence of the message that carries a refund on; a look at the provider leaves another one.
func (h *hinted) schedule(c schemas.Command) uint64 {
	h.t.Helper()
	msg, err := lastOf(h.load.js, schemas.StreamRetries, schemas.Subjects{}.Later(merchant, c.RequestID))
	if err != nil {
		return 0
	}
	return msg.Sequence
}

// scheduled waits until a refund has a schedule that is none of these.
func (h *hinted) scheduled(c schemas.Command, before ...uint64) uint64 {
	h.t.Helper()
	var seq uint64
	h.until("the refund has its schedule", func() error {
		seq = h.schedule(c)
		for _, old := range append(before, 0) {
			if seq == old {
				return errNotYet
			}
		}
		return nil
	})
	return seq
}

// webhook is an event as Craftgate sends it, signed with a key.
func (h *hinted) webhook(key, event, id string) (status int) {
	h.t.Helper()
	now := time.Now().Unix()
	body, err := json.Marshal(document{"eventType": event, "eventTimestamp": now, "status": "SUCCESS", "payloadId": id})
	if err != nil {
		h.t.Fatal(err)
	}
	r, err := http.NewRequest(http.MethodPost, h.target()+"/webhooks/craftgate/"+string(merchant), bytes.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	mac := hmac.New(sha256.New, []byte(key))
	fmt.Fprintf(mac, "%s%d%s%s", event, now, "SUCCESS", id)
	r.Header.Set("x-cg-signature-v1", base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	status, _ = h.exchange(r)
	return status
}

// Craftgate takes refunds on and reports later that they succeeded. The report is a hint to look now: the outcome is there
// long before the worker would have looked by itself, and says that a look found it.
func TestWebhookBringsTheOutcome(t *testing.T) {
	t.Parallel()
	const refunds = 24
	h := newHinted(t)
	h.sim.put("notices", []any{document{"type": "craftgate", "delay": "5s", "repeat": 1,
		"target": h.target() + "/webhooks/craftgate/" + string(merchant)}})
	h.taken(refunds)
	h.load.quiet()
	acknowledged, succeeded := h.events(schemas.KindAcknowledged), h.events(schemas.KindSucceeded)
	ledger := map[string]simulator.Movement{}
	for _, m := range h.sim.ledger() {
		ledger[m.Reference] = m
	}
	soonest := followedUp
	for _, c := range h.commands {
		e, m := succeeded[c.RequestID], ledger[c.Payment.Reference]
		if e.FoundBy != schemas.FoundByLookup || e.ProviderRefundID != m.ProviderRefundID || !m.Amount.Equal(c.Amount) {
			t.Errorf("%s: succeeded %+v with movement %+v, want one of %s that a look found", c.RequestID, e, m, c.Amount)
		}
		soonest = min(soonest, e.OccurredAt.Sub(acknowledged[c.RequestID].OccurredAt))
	}
	t.Logf("the first outcome is there %s after its refund was taken on", soonest)
	if soonest == followedUp {
		t.Errorf("no outcome is there before %s, when the worker looks by itself", followedUp)
	}
	if len(succeeded) != refunds || len(h.sim.ledger()) != refunds {
		t.Errorf("%d refunds succeeded by %d movements, want %d each", len(succeeded), len(h.sim.ledger()), refunds)
	}
}

// A forged webhook is turned down and one about something new is accepted; neither has anything looked at. A true one does,
// and what the look shows counts: a refund that is said to have succeeded and still waits goes on waiting.
func TestWebhookIsAHintOnly(t *testing.T) {
	t.Parallel()
	h := newHinted(t)
	c := h.taken(1)[0]
	id := h.events(schemas.KindAcknowledged)[c.RequestID].ProviderRefundID
	first := h.scheduled(c)
	for _, test := range []struct {
		name, key, event string
		want             int
	}{
		{"forged", "another-key", "REFUND_TX", http.StatusUnauthorized},
		{"of a new type", webhookKey, "REFUND_REVIEWED", http.StatusOK},
	} {
		if status := h.webhook(test.key, test.event, id); status != test.want {
			t.Errorf("a webhook %s is answered %d, want %d", test.name, status, test.want)
		}
		if seq := h.schedule(c); seq != first {
			t.Errorf("a webhook %s moved the refund's schedule from %d to %d", test.name, first, seq)
		}
	}
	if status := h.webhook(webhookKey, "REFUND_TX", id); status != http.StatusOK {
		t.Errorf("a true webhook is answered %d, want 200", status)
	}
	hurried := h.scheduled(c, first)
	h.scheduled(c, first, hurried)
	if n := len(h.events(schemas.KindSucceeded)); n != 0 || len(h.sim.ledger()) != 0 {
		t.Errorf("%d outcomes and %d movements by the word of a webhook", n, len(h.sim.ledger()))
	}
	if state, err := stateOf(h.load.js, schemas.StreamJournal); err != nil || state.Msgs != 2 {
		t.Errorf("%d events (%v), want dispatched and acknowledged", state.Msgs, err)
	}
}

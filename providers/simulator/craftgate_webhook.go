package simulator

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"
)

// Events about refunds. The id in it is a payment's refund's for the first, an item's for the second.
const (
	cgEventRefund = "REFUND"
	cgEventItem   = "REFUND_TX"
)

// cgTries is how often a webhook is sent before it is given up.
const cgTries = 6

// checkCraftgate refuses what only other providers can do. A webhook is sent about a success and says no more
// than that; what becomes of a refund is the payment's behaviour.
func (n Notice) checkCraftgate() (found problems) {
	if n.API != "" || n.Result != "" || n.RawResult != (RawResult{}) || n.Before || n.Contradict != "" || len(n.Reversals) > 0 {
		found.add("", "craftgate takes reference, refund, target, delay and repeat only")
	}
	return found
}

// announce sends the webhooks of a refund if a rule asks for them. A refund that still waits when they are due
// ends then. The lock is held.
func (c *Craftgate) announce(r *cgRefund) {
	rule, wanted := c.core.notices.match(noticeSubject{provider: TypeCraftgate, reference: r.payment.Reference, refund: r.order.conversationID})
	if !wanted || r.status() != cgWaiting && r.moved().Micros == 0 {
		return
	}
	c.core.notices.tell(func(ctx context.Context) {
		if !wait(ctx, rule.Delay) {
			return
		}
		for range 1 + rule.Repeat {
			for _, w := range c.webhooks(r, rule.Target) {
				c.core.notices.deliver(ctx, w)
			}
		}
	})
}

// webhooks are what there is to report of a refund: one for a cancel, one for each item that went back.
func (c *Craftgate) webhooks(r *cgRefund, target string) (list []*cgWebhook) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settle(r)
	event, ids := cgEventItem, r.movedParts()
	if r.kind == MovementCancel && len(ids) > 0 {
		event, ids = cgEventRefund, []string{r.id}
	}
	for _, id := range ids {
		list = append(list, r.webhook(c.keys[r.apiKey].WebhookKey, event, id, target, c.core.clock()))
	}
	return list
}

// cgWebhook is one webhook. Its tries are all the same.
type cgWebhook struct {
	line      SentNotice
	body      []byte
	signature string
	tries     int
}

// webhook builds the body and signs what Craftgate signs of it.
func (r *cgRefund) webhook(key, event, id, target string, now time.Time) *cgWebhook {
	w := &cgWebhook{line: SentNotice{Type: TypeCraftgate, Reference: r.payment.Reference, Refund: r.order.conversationID,
		Method: event, ID: id, Says: string(cgSuccessful), URL: target}}
	w.body, _ = json.Marshal(map[string]any{ // texts and a number cannot fail
		"eventType": event, "eventTime": now.In(cgZone).Format(cgTime + ".000000"), "eventTimestamp": now.Unix(),
		"status": cgSuccessful, "payloadId": id})
	if key != "" {
		w.signature = cgWebhookSignature(key, event+strconv.FormatInt(now.Unix(), 10)+string(cgSuccessful)+id)
	}
	return w
}

func cgWebhookSignature(key, text string) string {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

func (w *cgWebhook) about() SentNotice { return w.line }

func (w *cgWebhook) request(time.Time) (*http.Request, error) {
	if w.signature == "" {
		return nil, errors.New("merchant has no webhook key")
	}
	r, err := http.NewRequest(http.MethodPost, w.line.URL, bytes.NewReader(w.body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", contentJSON)
	r.Header.Set("x-cg-signature-v1", w.signature)
	return r, nil
}

func (w *cgWebhook) judge(status int, _ []byte) verdict {
	w.tries++
	switch {
	case status >= 200 && status < 300:
		return sendDone
	case w.tries == cgTries:
		return sendStop
	}
	return sendAgain
}

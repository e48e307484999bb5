package craftgate_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"refundworker/providers"
	"refundworker/providers/craftgate"
	"refundworker/providers/simulator"
	"refundworker/schemas"
)

// inbox keeps what it is asked to hurry.
type inbox struct {
	providers.Inbox
	hurried []schemas.RequestID
}

func (i *inbox) Hurry(_ context.Context, _ schemas.ProviderName, id schemas.RequestID) error {
	i.hurried = append(i.hurried, id)
	return nil
}

// TestHintLeadsToTheRefund: an event names Craftgate's refund alone. Asking Craftgate leads to the requestId, of a cancel and
// of an item's refund alike, and never to somebody else's.
func TestHintLeadsToTheRefund(t *testing.T) {
	w := newWorld(t, simulator.CraftgatePayment{SameDay: true}, nil)
	in := &inbox{}
	h, err := craftgate.NewWebhook(craftgate.WebhookConfig{Provider: "craftgate-tr", Key: "hook", Inbox: in,
		Strangers: &providers.Strangers{}, Resolve: w.Resolve})
	if err != nil {
		t.Fatal(err)
	}
	_, cancelled, err := w.first(t, whole(t, "771"))
	if err != nil {
		t.Fatal(err)
	}
	_, refunded, err := w.first(t, item(t, "772", "10.00"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []struct {
		kind, id string
		want     int
	}{
		{"REFUND", cancelled.ProviderRefundID, 200},
		{"REFUND_TX", refunded.ProviderRefundID, 200},
		{"REFUND", refunded.ProviderRefundID, 503}, // no such refund of a payment: Craftgate shall tell again
	} {
		if got := hint(h, e.kind, e.id); got != e.want {
			t.Errorf("%s %s: got %d, want %d", e.kind, e.id, got, e.want)
		}
	}
	if want := []schemas.RequestID{"ord:771", "ord:772"}; !slices.Equal(in.hurried, want) {
		t.Errorf("hurried: got %v, want %v", in.hurried, want)
	}
}

// hint sends an event and returns the answer's status.
func hint(h http.Handler, kind, id string) int {
	mac := hmac.New(sha256.New, []byte("hook"))
	mac.Write([]byte(kind + "1930359967SUCCESS" + id))
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(
		`{"eventType":"`+kind+`","eventTimestamp":1930359967,"status":"SUCCESS","payloadId":"`+id+`"}`))
	r.Header.Set("x-cg-signature-v1", base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code
}

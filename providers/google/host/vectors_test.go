package host

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"refundworker/providers"
	"refundworker/providers/google/wire"
	"refundworker/schemas"
)

type vectorFile struct {
	Paths   []string `json:"paths"`
	Fixture struct {
		NowMillis string `json:"nowMillis"`
		Refunds   []struct {
			RefundRequestID schemas.RequestID `json:"refundRequestId"`
			AmountMicros    string            `json:"amountMicros"`
			CurrencyCode    schemas.Currency  `json:"currencyCode"`
			State           string            `json:"state"`
		} `json:"refunds"`
	} `json:"fixture"`
	Cases []vectorCase `json:"cases"`
}

type vectorCase struct {
	ID        string          `json:"id"`
	Direction string          `json:"direction"`
	Body      json.RawMessage `json:"body"`
	Raw       *string         `json:"raw"`
	Expect    struct {
		HTTP                               int
		Code, Field, Result, ClientMessage string
	} `json:"expect"`
}

func readVectors(t testing.TB, name string) vectorFile {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "vectors", name))
	if err != nil {
		t.Fatal(err)
	}
	var v vectorFile
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Cases) == 0 || v.Fixture.NowMillis != "1780315200000" {
		t.Fatalf("%s: %d cases at %s", name, len(v.Cases), v.Fixture.NowMillis)
	}
	return v
}

// Every recorded request to a hosted method is answered as its case says, in each way of sealing, and leaves a notice
// only when it is taken in.
func TestVectors(t *testing.T) {
	for _, name := range []string{"refund_result_notification_redirect.json", "refund_result_notification_card.json",
		"reverse_refund_notification_card.json", "echo.json"} {
		v := readVectors(t, name)
		for _, mode := range modes {
			for _, c := range v.Cases {
				if c.Direction == "request" {
					t.Run(string(mode)+"/"+strings.TrimSuffix(name, ".json")+"/"+c.ID, func(t *testing.T) { runVector(t, newEdge(t, mode), v, c) })
				}
			}
		}
	}
}

func (v vectorFile) target(c vectorCase) (path, account string) {
	path, account = redirectEcho, redirectAccount
	if len(v.Paths) > 0 {
		path = strings.TrimSuffix(v.Paths[0], "/{piaid}")
	} else if strings.Contains(c.ID, "flat") {
		path = cardEcho
	}
	if strings.Contains(path, "card") {
		account = cardAccount
	}
	return path, account
}

func runVector(t *testing.T, e *edge, v vectorFile, c vectorCase) {
	for _, r := range v.Fixture.Refunds {
		var amount schemas.Money
		text := `{"amountMicros":"` + r.AmountMicros + `","currencyCode":"` + string(r.CurrencyCode) + `"}`
		if err := json.Unmarshal([]byte(text), &amount); err != nil || r.State != "SUCCESS" {
			t.Fatalf("refund %s in state %s: %v", r.RefundRequestID, r.State, err)
		}
		e.inbox.refunds[r.RefundRequestID] = providers.KnownRefund{Known: true, Outcome: schemas.KindSucceeded, Amount: amount}
	}
	document := string(c.Body)
	if c.Raw != nil {
		document = *c.Raw
	}
	path, account := v.target(c)
	status, answer := e.send(path, account, document)
	if status != c.Expect.HTTP {
		t.Fatalf("got status %d with %s, want %d", status, answer, c.Expect.HTTP)
	}
	has(t, answer, v.Fixture.NowMillis)
	wantNotices := 0
	switch {
	case c.Expect.ClientMessage != "":
		has(t, answer, `"clientMessage":"`+c.Expect.ClientMessage+`"`)
	case c.Expect.Code != "":
		wantCode(t, answer, c)
	default:
		has(t, answer, `"result":`, c.Expect.Result)
		wantNotices = 1
	}
	if got := len(e.inbox.notices); got != wantNotices {
		t.Errorf("got %d notices, want %d", got, wantNotices)
	}
}

func wantCode(t *testing.T, answer string, c vectorCase) {
	t.Helper()
	has(t, answer, c.Expect.Code)
	got, ok := wire.DecodeErrorResponse([]byte(answer))
	if !ok || got.Code == "" || got.Code.HTTP() != c.Expect.HTTP {
		t.Errorf("got %s, want an ErrorResponse with %s", answer, c.Expect.Code)
	}
	has(t, got.Description, c.Expect.Field)
}

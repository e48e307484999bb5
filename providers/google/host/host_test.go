package host

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"refundworker/providers"
	"refundworker/providers/google/seal"
	"refundworker/schemas"
)

// The sender never saw our answer and asks again: it gets the same answer, with a fresh timestamp and seal, and there
// is still one notice. Other content under the same id is refused, and the first one stays.
func TestARepeatGetsTheSameAnswer(t *testing.T) {
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			e := newEdge(t, mode)
			_, first := e.send(cardResult, cardAccount, cardResultDocument("n-1", e.now, "SUCCESS"))
			e.now = noon.Add(9 * time.Second)
			status, second := e.send(cardResult, cardAccount, cardResultDocument("n-1", e.now, "SUCCESS"))
			if want := strings.ReplaceAll(first, "1780315200000", "1780315209000"); status != http.StatusOK || second != want {
				t.Errorf("got %d, %s, want 200, %s", status, second, want)
			}
			status, third := e.send(cardResult, cardAccount, cardResultDocument("n-1", e.now, "REFUND_WINDOW_EXCEEDED"))
			if status != http.StatusPreconditionFailed {
				t.Errorf("other content: got %d", status)
			}
			has(t, third, "IDEMPOTENCY_VIOLATION")
			if len(e.inbox.notices) != 1 || e.inbox.notices[0].Result.Kind != schemas.KindSucceeded {
				t.Errorf("got %+v, want the first notice alone", e.inbox.notices)
			}
			if want := []string{ResultAccepted, ResultRepeated, ResultConflict}; !slices.Equal(e.told, want) {
				t.Errorf("observed: got %v, want %v", e.told, want)
			}
		})
	}
}

// One request id under two methods or two accounts is two requests.
func TestRequestIDsBelongToAccountAndMethod(t *testing.T) {
	e := newEdge(t, seal.Plain)
	e.inbox.refunds["crf_55-B7"] = refunded(0)
	for _, r := range []struct{ path, account, document string }{
		{cardResult, cardAccount, cardResultDocument("n-1", noon, "SUCCESS")},
		{cardReversal, cardAccount, reversalDocument("n-1", noon, "1000000")},
		{redirectResult, redirectAccount, redirectResultDocument(redirectAccount, "n-1", noon)},
		{redirectResult, secondAccount, redirectResultDocument(secondAccount, "n-1", noon)},
	} {
		if status, answer := e.send(r.path, r.account, r.document); status != http.StatusOK {
			t.Errorf("%s for %s: got %d, %s", r.path, r.account, status, answer)
		}
	}
	ids := map[string]bool{}
	for _, n := range e.inbox.notices {
		ids[n.NoticeID] = true
	}
	if len(ids) != 4 {
		t.Errorf("got notices %v, want four", ids)
	}
}

// The inbox is down: nothing is promised and nothing remembered, and the first try after it is back counts in full.
func TestErrorsAreNotRemembered(t *testing.T) {
	e := newEdge(t, seal.PGP)
	e.inbox.refunds["crf_55-B7"] = refunded(60_000_000)
	steps := []struct {
		name    string
		change  func()
		status  int
		notices int
	}{
		{"down", func() { e.inbox.down = errors.New("no quorum") }, http.StatusServiceUnavailable, 0},
		{"too much came back", func() { e.inbox.down = nil }, http.StatusBadRequest, 0},
		{"failed", func() { e.inbox.refunds["crf_55-B7"] = providers.KnownRefund{Known: true, Outcome: schemas.KindFailed} }, http.StatusBadRequest, 0},
		{"the amount is not known", func() { e.inbox.refunds["crf_55-B7"] = providers.KnownRefund{Known: true} }, http.StatusServiceUnavailable, 0},
		{"cannot store", func() { e.inbox.refunds["crf_55-B7"], e.inbox.full = refunded(0), errors.New("full") }, http.StatusServiceUnavailable, 0},
		{"all is well", func() { e.inbox.full = nil }, http.StatusOK, 1},
		{"a repeat is not judged again", func() { e.inbox.refunds["crf_55-B7"] = refunded(64_990_000) }, http.StatusOK, 1},
	}
	for _, s := range steps {
		s.change()
		status, answer := e.send(cardReversal, cardAccount, reversalDocument("rev-1", noon, "10000000"))
		if status != s.status || len(e.inbox.notices) != s.notices {
			t.Errorf("%s: got %d, %s and %d notices, want %d and %d", s.name, status, answer, len(e.inbox.notices), s.status, s.notices)
		}
		if status == http.StatusServiceUnavailable && answer != "" {
			t.Errorf("%s: got a body", s.name)
		}
	}
}

// A captured message is sent again two minutes later to see what comes: the clock refuses it before the memory is asked.
func TestTheClockIsCheckedBeforeTheMemory(t *testing.T) {
	e := newEdge(t, seal.JOSE)
	captured := e.sealed(cardResult, cardAccount, cardResultDocument("n-1", noon, "SUCCESS"))
	if w := e.do(captured); w.Code != http.StatusOK {
		t.Fatalf("got %d", w.Code)
	}
	for after, want := range map[time.Duration]int{time.Minute: http.StatusOK, time.Minute + time.Millisecond: http.StatusBadRequest} {
		e.now = noon.Add(after)
		if w := e.do(captured); w.Code != want {
			t.Errorf("%s later: got %d, want %d", after, w.Code, want)
		}
	}
}

// A reversal is held to what is known of its refund at this moment.
func TestReversalsAreHeldToTheirRefund(t *testing.T) {
	yen := schemas.Money{Micros: 5_000_000_000, Currency: "JPY"}
	tests := []struct {
		name   string
		refund providers.KnownRefund
		micros string
		status int
		code   string
	}{
		{"all of it", refunded(0), "64990000", 200, "SUCCESS"},
		{"a part", refunded(0), "10000", 200, "SUCCESS"},
		{"the rest", refunded(60_000_000), "4990000", 200, "SUCCESS"},
		{"more than the rest", refunded(60_000_000), "5000000", 400, "PRECONDITION_VIOLATION"},
		{"more than all", refunded(0), "65000000", 400, "PRECONDITION_VIOLATION"},
		{"far more", refunded(1), "9223372036854775807", 400, "PRECONDITION_VIOLATION"},
		{"half a cent", refunded(0), "5000", 400, "INVALID_FIELD_VALUE"},
		{"half a yen", providers.KnownRefund{Known: true, Outcome: schemas.KindSucceeded, Amount: yen}, "500000", 400, "INVALID_FIELD_VALUE"},
		{"unknown", providers.KnownRefund{}, "1000000", 404, "INVALID_IDENTIFIER"},
		{"failed", providers.KnownRefund{Known: true, Outcome: schemas.KindFailed, Amount: refunded(0).Amount}, "1000000", 400, "PRECONDITION_VIOLATION"},
		{"cancelled", providers.KnownRefund{Known: true, Outcome: schemas.KindCancelled, Amount: refunded(0).Amount}, "1000000", 200, "SUCCESS"},
		{"still open", providers.KnownRefund{Known: true, Amount: refunded(0).Amount}, "1000000", 200, "SUCCESS"},
		{"of unknown amount", providers.KnownRefund{Known: true, Outcome: schemas.KindSucceeded}, "1000000", 503, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := newEdge(t, seal.Plain)
			e.inbox.refunds["crf_55-B7"] = tt.refund
			status, answer := e.send(cardReversal, cardAccount, reversalDocument("rev-1", noon, tt.micros))
			if status != tt.status {
				t.Errorf("got %d, %s, want %d", status, answer, tt.status)
			}
			has(t, answer, tt.code)
			if got := len(e.inbox.notices); (got == 1) != (status == 200) {
				t.Errorf("got %d notices", got)
			}
		})
	}
}

// What is stored says all that the report said, in the worker's words.
func TestNoticesSayWhatWasReported(t *testing.T) {
	e := newEdge(t, seal.PGP)
	e.inbox.refunds["crf_55-B7"] = refunded(0)
	long := strings.Repeat("a", 100)
	raw := `,"rawResult":{"scope":"","rawCode":"card 4111 1111 1111 1111"}}`
	withRaw := strings.TrimSuffix(cardResultDocument(long, noon, "NO_MONEY_LEFT_ON_TRANSACTION"), "}") + raw
	e.send(cardResult, cardAccount, cardResultDocument("n-1", noon, "SUCCESS"))
	e.send(cardResult, cardAccount, withRaw)
	e.send(cardReversal, cardAccount, reversalDocument("rev-1", noon, "64990000"))
	e.send(redirectResult, redirectAccount, redirectResultDocument(redirectAccount, "n:1", noon))
	want := []schemas.Notice{
		{NoticeID: "cardfop:LanternCards_CAD:refundResultNotification:n-1", Provider: "card-cad", RefundRequestID: "crf_55-B7",
			Type: schemas.NoticeResultType, ReceivedAt: noon, Source: "edge", Result: &schemas.NoticeResult{Kind: schemas.KindSucceeded,
				ProviderRefundID: "their-9", ProviderResult: &schemas.ProviderResult{Scope: "google", Code: "SUCCESS"}}},
		{NoticeID: "cardfop:LanternCards_CAD:refundResultNotification:" + long, Provider: "card-cad", RefundRequestID: "crf_55-B7",
			Type: schemas.NoticeResultType, ReceivedAt: noon, Source: "edge", Result: &schemas.NoticeResult{Kind: schemas.KindFailed,
				Reason: schemas.ReasonExceedsRemaining, ProviderRefundID: "their-9",
				ProviderResult: &schemas.ProviderResult{Scope: "rawResult", Code: "card [number]", Message: "NO_MONEY_LEFT_ON_TRANSACTION"}}},
		{NoticeID: "cardfop:LanternCards_CAD:reverseRefundNotification:rev-1", Provider: "card-cad", RefundRequestID: "crf_55-B7",
			Type: schemas.NoticeReversalType, ReceivedAt: noon, Source: "edge",
			Reversal: &schemas.NoticeReversal{Amount: schemas.Money{Micros: 64_990_000, Currency: "CAD"}, RawResult: json.RawMessage(`{"scope":"VISA","rawCode":"62"}`)}},
		{NoticeID: "redirectfop:NorthQuayRedirect_EUR:refundResultNotification:n:1", Provider: "redirect-eur", RefundRequestID: "rfd-1",
			Type: schemas.NoticeResultType, ReceivedAt: noon, Source: "edge", Result: &schemas.NoticeResult{Kind: schemas.KindSucceeded,
				ProviderResult: &schemas.ProviderResult{Scope: "google", Code: "success"}}},
	}
	if !reflect.DeepEqual(e.inbox.notices, want) {
		got, _ := json.MarshalIndent(e.inbox.notices, "", " ")
		wanted, _ := json.MarshalIndent(want, "", " ")
		t.Errorf("got %s, want %s", got, wanted)
	}
}

// An id that is too long for a notice is replaced by its hash, so that it still names one request only.
func TestLongNamesAreHashed(t *testing.T) {
	c := &call{route: routes[3], piaid: strings.Repeat("x", 100)}
	long := strings.Repeat("a", 100)
	full := "cardfop:" + c.piaid + ":reverseRefundNotification:" + long
	sum := sha256.Sum256([]byte(full))
	if got, want := c.name(schemas.RequestID(long)), "cardfop:"+hex.EncodeToString(sum[:]); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// What is no report is turned away before any key is touched.
func TestOtherRequestsAreTurnedAway(t *testing.T) {
	e := newEdge(t, seal.PGP)
	tests := []struct {
		name, method, path string
		body               io.Reader
		want               int
	}{
		{"another method", http.MethodGet, cardResult + "/" + cardAccount, nil, http.StatusMethodNotAllowed},
		{"too long", http.MethodPost, cardResult + "/" + cardAccount, bytes.NewReader(make([]byte, maxBody+1)), http.StatusRequestEntityTooLarge},
		{"too long for nobody", http.MethodPost, cardResult + "/nobody", bytes.NewReader(make([]byte, maxBody+1)), http.StatusRequestEntityTooLarge},
		{"cut off", http.MethodPost, cardResult + "/" + cardAccount, io.MultiReader(strings.NewReader("x"), cutOff{}), http.StatusBadRequest},
		{"another path", http.MethodPost, "/gsp/redirect-fop-v1/reverseRefundNotification/" + redirectAccount, nil, http.StatusNotFound},
		{"no account", http.MethodPost, cardResult + "/", nil, http.StatusNotFound},
	}
	for _, tt := range tests {
		w := httptest.NewRecorder()
		e.handler.ServeHTTP(w, httptest.NewRequest(tt.method, tt.path, tt.body))
		if w.Code != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, w.Code, tt.want)
		}
	}
}

type cutOff struct{}

func (cutOff) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// The handler shares a listener with others.
func TestMountAddsThePathsToAMux(t *testing.T) {
	e := newEdge(t, seal.JOSE)
	mux := http.NewServeMux()
	e.handler.Mount(mux)
	r := e.sealed(redirectResult, redirectAccount, redirectResultDocument(redirectAccount, "n-1", noon))
	req := httptest.NewRequest(http.MethodPost, r.path, bytes.NewReader(r.body))
	req.Header.Set("Content-Type", "application/jose")
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, req)
	if w.Code != http.StatusOK || len(e.inbox.notices) != 1 {
		t.Errorf("got %d and %d notices, want 200 and one", w.Code, len(e.inbox.notices))
	}
}

// Settings are judged at once and all of them.
func TestSettingsAreJudged(t *testing.T) {
	s := between(t, seal.Plain, "", "")
	good := Account{Provider: "card-cad", API: CardFOP, ID: cardAccount, Seal: s}
	tests := []struct {
		name string
		cfg  Config
		want []string
	}{
		{"good", Config{Inbox: &inbox{}, Accounts: []Account{good, {Provider: "redirect-eur", API: RedirectFOP, ID: cardAccount, Seal: s}}}, nil},
		{"nothing", Config{}, []string{"inbox: missing", "accounts: none"}},
		{"empty account", Config{Inbox: &inbox{}, Accounts: []Account{{}}}, []string{"accounts[0]: provider", "api:", "id:", "seal: missing"}},
		{"twice", Config{Inbox: &inbox{}, Accounts: []Account{good, good}}, []string{"accounts[1]", "given twice"}},
		{"colon in the id", Config{Inbox: &inbox{}, Accounts: []Account{{Provider: "a", API: CardFOP, ID: "a:b", Seal: s}}}, []string{"id: 1 to 100"}},
		{"dots as the id", Config{Inbox: &inbox{}, Accounts: []Account{{Provider: "a", API: CardFOP, ID: "..", Seal: s}}}, []string{"id: 1 to 100"}},
	}
	for _, tt := range tests {
		_, err := New(tt.cfg)
		if (err == nil) != (len(tt.want) == 0) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
		if err != nil {
			has(t, err.Error(), tt.want...)
		}
	}
}

package simulator_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"refundworker/providers/simulator"
)

const (
	redirectNotice = "/gsp/redirect-fop-v1/refundResultNotification/" + euroAccount
	cardNotice     = "/secure-serving/gsp/google-card-fop-api/v1/refundResultNotification/" + cardAccount
	reversalNotice = "/secure-serving/gsp/google-card-fop-api/v1/reverseRefundNotification/" + cardAccount
)

// The sender does with each answer what the published reactions say: it comes again with the same id and content
// and a fresh time, or it stops.
func TestGoogleNoticeReactions(t *testing.T) {
	var vector struct {
		Reactions []struct {
			HTTP           int
			Result, Action string
		}
	}
	readVector(t, "notification_client_reactions.json", &vector)
	if len(vector.Reactions) != 14 {
		t.Errorf("got %d reactions, want 14", len(vector.Reactions))
	}
	for _, row := range vector.Reactions {
		for _, api := range []simulator.GoogleAPI{simulator.GoogleRedirectFOP, simulator.GoogleCardFOP} {
			t.Run(fmt.Sprintf("%d %s", row.HTTP, api), func(t *testing.T) {
				w, e := reporting(t, simulator.Notice{})
				e.status = func(n int, _ string) int {
					w.millis.Add(1000)
					if n == 1 {
						return row.HTTP
					}
					return http.StatusOK
				}
				w.refund(api, "r-1")
				w.settle()
				w.reacted(e.arrivals(), row.Action)
			})
		}
	}
}

func (w *googleWorld) reacted(arrivals []arrival, action string) {
	w.Helper()
	tries, state := 1, simulator.NoticeAccepted
	switch action {
	case "retry":
		tries = 2
	case "stop", "stopAndAlert":
		state = simulator.NoticeStopped
	}
	sent := w.sim.Notices()
	if len(arrivals) != tries || len(sent) != 1 || sent[0].Tries != tries || sent[0].State != state {
		w.Fatalf("%d arrivals, listed %+v, want %d tries, %s", len(arrivals), sent, tries, state)
	}
	for _, a := range arrivals[1:] {
		if a.untimed() != arrivals[0].untimed() {
			w.Errorf("a later try is %s, want the content of the first: %s", a.untimed(), arrivals[0].untimed())
		}
		if first := fmt.Sprint(arrivals[0].at("requestHeader", "requestTimestamp")); fmt.Sprint(a.at("requestHeader", "requestTimestamp")) == first {
			w.Errorf("a later try has the first one's timestamp %s", first)
		}
	}
}

// An answer of 200 counts only with the one result that says accepted.
func TestGoogleNoticeIsRepeatedUntilAccepted(t *testing.T) {
	w, e := reporting(t, simulator.Notice{})
	answers := []string{``, `{}`, `{"result":"accepted"}`, `{"result":{"accepted":{},"other":{}}}`, `{"result":{"other":{}}}`}
	e.seal = func(accepted []byte) []byte {
		if n := len(e.arrivals()); n <= len(answers) {
			return []byte(answers[n-1])
		}
		return accepted
	}
	w.refund(simulator.GoogleRedirectFOP, "r-1")
	w.said(e, "success", "success", "success", "success", "success", "success")
}

// Each family's notice has its own address and shape.
func TestGoogleNoticeShapes(t *testing.T) {
	for _, row := range []struct {
		api        simulator.GoogleAPI
		rule       simulator.Notice
		path, want string
	}{
		{simulator.GoogleRedirectFOP, simulator.Notice{}, redirectNotice,
			`{"paymentIntegratorRefundId":"SIM-R-000001","refundRequestId":"r-1","requestHeader":{"paymentIntegratorAccountId":"NorthQuayRedirect_EUR","protocolVersion":{"major":1},"requestId":"ID"},"result":{"success":{}}}`},
		{simulator.GoogleRedirectFOP, simulator.Notice{Result: "ACCOUNT_CLOSED", RawResult: simulator.RawResult{Scope: "s", Code: "E217"}}, redirectNotice,
			`{"paymentIntegratorRefundId":"SIM-R-000001","refundRequestId":"r-1","requestHeader":{"paymentIntegratorAccountId":"NorthQuayRedirect_EUR","protocolVersion":{"major":1},"requestId":"ID"},"result":{"accountClosed":{"rawResult":{"rawCode":"E217","scope":"s"}}}}`},
		{simulator.GoogleCardFOP, simulator.Notice{}, cardNotice,
			`{"paymentIntegratorAccountId":"LanternCards_CAD","paymentIntegratorRefundId":"SIM-R-000001","refundRequestId":"r-1","refundResult":"SUCCESS","requestHeader":{"protocolVersion":{"major":1,"minor":0,"revision":0},"requestId":"ID"}}`},
		{simulator.GoogleCardFOP, simulator.Notice{Result: "refundWindowExceeded", RawResult: simulator.RawResult{Code: "62"}}, cardNotice,
			`{"paymentIntegratorAccountId":"LanternCards_CAD","paymentIntegratorRefundId":"SIM-R-000001","rawResult":{"rawCode":"62","scope":""},"refundRequestId":"r-1","refundResult":"REFUND_WINDOW_EXCEEDED","requestHeader":{"protocolVersion":{"major":1,"minor":0,"revision":0},"requestId":"ID"}}`},
	} {
		w, e := reporting(t, row.rule)
		w.refund(row.api, "r-1")
		w.settle()
		arrivals := e.arrivals()
		if len(arrivals) != 1 {
			t.Fatalf("%d arrivals, want 1", len(arrivals))
		}
		a := arrivals[0]
		got := strings.Replace(a.untimed(), fmt.Sprint(a.id()), "ID", 1)
		if got != row.path+" "+row.want || a.contentType != "application/json; charset=utf-8" {
			t.Errorf("sent %s as %s, want %s %s", got, a.contentType, row.path, row.want)
		}
	}
}

// The result arrives while the caller still waits for its answer.
func TestGoogleNoticeOvertakesTheAnswer(t *testing.T) {
	w, e := reporting(t, simulator.Notice{Before: true})
	w.refund(simulator.GoogleRedirectFOP, "r-1")
	if got := len(e.arrivals()); got != 1 {
		t.Errorf("%d notices arrived before the answer, want 1", got)
	}
	w.said(e, "success")
}

func TestGoogleNoticeWaitsForItsDelay(t *testing.T) {
	w, e := reporting(t, simulator.Notice{Delay: 300 * time.Millisecond})
	start := time.Now()
	w.refund(simulator.GoogleRedirectFOP, "r-1")
	w.said(e, "success")
	if took := time.Since(start); took < 300*time.Millisecond {
		t.Errorf("arrived after %s, want at least 300ms", took)
	}
}

// A repeat of the call is answered from memory: it is neither moved nor reported again.
func TestGoogleRepeatedCallIsReportedOnce(t *testing.T) {
	w, e := reporting(t, simulator.Notice{})
	w.refund(simulator.GoogleRedirectFOP, "r-1")
	w.refund(simulator.GoogleRedirectFOP, "r-1")
	w.said(e, "success")
}

// Repeats are the same notice; a contradiction is a new one with another result. What became of the refund stays.
func TestGoogleRepeatedAndContradictedNotices(t *testing.T) {
	w, e := reporting(t, simulator.Notice{Repeat: 2, Contradict: "accountClosed"})
	w.refund(simulator.GoogleRedirectFOP, "r-1")
	arrivals := w.said(e, "success", "success", "success", "accountClosed")
	if arrivals[1].untimed() != arrivals[0].untimed() || arrivals[2].untimed() != arrivals[0].untimed() {
		t.Errorf("repeats differ: %v", arrivals)
	}
	if arrivals[3].id() == arrivals[0].id() {
		t.Error("the contradiction has the first notice's id")
	}
	w.lines("pay-7f20:0001 REFUND 10000000 r-1")
}

// A refund that fails moves nothing and frees its money; one without an outcome keeps it reserved.
func TestGoogleResultsDecideAboutTheMoney(t *testing.T) {
	for _, row := range []struct {
		result string
		next   int
		said   []string
	}{
		{"accountOnHold", http.StatusOK, []string{"accountOnHold"}},
		{"ACCOUNT_ON_HOLD", http.StatusOK, []string{"accountOnHold"}},
		{simulator.ResultNone, http.StatusBadRequest, nil},
	} {
		w, e := reporting(t, simulator.Notice{Result: row.result, Refund: "r-1"})
		w.post(redirectPath, w.redirect("r-1", "pay-7f20:0001", "48500000"))
		w.said(e, row.said...)
		w.lines()
		a := w.post(redirectPath, w.redirect("r-2", "pay-7f20:0001", "48500000"))
		if a.status != row.next {
			t.Errorf("after %s the next refund gets %d, want %d", row.result, a.status, row.next)
		}
		if again := w.post(redirectPath, w.redirect("r-1", "pay-7f20:0001", "48500000")); again.status != http.StatusOK {
			t.Errorf("after %s the repeat gets %d, want 200", row.result, again.status)
		}
	}
}

// Reversals follow an accepted success, in order; only what the edge accepts is in the ledger, and "all" is what
// is left then.
func TestGoogleReversals(t *testing.T) {
	raw := simulator.RawResult{Scope: "VISA", Code: "62"}
	w, e := reporting(t, simulator.Notice{API: simulator.GoogleCardFOP, Reversals: []simulator.Reversal{
		{Amount: money("4000000", "CAD"), RawResult: raw, Repeat: 1},
		{Amount: money("7000000", "CAD"), RawResult: raw},
		{Amount: money("1000000", "EUR"), RawResult: raw},
		{RawResult: raw, Delay: time.Millisecond}}})
	e.status = func(n int, _ string) int {
		if n == 4 {
			return http.StatusBadRequest
		}
		return http.StatusOK
	}
	w.refund(simulator.GoogleCardFOP, "r-1")
	arrivals := w.said(e, "SUCCESS", "4000000", "4000000", "7000000", "6000000")
	w.lines("cap_Q9xL-31 REFUND 10000000 r-1", "cap_Q9xL-31 REVERSAL 4000000 r-1", "cap_Q9xL-31 REVERSAL 6000000 r-1")
	want := reversalNotice + ` {"amount":"4000000","paymentIntegratorAccountId":"LanternCards_CAD","rawResult":{"rawCode":"62","scope":"VISA"},"refundRequestId":"r-1","requestHeader":{"protocolVersion":{"major":1,"minor":0,"revision":0},"requestId":"ID"}}`
	if got := strings.Replace(arrivals[1].untimed(), fmt.Sprint(arrivals[1].id()), "ID", 1); got != want {
		t.Errorf("sent %s, want %s", got, want)
	}
	sent := w.sim.Notices()
	if other := sent[4]; other.State != simulator.NoticeStopped || other.Problem == "" || other.Tries != 0 {
		t.Errorf("listed %+v, want a reversal in another currency stopped before any try", other)
	}
}

// A result that is turned down is followed by nothing.
func TestGoogleNothingFollowsARefusedResult(t *testing.T) {
	w, e := reporting(t, simulator.Notice{API: simulator.GoogleCardFOP, Repeat: 3, Contradict: "ACCOUNT_CLOSED",
		Reversals: []simulator.Reversal{{RawResult: simulator.RawResult{Code: "62"}}}})
	e.status = func(int, string) int { return http.StatusNotFound }
	w.refund(simulator.GoogleCardFOP, "r-1")
	w.said(e, "SUCCESS")
	w.lines("cap_Q9xL-31 REFUND 10000000 r-1")
}

package simulator_test

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"refundworker/providers/simulator"
)

// reporting is a world whose refunds are reported to an edge by the given rule.
func reporting(t *testing.T, rule simulator.Notice) (*googleWorld, *edge) {
	t.Helper()
	w, e := startPlain(t), startEdge(t)
	t.Cleanup(w.sim.Close)
	w.rules(e, rule)
	return w, e
}

func (w *googleWorld) rules(e *edge, rules ...simulator.Notice) {
	w.Helper()
	for i := range rules {
		rules[i].Type, rules[i].Target = simulator.TypeGoogle, e.URL
	}
	w.must(w.sim.SetNotices(rules))
}

// refund asks for 10 units of the first payment of an API.
func (w *googleWorld) refund(api simulator.GoogleAPI, id string) googleAnswer {
	w.Helper()
	if api == simulator.GoogleCardFOP {
		return w.post(cardPath, w.card(id, "cap_Q9xL-31", "10000000"))
	}
	return w.post(redirectPath, w.redirect(id, "pay-7f20:0001", "10000000"))
}

func (w *googleWorld) settle() {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 5*time.Minute)
	defer cancel()
	w.must(w.sim.Settled(ctx))
}

// said checks what arrived at the edge, each notice as its result or amount.
func (w *googleWorld) said(e *edge, want ...string) []arrival {
	w.Helper()
	w.settle()
	var got []string
	arrivals := e.arrivals()
	for _, a := range arrivals {
		got = append(got, a.says())
	}
	if !slices.Equal(got, want) {
		w.Fatalf("arrived %q, want %q", got, want)
	}
	return arrivals
}

// The first rule that fits in API, payment and id decides; a refund that none fits succeeds in silence.
func TestNoticeRulesFirstMatchWins(t *testing.T) {
	w, e := startPlain(t), startEdge(t)
	t.Cleanup(w.sim.Close)
	w.rules(e, simulator.Notice{API: simulator.GoogleCardFOP, Result: "ACCOUNT_CLOSED"},
		simulator.Notice{Refund: "r-1", Result: "accountOnHold"},
		simulator.Notice{Reference: "pay-7f20:0001", Result: "refundWindowExceeded"},
		simulator.Notice{Reference: "pay-7f20:0001"})
	for _, step := range []struct{ path, id, capture, want string }{
		{cardPath, "r-1", "cap_Q9xL-31", "ACCOUNT_CLOSED"},
		{redirectPath, "r-1", "pay-7f20:0001", "accountOnHold"},
		{redirectPath, "r-2", "pay-7f20:0001", "refundWindowExceeded"},
		{redirectPath, "r-3", "pay-7f20:0002", ""},
	} {
		before := len(e.arrivals())
		body := w.redirect(step.id, step.capture, "10000000")
		if step.path == cardPath {
			body = w.card(step.id, step.capture, "10000000")
		}
		w.post(step.path, body)
		w.settle()
		got := ""
		for _, a := range e.arrivals()[before:] {
			got += a.says()
		}
		if got != step.want {
			t.Errorf("%s of %s is reported as %q, want %q", step.id, step.capture, got, step.want)
		}
	}
	w.lines("pay-7f20:0002 REFUND 10000000 r-3")
}

// Close and Forget end what is being sent, also while a call waits for a notice that is to overtake it.
func TestNoticesStop(t *testing.T) {
	for name, stop := range map[string]func(*simulator.Server){"close": (*simulator.Server).Close, "forget": (*simulator.Server).Forget} {
		t.Run(name, func(t *testing.T) {
			w, e := reporting(t, simulator.Notice{Before: true})
			arrived := make(chan struct{})
			e.status = func(n int, _ string) int {
				if n == 1 {
					close(arrived)
				}
				return http.StatusServiceUnavailable
			}
			answered := make(chan error)
			body := w.redirect("r-1", "pay-7f20:0001", "10000000")
			go func() {
				_, err := w.send(redirectPath, "application/json", body)
				answered <- err
			}()
			<-arrived
			stop(w.sim)
			w.must(<-answered)
			tries := len(e.arrivals())
			w.settle()
			if got := len(e.arrivals()); got != tries {
				t.Errorf("%d tries after the stop, want none", got-tries)
			}
			if name == "forget" && len(w.sim.Notices()) != 0 {
				t.Errorf("listed %v after Forget, want nothing", w.sim.Notices())
			}
		})
	}
}

// After Close calls are answered as before, and nothing is sent.
func TestClosedServerSendsNothing(t *testing.T) {
	w, e := reporting(t, simulator.Notice{Before: true})
	w.sim.Close()
	if a := w.refund(simulator.GoogleRedirectFOP, "r-1"); a.status != http.StatusOK {
		t.Errorf("status %d, want 200", a.status)
	}
	w.said(e)
	w.lines("pay-7f20:0001 REFUND 10000000 r-1")
}

// After Forget a server is as new: other refunds are reported again.
func TestForgottenServerSendsAgain(t *testing.T) {
	w, e := reporting(t, simulator.Notice{})
	w.sim.Forget()
	w.must(w.sim.Google.SetKeys([]simulator.GoogleKeys{{Account: euroAccount, Mode: simulator.GooglePlain}}))
	w.must(w.sim.Google.SetPayments(vectorPayments))
	w.refund(simulator.GoogleRedirectFOP, "r-1")
	w.said(e)
	w.rules(e, simulator.Notice{})
	w.refund(simulator.GoogleRedirectFOP, "r-2")
	w.said(e, "success")
}

func TestNoticesOverControl(t *testing.T) {
	w, e := startPlain(t), startEdge(t)
	t.Cleanup(w.sim.Close)
	rules := `[{"type":"google","api":"cardfop","reference":"cap_Q9xL-31","refund":"r-1","target":"` + e.URL + `/","result":"success",
		"rawResult":{"scope":"VISA","code":"00"},"delay":"1ms","repeat":1,"contradict":"ACCOUNT_CLOSED",
		"reversals":[{"amount":{"amountMicros":"4000000","currencyCode":"CAD"},"rawResult":{"code":"62"}},
			{"amount":"all","delay":"1ms","repeat":0,"rawResult":{"code":"62"}}]}]`
	if status, text := w.control(http.MethodPut, "/_control/notices", rules); status != http.StatusNoContent {
		t.Fatalf("PUT notices: %d %s, want 204", status, text)
	}
	w.refund(simulator.GoogleCardFOP, "r-1")
	w.said(e, "SUCCESS", "SUCCESS", "ACCOUNT_CLOSED", "4000000", "6000000")
	status, text := w.control(http.MethodGet, "/_control/notices", "")
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if status != http.StatusOK || len(lines) != 5 {
		t.Fatalf("GET notices: %d %s, want five lines", status, text)
	}
	var last simulator.SentNotice
	w.must(json.Unmarshal([]byte(lines[4]), &last))
	last.ID = ""
	if want := (simulator.SentNotice{Type: "google", Reference: "cap_Q9xL-31", Refund: "r-1", Method: "reverseRefundNotification",
		Says: "6.00 CAD", URL: e.URL + reversalNotice, Tries: 1, Status: 200, State: simulator.NoticeAccepted,
		At: time.UnixMilli(vectorNow).UTC()}); last != want {
		t.Errorf("listed %+v, want %+v", last, want)
	}
}

func TestStrictNoticeDocuments(t *testing.T) {
	const head = `[{"type":"google","target":"http://127.0.0.1:8080"`
	for _, row := range []struct{ document, pointers string }{
		{head + `}]`, ""},
		{`[{}]`, "/0/type /0/target"},
		{`[{"type":"google","result":"none"}]`, ""},
		{`[{"type":"google","result":"none","target":"h"}]`, "/0/target"},
		{`[{"type":"bbmsl","target":"http://h"}]`, "/0/type"},
		{`[{"type":"google","target":"127.0.0.1:8080"}]`, "/0/target"},
		{`[{"type":"google","target":"ftp://h"}]`, "/0/target"},
		{`[{"type":"google","target":"http://h?x=1"}]`, "/0/target"},
		{head + `,"api":"wallets"}]`, "/0/api"},
		{head + `,"when":1}]`, "/0/when"},
		{head + `,"delay":"soon","repeat":"2"}]`, "/0/repeat /0/delay"},
		{head + `,"delay":"-1s","repeat":-1}]`, "/0/delay /0/repeat"},
		{head + `,"delay":"1s","before":true}]`, "/0/delay"},
		{head + `,"result":"none","repeat":1}]`, "/0/result"},
		{head + `,"rawResult":{"scope":"x"}}]`, "/0/rawResult/code"},
		{head + `,"rawResult":{"code":7}}]`, "/0/rawResult/code"},
		{head + `,"reversals":[]}]`, ""},
		{head + `,"reversals":[{"amount":"all","rawResult":{"code":"62"}}]}]`, "/0/reversals"},
		{head + `,"api":"cardfop","result":"none","reversals":[{"amount":"all","rawResult":{"code":"62"}}]}]`, "/0/reversals"},
		{head + `,"api":"cardfop","reversals":[{"amount":"all"},{"rawResult":{"code":"6"}},{"amount":"some","rawResult":{"code":"6"}}]}]`,
			"/0/reversals/1/amount /0/reversals/2/amount"},
		{head + `,"api":"cardfop","reversals":[{"amount":"all","delay":"-1s"}]}]`, "/0/reversals/0/delay /0/reversals/0/rawResult"},
		{head + `,"api":"cardfop","reversals":[{"amount":{"amountMicros":"-1","currencyCode":"CAD"},"rawResult":{"code":"6"}}]}]`, "/0/reversals/0/amount"},
		{head + `,"api":"cardfop","reversals":[{"amount":{"amountMicros":"0","currencyCode":"CAD"},"rawResult":{"code":"6"}}]}]`, "/0/reversals/0/amount"},
		{head + `,"api":"cardfop","reversals":{}}]`, "/0/reversals"},
	} {
		w := startPlain(t)
		_, text := w.control(http.MethodPut, "/_control/notices", row.document)
		if got := pointersOf(text); got != row.pointers {
			t.Errorf("%s: problems at %q (%s), want %q", row.document, got, text, row.pointers)
		}
	}
}

// pointersOf lists where a refused document is wrong.
func pointersOf(answer string) string {
	var refused struct{ Problems []struct{ Pointer string } }
	_ = json.Unmarshal([]byte(answer), &refused) // an accepted document has no answer
	var pointers []string
	for _, p := range refused.Problems {
		pointers = append(pointers, p.Pointer)
	}
	return strings.Join(pointers, " ")
}

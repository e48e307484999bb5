package simulator_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"refundworker/providers/simulator"
)

// rush runs calls at once and counts their answers by "status data-status-or-group".
func (s *shop) rush(n int, build func(i int) *http.Request) map[string]int {
	s.t.Helper()
	requests := make([]*http.Request, n)
	for i := range n {
		requests[i] = build(i)
	}
	answers := make([]string, n)
	var done sync.WaitGroup
	for i, r := range requests {
		done.Go(func() {
			status, p := s.get(r)
			answers[i] = fmt.Sprint(status, " ", p.Data.Status)
			if p.Errors != nil {
				answers[i] = fmt.Sprint(status, " ", p.Errors.ErrorGroup)
			}
		})
	}
	done.Wait()
	count := map[string]int{}
	for _, a := range answers {
		count[a]++
	}
	return count
}

// The same key is the same refund, however often it is sent.
func TestHundredRepeatsAtOnceMoveMoneyOnce(t *testing.T) {
	s := startShop(t, twoItems())
	got := s.rush(100, func(int) *http.Request { return key(s.request(http.MethodPost, itemPath, item25), "k-1") })
	if got["200 SUCCESS"] != 100 {
		t.Errorf("answers %v, want 100 times SUCCESS", got)
	}
	s.movements("730001 REFUND 25500000")
	if line := s.sim.Ledger()[0]; line.Key != "k-1" || line.ProviderRefundID != "5000000001" {
		t.Errorf("ledger has %+v, want key k-1 and the entry's id", line)
	}
}

// Without a key, or with a key each, every call is a refund of its own, up to the item's amount.
func TestHundredRefundsAtOnceStayWithinTheItem(t *testing.T) {
	for name, keyed := range map[string]bool{"without a key": false, "with a key each": true} {
		t.Run(name, func(t *testing.T) {
			s := startShop(t, twoItems())
			got := s.rush(100, func(i int) *http.Request {
				r := s.request(http.MethodPost, itemPath, item25)
				if keyed {
					key(r, fmt.Sprint("k-", i))
				}
				return r
			})
			if got["200 SUCCESS"] != 2 || got["422 MAY_HAVE_ALREADY_REFUNDED"] != 98 {
				t.Errorf("answers %v, want 2 times SUCCESS and 98 refusals", got)
			}
			s.movements("730001 REFUND 25500000", "730001 REFUND 25500000")
		})
	}
}

func TestHundredWholeRefundsAtOnce(t *testing.T) {
	for _, sameDay := range []bool{true, false} {
		s := startShop(t, with(twoItems(), func(p *simulator.CraftgatePayment) { p.SameDay = sameDay }))
		got := s.rush(100, func(int) *http.Request { return s.request(http.MethodPost, wholePath, whole) })
		if got["200 SUCCESS"] != 1 || got["422 MAY_HAVE_ALREADY_REFUNDED"] != 99 {
			t.Errorf("answers %v, want one SUCCESS and 99 refusals", got)
		}
		if n := len(s.sim.Ledger()); n != 1 {
			t.Errorf("%d movements, want 1", n)
		}
	}
}

// The first result is the result: also a failure, and also when a second try would succeed.
func TestRepeatsGetTheFirstAnswer(t *testing.T) {
	s := startShop(t, behaving("POS_BALANCE_NOT_SUFFICIENT"))
	first := func() *http.Request { return key(s.request(http.MethodPost, itemPath, item25), "k-1") }
	s.refused(first(), "422 POS_BALANCE_NOT_SUFFICIENT")
	s.list(twoItems())
	s.refused(first(), "422 POS_BALANCE_NOT_SUFFICIENT")
	s.movements()
	_, text, err := s.send(key(s.request(http.MethodPost, itemPath, item25), "k-1:r1"))
	s.must(err)
	_, again, err := s.send(key(s.request(http.MethodPost, itemPath, item25), "k-1:r1"))
	s.must(err)
	if again != text {
		t.Errorf("repeat gets %s, first got %s", again, text)
	}
	s.movements("730001 REFUND 25500000")
	for name, r := range map[string]*http.Request{
		"other body":  s.request(http.MethodPost, itemPath, `{"paymentTransactionId":830001,"conversationId":"c-1","refundPrice":25.50}`),
		"other path":  s.request(http.MethodPost, wholePath, whole),
		"other order": s.request(http.MethodPost, itemPath, `{"paymentTransactionId":830002}`),
	} {
		t.Log(name)
		s.refused(key(r, "k-1:r1"), "422 9201")
	}
	s.movements("730001 REFUND 25500000")
}

// Keys belong to the merchant who sends them.
func TestKeysOfTwoMerchants(t *testing.T) {
	s := startShop(t, twoItems())
	other := simulator.CraftgateKey{APIKey: "other", SecretKey: craftgateKey.SecretKey}
	s.must(s.sim.Craftgate.SetKeys([]simulator.CraftgateKey{craftgateKey, other}))
	s.get(key(s.request(http.MethodPost, itemPath, item25), "k-1"))
	r := key(s.request(http.MethodPost, itemPath, item25), "k-1")
	r.Header.Set("x-api-key", "other")
	r.Header.Set("x-signature", signatureOf(other, r.URL.String(), "rnd-1", item25))
	if status, p := s.get(r); status != http.StatusOK || p.Data.ID != "5000000002" {
		t.Errorf("the other merchant gets %d %+v, want a refund of its own", status, p)
	}
	s.movements("730001 REFUND 25500000", "730001 REFUND 25500000")
}

// What is refused before the bank is asked leaves the key free: the same call may succeed later.
func TestRefusalAtTheDoorIsNotRemembered(t *testing.T) {
	s := startShop(t)
	call := func() *http.Request { return key(s.request(http.MethodPost, itemPath, item25), "k-1") }
	s.refused(call(), "422 9102")
	unsigned := call()
	unsigned.Header.Set("x-rnd-key", "rnd-2")
	s.refused(unsigned, "401 9004")
	s.list(twoItems())
	if status, p := s.get(call()); status != http.StatusOK {
		t.Errorf("got %d %+v, want 200", status, p.Errors)
	}
	s.movements("730001 REFUND 25500000")
}

// While the bank works on a refund, neither its repeat nor another refund of the payment gets through.
func TestOneRefundAtATime(t *testing.T) {
	for name, keys := range map[string][2]string{"its repeat": {"k-1", "k-1"}, "another": {"k-1", "k-2"}} {
		t.Run(name, func(t *testing.T) {
			s := startShop(t, with(twoItems(), func(p *simulator.CraftgatePayment) { p.Takes = time.Minute }))
			refused, ended := make(chan string, 2), make(chan error, 2)
			for _, k := range keys {
				r := key(s.request(http.MethodPost, itemPath, item25), k)
				go func() {
					status, text, err := s.send(r)
					if err == nil {
						refused <- fmt.Sprint(status, " ", text)
					}
					ended <- err
				}()
			}
			if got, want := <-refused, `422 {"errors":{"errorCode":"10999","errorDescription":"a refund of this payment is still running","errorGroup":"TOO_MANY_REQUESTS"}}`; got != want {
				t.Errorf("the second call gets %s, want %s", got, want)
			}
			s.movements()
			s.sim.Forget() // ends the bank's work with nothing done
			for range 2 {
				<-ended
			}
			if len(refused) > 0 {
				t.Errorf("the first call gets %s, want its connection dropped", <-refused)
			}
			s.movements()
		})
	}
}

// The bank finishes what it has begun, also when its caller has hung up; the repeat tells.
func TestBankFinishesWithoutItsCaller(t *testing.T) {
	s := startShop(t, with(twoItems(), func(p *simulator.CraftgatePayment) { p.Takes = time.Millisecond }))
	call := key(s.request(http.MethodPost, itemPath, item25), "k-1")
	left, hangUp := context.WithCancel(t.Context())
	hangUp()
	received := httptest.NewRequestWithContext(left, call.Method, call.URL.RequestURI(), strings.NewReader(item25))
	received.Host, received.Header = call.URL.Host, call.Header
	s.sim.ServeHTTP(httptest.NewRecorder(), received)
	s.movements("730001 REFUND 25500000")
	if status, p := s.get(call); status != http.StatusOK || p.Data.Status != "SUCCESS" {
		t.Errorf("repeat gets %d %+v, want SUCCESS", status, p)
	}
	s.movements("730001 REFUND 25500000")
}

// A refund that runs keeps its payment, whatever is listed meanwhile: the money moves from what is listed.
func TestListingWhileARefundRuns(t *testing.T) {
	s := startShop(t, with(twoItems(), func(p *simulator.CraftgatePayment) { p.Takes = 300 * time.Millisecond }))
	const rest = `{"paymentTransactionId":830001}`
	answers := make(chan string, 2)
	for range 2 {
		r := s.request(http.MethodPost, itemPath, rest)
		go func() {
			status, text, err := s.send(r)
			answers <- fmt.Sprint(status, text, err)
		}()
	}
	if first := <-answers; !strings.Contains(first, "TOO_MANY_REQUESTS") {
		t.Errorf("the first answer is %s, want TOO_MANY_REQUESTS for the second call", first)
	}
	s.list(twoItems())
	<-answers
	s.refused(s.request(http.MethodPost, itemPath, rest), "422 MAY_HAVE_ALREADY_REFUNDED")
	s.movements("730001 REFUND 60000000")
}

// However whole refunds, parts, lost answers and new listings fall, no item gives back more than it has.
func TestCraftgateNeverMovesTooMuch(t *testing.T) {
	same := with(twoItems(), func(p *simulator.CraftgatePayment) {
		p.Reference, p.SameDay, p.Takes = "9", true, time.Millisecond
		p.Transactions = []simulator.CraftgateTransaction{{Reference: "91", Amount: lira(50_00)}, {Reference: "92", Amount: lira(50_00)}}
	})
	list := []simulator.CraftgatePayment{twoItems(), same}
	s := startShop(t, list...)
	s.faults(simulator.Fault{Operation: "refund-transaction", Probability: 0.3, Seed: 1, Effect: simulator.EffectDropAfter},
		simulator.Fault{Operation: "refund", Probability: 0.5, Seed: 2, Effect: simulator.EffectDropAfter},
		simulator.Fault{Operation: "refund-transaction", Every: 7, Effect: simulator.EffectReset})
	items, wholes := []string{"830001", "830002", "91", "92"}, []string{"730001", "9"}
	var done sync.WaitGroup
	for i := range 300 {
		random := rand.New(rand.NewPCG(uint64(i), 7))
		body := fmt.Sprintf(`{"paymentTransactionId":%s,"refundPrice":%d.%02d}`, items[random.IntN(4)], random.IntN(9), 1+random.IntN(99))
		r := s.request(http.MethodPost, itemPath, body)
		switch random.IntN(12) {
		case 0:
			r = s.request(http.MethodPost, wholePath, `{"paymentId":`+wholes[random.IntN(2)]+`}`)
		case 1:
			done.Go(func() { s.must(s.sim.Craftgate.SetPayments(list)) })
		}
		done.Go(func() { _, _, _ = s.send(key(r, fmt.Sprint("k-", i/2))) })
	}
	done.Wait()
	s.faults()
	for _, p := range wholes { // the rest goes back whatever happened, unless nothing is left
		s.get(s.request(http.MethodPost, wholePath, `{"paymentId":`+p+`}`))
	}
	moved := map[string]int64{}
	for _, m := range s.sim.Ledger() {
		moved[m.Reference] += m.Amount.Micros
	}
	if moved["730001"] != 100_000_000 || moved["9"] != 100_000_000 {
		t.Errorf("moved %v, want 100000000 of each", moved)
	}
}

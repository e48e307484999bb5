package simulator_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"refundworker/providers/simulator"
)

// refundLine is what a refund that was executed leaves in the ledger.
const (
	refund     = `"orderId":4922,"amount":1`
	refundLine = "4922 REFUND 1000000"
	refundPath = "/hosted-checkout/refund"
)

func TestBrokenConnections(t *testing.T) {
	for _, row := range []struct {
		effect   simulator.Effect
		sees     error
		executed bool
	}{
		{simulator.EffectDropBefore, io.EOF, false},
		{simulator.EffectDropAfter, io.EOF, true},
		{simulator.EffectReset, syscall.ECONNRESET, false},
	} {
		t.Run(string(row.effect), func(t *testing.T) {
			w := start(t)
			w.list(simulator.BBMSLSettled)
			w.faults(simulator.Fault{Effect: row.effect, Times: 1})
			if _, err := w.try(refundPath, refund); !errors.Is(err, row.sees) {
				t.Errorf("caller sees %v, want %v", err, row.sees)
			}
			if row.executed {
				w.movements(refundLine)
				w.code(refundPath, refund, "SIM301")
			} else {
				w.movements()
				w.code(refundPath, refund, "0000")
			}
			w.movements(refundLine)
		})
	}
}

func TestStatusFault(t *testing.T) {
	w := start(t)
	w.list(simulator.BBMSLSettled)
	w.faults(simulator.Fault{Effect: simulator.EffectStatus, Code: "503"})
	status, text, err := w.post(t.Context(), refundPath, sealed(`{"merchantId":"700123",`+refund+`}`))
	if err != nil || status != http.StatusServiceUnavailable || json.Valid([]byte(text)) {
		t.Errorf("got %d %q %v, want 503 and plain text", status, text, err)
	}
	w.movements()
}

func TestRefuseFault(t *testing.T) {
	w := start(t)
	w.list(simulator.BBMSLSettled)
	w.faults(simulator.Fault{Effect: simulator.EffectRefuse, Code: "E777"})
	w.code(refundPath, refund, "E777")
	w.movements()
	if got := w.codeOf(refundPath, sealed(`{"merchantId":"1",`+refund+`}`)); got != "SIM102" {
		t.Errorf("unknown merchant gets %s, want SIM102: a scripted refusal is for callers that are let in", got)
	}
}

func TestGarbageFault(t *testing.T) {
	w := start(t)
	w.list(simulator.BBMSLSettled)
	w.faults(simulator.Fault{Effect: simulator.EffectGarbage})
	status, text, err := w.post(t.Context(), refundPath, sealed(`{"merchantId":"700123",`+refund+`}`))
	if err != nil || status != http.StatusOK || text == "" || json.Valid([]byte(text)) {
		t.Errorf("got %d %q %v, want 200 and no JSON", status, text, err)
	}
	w.movements(refundLine)
}

func TestDelayFault(t *testing.T) {
	w := start(t)
	w.list(simulator.BBMSLSettled)
	const delay = 50 * time.Millisecond
	w.faults(simulator.Fault{Effect: simulator.EffectDelay, For: delay})
	began := time.Now()
	w.code(refundPath, refund, "0000")
	if took := time.Since(began); took < delay {
		t.Errorf("answered after %s, want %s at least", took, delay)
	}
	w.movements(refundLine)
}

func TestDelayEndsWithItsCaller(t *testing.T) {
	w := start(t)
	w.list(simulator.BBMSLSettled)
	w.faults(simulator.Fault{Effect: simulator.EffectDelay, For: time.Hour})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := w.post(ctx, refundPath, sealed(`{"merchantId":"700123",`+refund+`}`)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("caller sees %v, want its own deadline", err)
	}
	w.server.Close() // returns only when no call is being served
	w.movements()
}

func TestDelayDoesNotKeepTheServerFromClosing(t *testing.T) {
	w := start(t)
	w.faults(simulator.Fault{Effect: simulator.EffectDelay, For: time.Hour})
	seen := make(chan error)
	began := make(chan struct{})
	inner := w.server.Config.Handler
	w.server.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		close(began)
		inner.ServeHTTP(rw, r)
	})
	go func() {
		_, err := w.try(refundPath, refund)
		seen <- err
	}()
	<-began
	w.server.CloseClientConnections()
	if err := <-seen; err == nil {
		t.Error("caller got an answer from a closed server")
	}
	w.server.Close()
}

func TestSlowBodyFault(t *testing.T) {
	w := start(t)
	w.list(simulator.BBMSLSettled)
	const over = 80 * time.Millisecond
	w.faults(simulator.Fault{Effect: simulator.EffectSlowBody, For: over})
	began := time.Now()
	a := w.code(refundPath, refund, "0000")
	if took := time.Since(began); took < over-time.Millisecond {
		t.Errorf("answered after %s, want about %s at least", took, over)
	}
	if a.Order.Status != "REFUNDED" {
		t.Errorf("order is %s, want the whole answer", a.Order.Status)
	}
	w.movements(refundLine)
}

func TestSlowBodyStopsWithItsCaller(t *testing.T) {
	w := start(t)
	w.list(simulator.BBMSLSettled)
	w.faults(simulator.Fault{Effect: simulator.EffectSlowBody, For: time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.server.URL+"/bbmsl"+refundPath,
		strings.NewReader(sealed(`{"merchantId":"700123",`+refund+`}`)))
	w.must(err)
	response, err := w.server.Client().Do(r)
	w.must(err)
	defer response.Body.Close()
	w.movements(refundLine) // the headers are here, the body never comes
	cancel()
	if _, err := io.ReadAll(response.Body); err == nil {
		t.Error("body ended well, want an error")
	}
	w.server.Close() // returns only when no call is being served
}

// firing sends n queries and writes one letter for each: R where the fault fired, a dot where it did not.
func (w *world) firing(n int, members string) string {
	w.t.Helper()
	letters := map[string]string{"E1": "R", "E2": "S", "0000": "."}
	var got strings.Builder
	for range n {
		got.WriteString(letters[w.ask("/direct/query", members).ResponseCode])
	}
	return got.String()
}

func TestWhichCallsAFaultMeets(t *testing.T) {
	refuse := simulator.Fault{Operation: "query", Effect: simulator.EffectRefuse, Code: "E1"}
	with := func(change func(*simulator.Fault)) simulator.Fault {
		f := refuse
		change(&f)
		return f
	}
	second := with(func(f *simulator.Fault) { f.Code = "E2" })
	for _, row := range []struct {
		name  string
		rules []simulator.Fault
		want  string
	}{
		{"none", nil, "......"},
		{"always", []simulator.Fault{refuse}, "RRRRRR"},
		{"every third", []simulator.Fault{with(func(f *simulator.Fault) { f.Every = 3 })}, "..R..R"},
		{"twice", []simulator.Fault{with(func(f *simulator.Fault) { f.Times = 2 })}, "RR...."},
		{"every second, once", []simulator.Fault{with(func(f *simulator.Fault) { f.Every, f.Times = 2, 1 })}, ".R...."},
		{"other operation", []simulator.Fault{with(func(f *simulator.Fault) { f.Operation = "void" })}, "......"},
		{"other payment", []simulator.Fault{with(func(f *simulator.Fault) { f.Reference = "4923" })}, "......"},
		{"this payment", []simulator.Fault{with(func(f *simulator.Fault) { f.Reference = "4922" })}, "RRRRRR"},
		{"handle that is no reference", []simulator.Fault{with(func(f *simulator.Fault) { f.Reference = "m-1" })}, "......"},
		{"first wins", []simulator.Fault{refuse, second}, "RRRRRR"},
		{"first used up, then the second", []simulator.Fault{with(func(f *simulator.Fault) { f.Times = 2 }), second}, "RRSSSS"},
		{"passed over, the second", []simulator.Fault{with(func(f *simulator.Fault) { f.Every = 2 }), second}, "SRSRSR"},
		{"certain chance", []simulator.Fault{with(func(f *simulator.Fault) { f.Probability = 1 })}, "RRRRRR"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := start(t)
			w.list(simulator.BBMSLSettled)
			w.faults(row.rules...)
			if got := w.firing(6, `"merchantReference":"m-1"`); got != row.want {
				t.Errorf("fired %s, want %s", got, row.want)
			}
		})
	}
}

func TestChanceIsTheSameForTheSameSeed(t *testing.T) {
	run := func(seed uint64) string {
		w := start(t)
		w.list(simulator.BBMSLSettled)
		w.faults(simulator.Fault{Operation: "query", Probability: 0.3, Seed: seed, Effect: simulator.EffectRefuse, Code: "E1"})
		return w.firing(100, `"orderId":4922`)
	}
	first := run(7)
	if fired := strings.Count(first, "R"); fired < 10 || fired > 60 {
		t.Errorf("fired %d times of 100, want about 30", fired)
	}
	if again := run(7); again != first {
		t.Errorf("seed 7 fired\n%s, then\n%s", first, again)
	}
	if other := run(8); other == first {
		t.Error("seeds 7 and 8 fired alike")
	}
}

func TestFaultOnAPaymentThatDoesNotExistYet(t *testing.T) {
	w := start(t)
	w.must(w.sim.BBMSL.SetOpen(simulator.BBMSLPayment{Amount: hkd(100)}))
	w.faults(simulator.Fault{Reference: "12", Effect: simulator.EffectRefuse, Code: "E1"},
		simulator.Fault{Reference: "x-12", Effect: simulator.EffectRefuse, Code: "E2"})
	w.code(refundPath, `"orderId":12,"amount":1`, "E1")
	w.code(refundPath, `"merchantReference":"x-12","amount":1`, "E2")
	w.code(refundPath, `"orderId":13,"amount":1`, "0000")
	w.movements("13 REFUND 1000000")
}

func TestFaultsThatCannotBe(t *testing.T) {
	good := map[string]string{"type": `"bbmsl"`, "operation": `"refund"`, "effect": `"drop_before"`}
	for _, row := range []struct {
		members string // written over the good ones; an empty value leaves the member out
		pointer string // empty: accepted
	}{
		{``, ""},
		{`type=`, "/0/type"},
		{`type="nobody"`, "/0/type"},
		{`operation=`, "/0/operation"},
		{`operation="sale"`, "/0/operation"},
		{`effect=`, "/0/effect"},
		{`effect="explode"`, "/0/effect"},
		{`Effect="delay"`, "/0/Effect"},
		{`every=0`, "/0/every"},
		{`every=-1`, "/0"},
		{`every="2"`, "/0/every"},
		{`every=1.5`, "/0/every"},
		{`every=null`, "/0/every"},
		{`times=0`, "/0/times"},
		{`times=-2`, "/0"},
		{`probability=0`, "/0/probability"},
		{`probability=1.1`, "/0/probability"},
		{`probability=-0.1`, "/0/probability"},
		{`probability=0.5;seed=1`, ""},
		{`probability=0.5;every=2`, "/0"},
		{`seed=1`, "/0/seed"},
		{`probability=0.5;seed=-1`, "/0/seed"},
		{`for="1s"`, "/0/for"},
		{`effect="delay"`, "/0/for"},
		{`effect="delay";for="0s"`, "/0/for"},
		{`effect="delay";for="soon"`, "/0/for"},
		{`effect="delay";for=3`, "/0/for"},
		{`effect="delay";for="1m30s"`, ""},
		{`effect="slow_body";for="1s"`, ""},
		{`code="E1"`, "/0/code"},
		{`effect="status"`, "/0/code"},
		{`effect="status";code="E1"`, "/0/code"},
		{`effect="status";code=100`, "/0/code"},
		{`effect="status";code=600`, "/0/code"},
		{`effect="status";code=503`, ""},
		{`effect="status";code="503"`, ""},
		{`effect="status";code=true`, "/0/code"},
		{`effect="refuse"`, "/0/code"},
		{`effect="refuse";code="0000"`, "/0/code"},
		{`effect="refuse";code="E1"`, ""},
		{`unknown=1`, "/0/unknown"},
	} {
		t.Run(row.members, func(t *testing.T) {
			w := start(t)
			status, text := w.control(http.MethodPut, "/_control/faults", "["+mix(good, row.members)+"]")
			w.answersProblem(status, text, row.pointer)
		})
	}
}

// mix writes an object: good members, changed as "name=value;name=value" says.
func mix(good map[string]string, changes string) string {
	members := map[string]json.RawMessage{}
	for name, value := range good {
		members[name] = json.RawMessage(value)
	}
	for change := range strings.SplitSeq(changes, ";") {
		if name, value, _ := strings.Cut(change, "="); value != "" {
			members[name] = json.RawMessage(value)
		} else {
			delete(members, name)
		}
	}
	text, err := json.Marshal(members)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// answersProblem checks the answer of a control call: 204, or 400 with a problem at the pointer.
func (w *world) answersProblem(status int, text, pointer string) {
	w.t.Helper()
	if pointer == "" {
		if status != http.StatusNoContent {
			w.t.Errorf("got %d %s, want 204", status, text)
		}
		return
	}
	var got struct {
		Error    string
		Problems []struct{ Pointer, Rule string }
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil || status != http.StatusBadRequest || len(got.Problems) == 0 {
		w.t.Fatalf("got %d %s (%v), want 400 with problems", status, text, err)
	}
	if first := got.Problems[0]; first.Pointer != pointer || first.Rule == "" || !strings.Contains(got.Error, pointer) {
		w.t.Errorf("got %s, want a problem at %s first", text, strconv.Quote(pointer))
	}
}

package host

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"refundworker/providers/google/seal"
)

// strangers are requests by whoever cannot prove to hold the keys of the account in the path.
func (e *edge) strangers() map[string]request {
	document := redirectResultDocument(redirectAccount, "n-1", noon)
	good := e.sealed(redirectResult, redirectAccount, document)
	with := func(change func(*request)) request {
		r := good
		change(&r)
		return r
	}
	list := map[string]request{
		"unknown account":          with(func(r *request) { r.path = redirectResult + "/nobody" }),
		"account of the other API": with(func(r *request) { r.path = redirectResult + "/" + cardAccount }),
		"another account's body":   e.sealed(redirectResult, secondAccount, document),
		"another content type":     with(func(r *request) { r.contentType = "text/plain" }),
		"no content type":          with(func(r *request) { r.contentType = "" }),
	}
	list["another account's echo"] = e.sealed(cardEcho, cardAccount, strings.ReplaceAll(flatHeader("e-1", noon), cardAccount, "Other_CAD")+`,"clientMessage":"x"}`)
	// Whosever key is tried for an account that is not known: it does not make the account known.
	for id := range e.seals {
		r := e.sealed(redirectResult, id, redirectResultDocument("nobody", "n-1", noon))
		r.path = redirectResult + "/nobody"
		list["unknown account, sealed by "+id] = r
	}
	list["another charset"] = with(func(r *request) { r.contentType = "application/jose; charset=latin1" })
	if e.mode == seal.Plain {
		return list
	}
	sealedBy := func(us, them string) request {
		message, err := between(e.t, e.mode, us, them).Seal([]byte(document))
		if err != nil {
			e.t.Fatal(err)
		}
		return with(func(r *request) { r.body = message })
	}
	list["unknown signing key"] = sealedBy("impostor", "edge")
	list["another account's signing key"] = sealedBy(secondAccount, "edge")
	list["unknown encryption key"] = sealedBy(redirectAccount, "impostor")
	list["garbage"] = with(func(r *request) { r.body = []byte("garbage") })
	list["not sealed"] = with(func(r *request) { r.body = []byte(document) })
	list["nothing"] = with(func(r *request) { r.body = nil })
	return list
}

// Whatever is wrong with a stranger's request, the answer is the same in every byte and comes at the same moment: fake
// time moves only while the handler waits, so it shows the wait to the nanosecond.
func TestStrangersCannotTellWhatIsWrong(t *testing.T) {
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			list := newEdge(t, mode).strangers()
			for name, r := range list {
				synctest.Test(t, func(t *testing.T) {
					e := newEdge(t, mode)
					before := time.Now()
					w := e.do(r)
					if took := time.Since(before); took != 100*time.Millisecond {
						t.Errorf("%s: took %s", name, took)
					}
					if w.Code != http.StatusNotFound || w.Body.Len() != 0 || !reflect.DeepEqual(w.Header(), http.Header{}) {
						t.Errorf("%s: got %d, %q, %v, want an empty 404", name, w.Code, w.Body, w.Header())
					}
					if len(e.inbox.notices) != 0 || !slices.Equal(e.told, []string{ResultUnverified}) {
						t.Errorf("%s: got %d notices, observed %v", name, len(e.inbox.notices), e.told)
					}
				})
			}
		})
	}
}

// Who sends the body slowly does not use the wait up.
func TestTheWaitBeginsAfterTheBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t, seal.PGP)
		before := time.Now()
		w := httptest.NewRecorder()
		e.handler.ServeHTTP(w, httptest.NewRequest(http.MethodPost, cardResult+"/nobody", slowly{bytes.NewReader([]byte("garbage"))}))
		if took := time.Since(before); took < time.Second+100*time.Millisecond || w.Code != http.StatusNotFound {
			t.Errorf("got %d after %s", w.Code, took)
		}
	})
}

type slowly struct{ io.Reader }

func (s slowly) Read(p []byte) (int, error) {
	time.Sleep(time.Second)
	return s.Reader.Read(p)
}

// The same by the clock on the wall, where keys cost time: an unknown account and an unknown key take turns, and none is
// answered before the floor.
func TestUnknownAccountAndUnknownKeyTakeTheSameTime(t *testing.T) {
	for _, mode := range []seal.Mode{seal.PGP, seal.JOSE} {
		t.Run(string(mode), func(t *testing.T) {
			e := newEdge(t, mode)
			list := e.strangers()
			names := []string{"unknown account", "unknown signing key", "unknown encryption key"}
			took := map[string][]time.Duration{}
			for range 9 {
				for _, name := range names {
					before := time.Now()
					e.do(list[name])
					took[name] = append(took[name], time.Since(before))
				}
			}
			for _, name := range names {
				slices.Sort(took[name])
				t.Logf("%s: fastest %s, median %s", name, took[name][0], took[name][4])
				if took[name][0] < e.handler.cfg.Floor {
					t.Errorf("%s: answered after %s, want %s at least", name, took[name][0], e.handler.cfg.Floor)
				}
			}
		})
	}
}

// A source that keeps failing is turned away before its message is read; others are not, nor are verified ones slowed.
func TestSourcesThatKeepFailingAreBarred(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t, seal.Plain)
		bad := e.strangers()["unknown account"]
		bad.from = "192.0.2.1:1000"
		codes := map[int]int{}
		for range 60 {
			codes[e.do(bad).Code]++
		}
		// While 30 answers are waited for, the source earns another one or two.
		if codes[http.StatusNotFound] < 30 || codes[http.StatusNotFound] > 33 || codes[http.StatusNotFound]+codes[http.StatusTooManyRequests] != 60 {
			t.Errorf("got %v, want about 30 of 60 turned away", codes)
		}
		good := e.sealed(redirectResult, redirectAccount, redirectResultDocument(redirectAccount, "n-1", noon))
		good.from = "192.0.2.2:1000"
		before := time.Now()
		for range 100 {
			if w := e.do(good); w.Code != http.StatusOK {
				t.Fatalf("another source: got %d", w.Code)
			}
		}
		if took := time.Since(before); took != 0 {
			t.Errorf("a verified source waited %s", took)
		}
	})
}

// Where something else ends TLS, an integrator and strangers have one address. The strangers' failures do not keep the
// integrator out, as long as it reports now and then.
func TestVerifiedSourcesAreNotBarredForOthersFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t, seal.Plain)
		report := func(id string) int {
			r := e.sealed(redirectResult, redirectAccount, redirectResultDocument(redirectAccount, id, noon))
			r.from = "192.0.2.1:2000"
			return e.do(r).Code
		}
		bad := e.strangers()["unknown account"]
		bad.from = "192.0.2.1:1000"
		if got := report("n-1"); got != http.StatusOK {
			t.Fatalf("before: got %d", got)
		}
		for range 60 {
			if got := e.do(bad).Code; got != http.StatusNotFound {
				t.Fatalf("a stranger behind the integrator's address: got %d, want 404", got)
			}
		}
		if got := report("n-2"); got != http.StatusOK {
			t.Errorf("after 60 strangers: got %d, want 200", got)
		}
		time.Sleep(11 * time.Minute)
		for range 31 {
			e.do(bad)
		}
		if got := e.do(bad).Code; got != http.StatusTooManyRequests {
			t.Errorf("a stranger, when nobody verified for long: got %d, want 429", got)
		}
	})
}

// A message that was caught long ago opens, but the clock refuses it. Nor does a key of one account speak for another.
// Neither keeps an address open.
func TestOldMessagesAndOtherAccountsDoNotVerify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t, seal.Plain)
		old := e.sealed(redirectResult, redirectAccount, redirectResultDocument(redirectAccount, "n-1", noon.Add(-time.Hour)))
		foreign := e.sealed(redirectResult, redirectAccount, redirectResultDocument(secondAccount, "n-1", noon))
		bad := e.strangers()["unknown account"]
		for i, r := range []request{old, foreign} {
			want := []int{http.StatusBadRequest, http.StatusNotFound}[i]
			r.from = []string{"192.0.2.1:1", "192.0.2.2:1"}[i]
			bad.from = r.from
			if got := e.do(r).Code; got != want {
				t.Errorf("got %d, want %d", got, want)
			}
			for range 40 {
				e.do(bad)
			}
			if got := e.do(bad).Code; got != http.StatusTooManyRequests {
				t.Errorf("after a %d: got %d, want 429", want, got)
			}
		}
	})
}

// Bodies that are too long or never end cost a place and time as well.
func TestUnreadableBodiesCountAsFailures(t *testing.T) {
	for name, body := range map[string]func() io.Reader{
		"too long": func() io.Reader { return bytes.NewReader(make([]byte, maxBody+1)) },
		"cut off":  func() io.Reader { return io.MultiReader(strings.NewReader("x"), cutOff{}) },
	} {
		e := newEdge(t, seal.Plain)
		send := func() int {
			w := httptest.NewRecorder()
			e.handler.ServeHTTP(w, httptest.NewRequest(http.MethodPost, cardResult+"/"+cardAccount, body()))
			return w.Code
		}
		first := send()
		got := first
		for range 40 {
			got = send()
		}
		if first == http.StatusTooManyRequests || got != http.StatusTooManyRequests {
			t.Errorf("%s: the first got %d, the last %d, want 429 for the last alone", name, first, got)
		}
	}
}

// While every place is taken, known and unknown accounts wait alike, no longer than an answer may take, and that costs
// no source its tries.
func TestMessagesAreOpenedInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t, seal.PGP)
		good := e.sealed(redirectResult, redirectAccount, redirectResultDocument(redirectAccount, "n-1", noon))
		unknown := good
		unknown.path = redirectResult + "/nobody"
		for range cap(e.handler.opening) {
			e.handler.opening <- struct{}{}
		}
		for range 31 {
			for _, r := range []request{good, unknown} {
				before := time.Now()
				w := e.do(r)
				if took := time.Since(before); w.Code != http.StatusServiceUnavailable || w.Body.Len() != 0 || took != 5*time.Second {
					t.Fatalf("%s: got %d with %d bytes after %s, want an empty 503 after 5s", r.path, w.Code, w.Body.Len(), took)
				}
			}
		}
		time.AfterFunc(time.Second, func() { <-e.handler.opening })
		before := time.Now()
		if w := e.do(good); w.Code != http.StatusOK || time.Since(before) != time.Second {
			t.Errorf("got %d after %s, want 200 as soon as a place is free", w.Code, time.Since(before))
		}
		if got, want := len(e.handler.opening), cap(e.handler.opening)-1; got != want {
			t.Errorf("%d places are taken, want %d", got, want)
		}
	})
}

// A stranger who waits long for its turn waits no longer than that: the floor runs meanwhile.
func TestTheWaitForATurnCountsForTheFloor(t *testing.T) {
	for wait, want := range map[time.Duration]time.Duration{40 * time.Millisecond: 100 * time.Millisecond, time.Second: time.Second} {
		synctest.Test(t, func(t *testing.T) {
			e := newEdge(t, seal.Plain)
			for range cap(e.handler.opening) {
				e.handler.opening <- struct{}{}
			}
			time.AfterFunc(wait, func() { <-e.handler.opening })
			before := time.Now()
			if w := e.do(e.strangers()["unknown account"]); w.Code != http.StatusNotFound || time.Since(before) != want {
				t.Errorf("got %d after %s, want 404 after %s", w.Code, time.Since(before), want)
			}
		})
	}
}

package fop

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"refundworker/providers"
	"refundworker/schemas"
)

var apis = []API{RedirectFOP, CardFOP}

// stamped is a seal that anybody could forge: a number that never repeats, and the document. It tells sealed messages
// from open ones, and one seal from the next.
type stamped struct {
	mu    sync.Mutex
	seals int
}

var errUnsealed = errors.New("not sealed")

func (s *stamped) ContentType() string { return "application/stamped; charset=utf-8" }

func (s *stamped) Seal(document []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seals++
	return append([]byte(strconv.Itoa(s.seals)+"|"), document...), nil
}

func (s *stamped) Open(message []byte) ([]byte, error) {
	number, document, found := bytes.Cut(message, []byte("|"))
	if _, err := strconv.Atoi(string(number)); err != nil || !found {
		return nil, errUnsealed
	}
	return document, nil
}

// reply is what the integrator answers. A text that is to be sealed may hold $now for the timestamp of the answer.
type reply struct {
	status      int
	header      http.Header
	contentType string
	text        string
	unsealed    bool
}

// integrator is the other side with one answer, and keeps what it was asked.
type integrator struct {
	*Provider
	mu       sync.Mutex
	seal     *stamped
	reply    reply
	paths    []string
	messages []string
	headers  []http.Header
}

func newIntegrator(t *testing.T, api API, answer reply) *integrator {
	t.Helper()
	in := &integrator{seal: &stamped{}, reply: answer}
	server := httptest.NewServer(in)
	t.Cleanup(server.Close)
	p, err := New(Config{API: api, BaseURL: server.URL + "/base/", Account: "LanternCards_CAD", Seal: in.seal})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	in.Provider = p
	return in
}

func (in *integrator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	in.mu.Lock()
	in.paths, in.messages, in.headers = append(in.paths, r.URL.Path), append(in.messages, string(body)), append(in.headers, r.Header)
	a := in.reply
	in.mu.Unlock()
	text := []byte(strings.ReplaceAll(a.text, "$now", strconv.FormatInt(time.Now().UnixMilli(), 10)))
	if !a.unsealed {
		text, _ = in.seal.Seal(text)
	}
	if a.contentType == "" {
		a.contentType = in.seal.ContentType()
	}
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", a.contentType)
	w.WriteHeader(a.status)
	_, _ = w.Write(text)
}

// answersWith sets the answer to the calls from now on.
func (in *integrator) answersWith(a reply) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.reply = a
}

func (in *integrator) calls() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return len(in.paths)
}

// acknowledges and refuses write the documents of an API.
func acknowledges(api API) string {
	if api == CardFOP {
		return `{"responseHeader":{"responseTimestamp":"$now"},"result":"ACKNOWLEDGED"}`
	}
	return `{"responseHeader":{"responseTimestamp":{"epochMillis":"$now"}},"result":{"acknowledged":{}}}`
}

// names are the codes in both spellings.
type names struct{ enum, member string }

func refuses(api API, n names, about, description string) string {
	if api == CardFOP {
		return fmt.Sprintf(`{"responseHeader":{"responseTimestamp":"$now"},"errorResponseCode":%q,"errorDescription":%q}`, n.enum, description)
	}
	return fmt.Sprintf(`{"responseHeader":{"responseTimestamp":{"epochMillis":"$now"}},"errorResponseResult":{%q:%s},"errorDescription":%q}`,
		n.member, about, description)
}

func money(t testing.TB, text, currency string) schemas.Money {
	t.Helper()
	m, err := schemas.ParseDecimal(text, schemas.Currency(currency))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// request is a first attempt of a command that is two hours old.
func request(t testing.TB) providers.Request {
	t.Helper()
	return providers.Request{RequestID: "ord-1042:r1", IdempotencyKey: "ord-1042:r1", Payment: schemas.Payment{Reference: "cap_Q9xL-31"},
		Amount: money(t, "64.99", "CAD"), RequestedAt: time.Now().Add(-2 * time.Hour), Attempt: 1}
}

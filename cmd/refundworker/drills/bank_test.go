package drills

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"refundworker/providers/simulator"
	"refundworker/schemas"
)

// bank is the simulated provider. It remembers who asked what and when, and can do something at that moment.
type bank struct {
	*simulator.Server
	baseURL string
	key     string // the merchant's private key, PEM

	mu    sync.Mutex
	calls []time.Time
	ended int
	// before runs when a request has arrived, after when its answer is made and not yet sent.
	before, after func(operation string)
}

func newBank(t *testing.T) *bank {
	t.Helper()
	b := &bank{Server: simulator.New(simulator.Options{})}
	server := httptest.NewServer(b)
	t.Cleanup(server.Close)
	b.baseURL = server.URL + "/bbmsl"
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	b.key = string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	err = b.BBMSL.SetKeys([]simulator.BBMSLKey{{MerchantID: "700123",
		PublicKey: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))}})
	if err != nil {
		t.Fatal(err)
	}
	err = b.BBMSL.SetOpen(simulator.BBMSLPayment{Amount: schemas.Money{Micros: 15_000_000, Currency: "HKD"},
		Status: "SETTLED"})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// ServeHTTP passes a request on to the simulator.
func (b *bank) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	operation := path.Base(strings.TrimSuffix(r.URL.Path, "/"))
	b.mu.Lock()
	b.calls = append(b.calls, time.Now())
	before, after := b.before, b.after
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		b.ended++
		b.mu.Unlock()
	}()
	if before != nil {
		before(operation)
	}
	if after == nil {
		b.Server.ServeHTTP(w, r)
		return
	}
	answer := httptest.NewRecorder()
	b.Server.ServeHTTP(answer, r)
	after(operation)
	for name, values := range answer.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes()) // who asked may be gone
}

// at has the bank do something when a request has arrived, or when its answer is made and not yet sent.
func (b *bank) at(before, after func(operation string)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.before, b.after = before, after
}

// asked is how many requests of any kind have arrived so far.
func (b *bank) asked() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.calls)
}

// answered is how many of them have been dealt with.
func (b *bank) answered() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ended
}

// askedBetween is how many requests arrived from one moment to another.
func (b *bank) askedBetween(from, to time.Time) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, at := range b.calls {
		if at.After(from) && at.Before(to) {
			n++
		}
	}
	return n
}

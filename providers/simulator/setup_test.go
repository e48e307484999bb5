package simulator_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"refundworker/providers/simulator"
	"refundworker/schemas"
)

const merchant = "700123"

// now is what the simulator's clock says in tests.
var now = time.Date(2031, 3, 4, 5, 6, 7, 0, time.UTC)

// world is a running simulator that knows one merchant.
type world struct {
	t      *testing.T
	sim    *simulator.Server
	server *httptest.Server
}

func start(t *testing.T) *world {
	t.Helper()
	sim := simulator.New(simulator.Options{Clock: func() time.Time { return now }})
	server := httptest.NewServer(sim)
	t.Cleanup(server.Close)
	w := &world{t: t, sim: sim, server: server}
	w.must(sim.BBMSL.SetKeys([]simulator.BBMSLKey{{MerchantID: merchant, PublicKey: merchantKeys().public}}))
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// list lists one payment of 129.90 HKD, order 4922 or m-1, in a status.
func (w *world) list(status simulator.BBMSLStatus) {
	w.t.Helper()
	w.must(w.sim.BBMSL.SetPayments([]simulator.BBMSLPayment{
		{Reference: "4922", MerchantReference: "m-1", Amount: hkd(129_90), Status: status}}))
}

func (w *world) faults(list ...simulator.Fault) {
	w.t.Helper()
	for i := range list {
		list[i].Type = simulator.TypeBBMSL
		if list[i].Operation == "" {
			list[i].Operation = "refund"
		}
	}
	w.must(w.sim.SetFaults(list))
}

func hkd(cents int64) schemas.Money { return schemas.Money{Micros: cents * 10_000, Currency: "HKD"} }

// order is what a test reads of an order in an answer.
type order struct {
	ID                int64
	MerchantReference string
	Amount, NetAmount json.Number
	CreateTime        string
	Status            string
}

type answer struct {
	ResponseCode string
	Message      string
	Order        order
	Transaction  struct {
		ID           json.Number
		Type, Status string
		Amount       json.Number
	}
}

// post sends a body to a BBMSL path and returns the status and body of the answer.
func (w *world) post(ctx context.Context, path, body string) (int, string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.server.URL+"/bbmsl"+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("Content-Type", "application/json")
	response, err := w.server.Client().Do(r)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}

// prepared signs a request of merchant 700123, given without its merchantId, and returns what sends it.
func (w *world) prepared(path, members string) func() (answer, error) {
	body := sealed(`{"merchantId":"` + merchant + `",` + members + `}`)
	return func() (answer, error) {
		status, text, err := w.post(w.t.Context(), path, body)
		if err != nil {
			return answer{}, err
		}
		if status != http.StatusOK {
			return answer{}, fmt.Errorf("status %d: %s", status, text)
		}
		var a answer
		return a, json.Unmarshal([]byte(text), &a)
	}
}

func (w *world) try(path, members string) (answer, error) { return w.prepared(path, members)() }

func (w *world) ask(path, members string) answer {
	w.t.Helper()
	a, err := w.try(path, members)
	w.must(err)
	return a
}

// code sends a signed request and checks the response code of the answer.
func (w *world) code(path, members, want string) answer {
	w.t.Helper()
	a := w.ask(path, members)
	if a.ResponseCode != want {
		w.t.Fatalf("%s %s: response code %s (%s), want %s", path, members, a.ResponseCode, a.Message, want)
	}
	return a
}

// movements checks the ledger, each movement as "reference kind micros".
func (w *world) movements(want ...string) {
	w.t.Helper()
	var got []string
	for _, m := range w.sim.Ledger() {
		got = append(got, fmt.Sprintf("%s %s %d", m.Reference, m.Kind, m.Amount.Micros))
	}
	if strings.Join(got, "; ") != strings.Join(want, "; ") {
		w.t.Fatalf("ledger has %q, want %q", got, want)
	}
}

// control calls a control path.
func (w *world) control(method, path, body string) (int, string) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.server.URL+path, strings.NewReader(body))
	w.must(err)
	response, err := w.server.Client().Do(r)
	w.must(err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	w.must(err)
	return response.StatusCode, string(text)
}

// sealed is an envelope around a request, signed with the merchant's key.
func sealed(request string) string {
	sum := sha256.Sum256([]byte(request))
	signature, err := rsa.SignPKCS1v15(nil, merchantKeys().private, crypto.SHA256, sum[:])
	if err != nil {
		panic(err)
	}
	return envelope(request, base64.StdEncoding.EncodeToString(signature))
}

func envelope(request, signature string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(map[string]string{"request": request, "signature": signature}); err != nil {
		panic(err)
	}
	return b.String()
}

type keyPair struct {
	private *rsa.PrivateKey
	public  string
}

var merchantKeys = sync.OnceValue(func() keyPair {
	var vector struct {
		Merchant struct{ PrivateKeyPkcs8Pem, PublicKeyPem string }
	}
	readJSON("keys", &vector)
	block, _ := pem.Decode([]byte(vector.Merchant.PrivateKeyPkcs8Pem))
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		panic(err)
	}
	return keyPair{private: key.(*rsa.PrivateKey), public: vector.Merchant.PublicKeyPem}
})

func publicPEM(key any) string {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

var otherKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func readJSON(vector string, into any) {
	raw, err := os.ReadFile(filepath.Join("testdata", "bbmsl", vector+".json"))
	if err == nil {
		err = json.Unmarshal(raw, into)
	}
	if err != nil {
		panic(err)
	}
}

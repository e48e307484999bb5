package host

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
	jose "github.com/go-jose/go-jose/v4"

	"refundworker/providers"
	"refundworker/providers/google/seal"
	"refundworker/schemas"
)

// noon is the recorded cases' clock.
var noon = time.UnixMilli(1780315200000)

const (
	redirectAccount = "NorthQuayRedirect_EUR"
	secondAccount   = "NorthQuayRedirect_SEK"
	cardAccount     = "LanternCards_CAD"
)

var modes = []seal.Mode{seal.Plain, seal.PGP, seal.JOSE}

// party is one side's keys in both forms.
type party struct{ pgpPrivate, pgpPublic, josePrivate, josePublic string }

var parties = struct {
	sync.Mutex
	made map[string]party
}{made: map[string]party{}}

// keysOf makes a party's keys, once for each name.
func keysOf(t testing.TB, name string) party {
	t.Helper()
	parties.Lock()
	defer parties.Unlock()
	if p, ok := parties.made[name]; ok {
		return p
	}
	p := party{}
	p.pgpPrivate, p.pgpPublic = pgpKeys(t)
	p.josePrivate, p.josePublic = joseKeys(t, name)
	parties.made[name] = p
	return p
}

func pgpKeys(t testing.TB) (private, public string) {
	t.Helper()
	made := func() time.Time { return noon.AddDate(0, -1, 0) }
	e, err := openpgp.NewEntity("Test", "", "test@example.com", &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, Time: made})
	if err != nil {
		t.Fatal(err)
	}
	write := func(kind string, serialize func(io.Writer) error) string {
		var text bytes.Buffer
		w, err := armor.Encode(&text, kind, nil)
		if err := errors.Join(err, serialize(w), w.Close()); err != nil {
			t.Fatal(err)
		}
		return text.String()
	}
	return write(openpgp.PrivateKeyType, func(w io.Writer) error { return e.SerializePrivateWithoutSigning(w, nil) }),
		write(openpgp.PublicKeyType, e.Serialize)
}

func joseKeys(t testing.TB, name string) (private, public string) {
	t.Helper()
	signing, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	decrypting, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	set := func(sig, enc any) string {
		text, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
			{Key: sig, KeyID: name + "-sig", Algorithm: "ES256"}, {Key: enc, KeyID: name + "-enc", Algorithm: "RSA-OAEP-256"}}})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	return set(signing, decrypting), set(&signing.PublicKey, &decrypting.PublicKey)
}

// between is what one party holds to speak with another.
func between(t testing.TB, mode seal.Mode, us, them string) *seal.Seal {
	t.Helper()
	cfg := seal.Config{Mode: mode, Clock: func() time.Time { return noon }}
	switch mode {
	case seal.PGP:
		cfg.SigningKeys, cfg.PeerKeys = []providers.Secret{providers.Secret(keysOf(t, us).pgpPrivate)}, []string{keysOf(t, them).pgpPublic}
	case seal.JOSE:
		cfg.SigningKeys, cfg.PeerKeys = []providers.Secret{providers.Secret(keysOf(t, us).josePrivate)}, []string{keysOf(t, them).josePublic}
	}
	s, err := seal.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// inbox keeps everything in memory, by the contract of providers.Inbox.
type inbox struct {
	mu      sync.Mutex
	seen    map[string][32]byte
	notices []schemas.Notice
	refunds map[schemas.RequestID]providers.KnownRefund
	// down is what everything fails with, full what storing fails with.
	down, full error
}

func (i *inbox) Recall(_ context.Context, m providers.Message) (providers.Recollection, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.recall(m), i.down
}

func (i *inbox) recall(m providers.Message) providers.Recollection {
	content, seen := i.seen[string(m.Provider)+" "+m.Key]
	switch {
	case !seen:
		return providers.New
	case content == m.Content:
		return providers.Same
	}
	return providers.Other
}

func (i *inbox) Store(_ context.Context, m providers.Message, n schemas.Notice) (providers.Recollection, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if _, err := n.Encode(); err != nil {
		return providers.New, err
	}
	if err := errors.Join(i.down, i.full); err != nil {
		return providers.New, err
	}
	seen := i.recall(m)
	if seen == providers.New {
		i.seen[string(m.Provider)+" "+m.Key] = m.Content
		i.notices = append(i.notices, n)
	}
	return seen, nil
}

func (i *inbox) Refund(_ context.Context, id schemas.RequestID) (providers.KnownRefund, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.refunds[id], i.down
}

func (i *inbox) Hurry(context.Context, schemas.ProviderName, schemas.RequestID) error { return nil }

// edge is a handler with an inbox and the integrators that know it.
type edge struct {
	t       testing.TB
	handler *Handler
	inbox   *inbox
	mode    seal.Mode
	now     time.Time
	told    []string
	seals   map[string]*seal.Seal
}

func newEdge(t testing.TB, mode seal.Mode) *edge {
	t.Helper()
	e := &edge{t: t, mode: mode, now: noon, seals: map[string]*seal.Seal{},
		inbox: &inbox{seen: map[string][32]byte{}, refunds: map[schemas.RequestID]providers.KnownRefund{}}}
	cfg := Config{Inbox: e.inbox, Clock: func() time.Time { return e.now }, Log: slog.New(slog.DiscardHandler),
		Observe: func(method, result string) {
			if !slices.Contains(Results, result) {
				t.Errorf("%s: result %q is not listed", method, result)
			}
			e.told = append(e.told, result)
		}}
	for id, api := range map[string]string{redirectAccount: RedirectFOP, secondAccount: RedirectFOP, cardAccount: CardFOP} {
		cfg.Accounts = append(cfg.Accounts, Account{Provider: instanceOf(id), API: api, ID: id, Seal: between(t, mode, "edge", id)})
		e.seals[id] = between(t, mode, id, "edge")
	}
	h, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	e.handler = h
	return e
}

func instanceOf(account string) schemas.ProviderName {
	return map[string]schemas.ProviderName{redirectAccount: "redirect-eur", secondAccount: "redirect-sek", cardAccount: "card-cad"}[account]
}

// request is a message on its way, before anything is wrong with it.
type request struct {
	path, contentType string
	body              []byte
	from              string
}

func (e *edge) do(r request) *httptest.ResponseRecorder {
	e.t.Helper()
	req := httptest.NewRequest(http.MethodPost, r.path, bytes.NewReader(r.body))
	req.Header.Set("Content-Type", r.contentType)
	if r.from != "" {
		req.RemoteAddr = r.from
	}
	w := httptest.NewRecorder()
	e.handler.ServeHTTP(w, req)
	return w
}

// sealed is a document as an account sends it.
func (e *edge) sealed(path, account, document string) request {
	e.t.Helper()
	message, err := e.seals[account].Seal([]byte(document))
	if err != nil {
		e.t.Fatal(err)
	}
	return request{path: path + "/" + account, contentType: e.seals[account].ContentType(), body: message}
}

// send sends a document and opens the answer; an empty one stays empty.
func (e *edge) send(path, account, document string) (int, string) {
	e.t.Helper()
	w := e.do(e.sealed(path, account, document))
	if w.Body.Len() == 0 {
		return w.Code, ""
	}
	if got := w.Header().Get("Content-Type"); got != e.seals[account].ContentType() {
		e.t.Errorf("content type: got %q", got)
	}
	answer, err := e.seals[account].Open(w.Body.Bytes())
	if err != nil {
		e.t.Fatalf("open the answer: %v", err)
	}
	return w.Code, string(answer)
}

const (
	redirectResult = "/gsp/redirect-fop-v1/refundResultNotification"
	redirectEcho   = "/gsp/redirect-fop-v1/echo"
	cardResult     = "/secure-serving/gsp/google-card-fop-api/v1/refundResultNotification"
	cardReversal   = "/secure-serving/gsp/google-card-fop-api/v1/reverseRefundNotification"
	cardEcho       = "/secure-serving/gsp/google-card-fop-api/v1/echo"
)

// flatHeader begins a document of the card API.
func flatHeader(id string, at time.Time) string {
	return fmt.Sprintf(`{"requestHeader":{"protocolVersion":{"major":1,"minor":0,"revision":0},"requestId":%q,`+
		`"requestTimestamp":"%d"},"paymentIntegratorAccountId":%q`, id, at.UnixMilli(), cardAccount)
}

func cardResultDocument(id string, at time.Time, result string) string {
	return flatHeader(id, at) + fmt.Sprintf(`,"refundRequestId":"crf_55-B7","paymentIntegratorRefundId":"their-9","refundResult":%q}`, result)
}

func reversalDocument(id string, at time.Time, micros string) string {
	return flatHeader(id, at) + fmt.Sprintf(`,"refundRequestId":"crf_55-B7","amount":%q,"rawResult":{"scope":"VISA","rawCode":"62"}}`, micros)
}

func redirectResultDocument(account, id string, at time.Time) string {
	return fmt.Sprintf(`{"requestHeader":{"protocolVersion":{"major":1},"requestId":%q,"requestTimestamp":{"epochMillis":"%d"},`+
		`"paymentIntegratorAccountId":%q},"refundRequestId":"rfd-1","result":{"success":{}}}`, id, at.UnixMilli(), account)
}

// refunded is a refund of 64.99 that succeeded and of which so much came back.
func refunded(reversedMicros int64) providers.KnownRefund {
	return providers.KnownRefund{Known: true, Outcome: schemas.KindSucceeded,
		Amount: schemas.Money{Micros: 64_990_000, Currency: "CAD"}, Reversed: schemas.Money{Micros: reversedMicros, Currency: "CAD"}}
}

func has(t testing.TB, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("got %q, want it to have %q", text, part)
		}
	}
}

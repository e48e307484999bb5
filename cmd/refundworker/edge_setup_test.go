package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"refundworker/providers"
	"refundworker/schemas"
)

// memory is an inbox by the contract of providers.Inbox that keeps everything in memory.
type memory struct {
	mu       sync.Mutex
	accepted map[string][32]byte
	notices  []schemas.Notice
	refunds  map[schemas.RequestID]providers.KnownRefund
	hurried  []schemas.RequestID
	down     error
}

func newMemory() *memory {
	return &memory{accepted: map[string][32]byte{}, refunds: map[schemas.RequestID]providers.KnownRefund{}}
}

func (m *memory) Recall(_ context.Context, msg providers.Message) (providers.Recollection, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.recall(msg), m.down
}

func (m *memory) recall(msg providers.Message) providers.Recollection {
	content, seen := m.accepted[string(msg.Provider)+" "+msg.Key]
	switch {
	case !seen:
		return providers.New
	case content == msg.Content:
		return providers.Same
	}
	return providers.Other
}

func (m *memory) Store(_ context.Context, msg providers.Message, n schemas.Notice) (providers.Recollection, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	seen := m.recall(msg)
	if seen == providers.New && m.down == nil {
		m.accepted[string(msg.Provider)+" "+msg.Key] = msg.Content
		m.notices = append(m.notices, n)
	}
	return seen, m.down
}

func (m *memory) Refund(_ context.Context, id schemas.RequestID) (providers.KnownRefund, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.refunds[id], m.down
}

func (m *memory) Hurry(_ context.Context, _ schemas.ProviderName, id schemas.RequestID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hurried = append(m.hurried, id)
	return m.down
}

func (m *memory) setDown(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = err
}

// openTestEdge opens the edge of three integrators and a Craftgate merchant. A certificate makes it speak TLS.
func openTestEdge(t *testing.T, cert *tls.Certificate) *testEdge {
	t.Helper()
	craftgate := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, `{"data":{"id":%s,"conversationId":"ord-%[1]s"}}`, path.Base(r.URL.Path))
	}))
	t.Cleanup(craftgate.Close)
	const google = `{"name":%q,"type":%q,%q:{"baseURL":"http://127.0.0.1:1","account":%q,"seal":{"mode":"plain"}}},`
	s, problems := load(t, `{"edge":{"listen":"127.0.0.1:0"},"providers":[`+
		fmt.Sprintf(google, "redirect-eur", "redirectfop", "redirectfop", "North_EUR")+
		fmt.Sprintf(google, "redirect-sek", "redirectfop", "redirectfop", "North_SEK")+
		fmt.Sprintf(google, "card-cad", "cardfop", "cardfop", "Lantern_CAD")+
		`{"name":"craftgate-tr","type":"craftgate","craftgate":{"baseURL":"`+craftgate.URL+
		`","apiKey":"${KEY}","secretKey":"${KEY}","webhookKey":"${KEY}"}}]}`, map[string]string{"KEY": "hook-key"}, overrides{})
	if len(problems) > 0 {
		t.Fatalf("settings: %q", problems)
	}
	e := &testEdge{t: t, inbox: newMemory(), base: "http://"}
	if cert != nil {
		s.edge.tls, e.base = &tls.Config{Certificates: []tls.Certificate{*cert}}, "https://"
	}
	telemetry, err := startTelemetry(t.Context(), func(string) string { return "" }, io.Discard, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(telemetry.stop)
	e.telemetry = telemetry
	if e.edge, err = openEdge(s, e.inbox, telemetry); err != nil || e.edge == nil {
		t.Fatalf("open the edge: got %v, %v", e.edge, err)
	}
	t.Cleanup(e.edge.close)
	e.base += e.edge.address
	e.client = &http.Client{Transport: &http.Transport{}, Timeout: 5 * time.Minute}
	t.Cleanup(e.client.CloseIdleConnections)
	return e
}

// testEdge is an edge and the client that speaks to it.
type testEdge struct {
	t         *testing.T
	edge      *edge
	inbox     *memory
	telemetry *telemetry
	client    *http.Client
	base      string
}

// post returns the status and the body of an answer.
func (e *testEdge) post(to, body string, header http.Header) (int, string) {
	e.t.Helper()
	r, err := http.NewRequestWithContext(e.t.Context(), http.MethodPost, e.base+to, strings.NewReader(body))
	if err != nil {
		e.t.Fatal(err)
	}
	r.Header = header.Clone()
	resp, err := e.client.Do(r)
	if err != nil {
		e.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		e.t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

var sentAsJSON = http.Header{"Content-Type": {"application/json; charset=utf-8"}}

// message is a document for one of Google's methods, and its path.
type message struct{ path, body string }

func (e *testEdge) report(m message) int {
	e.t.Helper()
	code, _ := e.post(m.path, m.body, sentAsJSON)
	return code
}

const (
	redirectPath = "/gsp/redirect-fop-v1/"
	cardPath     = "/secure-serving/gsp/google-card-fop-api/v1/"
)

func redirectResult(account, id string) message {
	return message{redirectPath + "refundResultNotification/" + account, redirectHeader(account, id) + `,"refundRequestId":"rfd-1","result":{"success":{}}}`}
}

func redirectEcho(account, id string) message {
	return message{redirectPath + "echo/" + account, redirectHeader(account, id) + `,"clientMessage":"x"}`}
}

func redirectHeader(account, id string) string {
	return fmt.Sprintf(`{"requestHeader":{"protocolVersion":{"major":1},"requestId":%q,"requestTimestamp":{"epochMillis":"%d"},`+
		`"paymentIntegratorAccountId":%q}`, id, time.Now().UnixMilli(), account)
}

func card(method, id, rest string) message {
	return message{cardPath + method + "/Lantern_CAD", fmt.Sprintf(`{"requestHeader":{"protocolVersion":{"major":1,"minor":0,"revision":0},`+
		`"requestId":%q,"requestTimestamp":"%d"},"paymentIntegratorAccountId":"Lantern_CAD",%s}`, id, time.Now().UnixMilli(), rest)}
}

// signedWebhook is Craftgate's event of a refund, and its signature by the key of the settings.
func signedWebhook(refund string) (body string, header http.Header) {
	at := strconv.FormatInt(time.Now().Unix(), 10)
	mac := hmac.New(sha256.New, []byte("hook-key"))
	mac.Write([]byte("REFUND" + at + "SUCCESS" + refund))
	return `{"eventType":"REFUND","eventTimestamp":` + at + `,"status":"SUCCESS","payloadId":"` + refund + `"}`,
		http.Header{"X-Cg-Signature-V1": {base64.StdEncoding.EncodeToString(mac.Sum(nil))}}
}

// edgeCertificate is one that this test's client trusts.
func edgeCertificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	return server.TLS.Certificates[0], pool
}

// counted is how many requests the metrics tell, by method and result.
func (e *testEdge) counted() map[string]float64 {
	e.t.Helper()
	families, err := e.telemetry.registry.Gather()
	if err != nil {
		e.t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		if f.GetName() != "refund_edge_requests_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			got[labels["method"]+" "+labels["result"]] = m.GetCounter().GetValue()
		}
	}
	return got
}

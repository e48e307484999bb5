package main

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"refundworker/providers"
	"refundworker/schemas"
)

// Every method that the edge hosts is there, by plain HTTP and by TLS, and each report ends where it belongs.
func TestEdgeServesBothAPIsAndWebhooks(t *testing.T) {
	cert, trust := edgeCertificate(t)
	for name, cert := range map[string]*tls.Certificate{"plain": nil, "tls": &cert} {
		t.Run(name, func(t *testing.T) {
			e := openTestEdge(t, cert)
			e.client.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trust, ServerName: "example.com"}}
			e.inbox.refunds["crf-1"] = providers.KnownRefund{Known: true, Outcome: schemas.KindSucceeded,
				Amount: schemas.Money{Micros: 5_000_000, Currency: "CAD"}, Reversed: schemas.Money{Currency: "CAD"}}
			for _, m := range []message{redirectResult("North_EUR", "n-1"), redirectResult("North_SEK", "n-1"), redirectEcho("North_EUR", "e-1"),
				card("refundResultNotification", "n-1", `"refundRequestId":"crf-1","refundResult":"SUCCESS"`),
				card("reverseRefundNotification", "v-1", `"refundRequestId":"crf-1","amount":"5000000","rawResult":{"scope":"VISA","rawCode":"62"}`),
				card("echo", "e-1", `"clientMessage":"x"`)} {
				if got := e.report(m); got != http.StatusOK {
					t.Errorf("%s: got %d, want 200", m.path, got)
				}
			}
			body, header := signedWebhook("4401")
			if got, _ := e.post("/webhooks/craftgate/craftgate-tr", body, header); got != http.StatusOK {
				t.Errorf("webhook: got %d, want 200", got)
			}
			var notices []string
			for _, n := range e.inbox.notices {
				notices = append(notices, fmt.Sprintf("%s %s %s", n.Provider, n.Type, n.RefundRequestID))
			}
			want := []string{"redirect-eur result rfd-1", "redirect-sek result rfd-1", "card-cad result crf-1", "card-cad reversal crf-1"}
			if !slices.Equal(notices, want) || !slices.Equal(e.inbox.hurried, []schemas.RequestID{"ord-4401"}) {
				t.Errorf("got notices %q, hurried %q; want %q and ord-4401", notices, e.inbox.hurried, want)
			}
		})
	}
}

// An account's path takes only what that account says of itself, and only by its own API.
func TestEdgeTakesNoReportForAnotherInstance(t *testing.T) {
	e := openTestEdge(t, nil)
	eur := redirectResult("North_EUR", "n-1")
	for name, m := range map[string]message{
		"another account of the API":   {redirectResult("North_SEK", "n-1").path, eur.body},
		"an account of the other API":  {redirectPath + "refundResultNotification/Lantern_CAD", eur.body},
		"the other API's path":         {cardPath + "refundResultNotification/North_EUR", eur.body},
		"an account that is not there": {redirectPath + "refundResultNotification/Nobody", eur.body},
	} {
		if code, body := e.post(m.path, m.body, sentAsJSON); code != http.StatusNotFound || body != "" {
			t.Errorf("%s: got %d %q, want an empty 404", name, code, body)
		}
	}
	if len(e.inbox.notices) > 0 {
		t.Errorf("got notices %v", e.inbox.notices)
	}
}

// What is larger than any report is refused before it is held.
func TestEdgeBoundsBodiesAndHeaders(t *testing.T) {
	e := openTestEdge(t, nil)
	m := redirectResult("North_EUR", "n-1")
	if code, _ := e.post(m.path, strings.Repeat(" ", 256<<10+1), sentAsJSON); code != http.StatusRequestEntityTooLarge {
		t.Errorf("a body above 256 KiB: got %d, want 413", code)
	}
	// net/http adds 4 KiB of its own to the limit.
	if code, _ := e.post(m.path, m.body, http.Header{"X-Long": {strings.Repeat("x", 24<<10)}}); code != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("24 KiB of headers: got %d, want 431", code)
	}
	if code, _ := e.post("/webhooks/craftgate/craftgate-tr", strings.Repeat(" ", 64<<10+1), nil); code != http.StatusUnauthorized {
		t.Errorf("a webhook above 64 KiB: got %d, want 401", code)
	}
}

// A source has 30 tries in all, whatever it knocks at.
func TestEdgeBarsStrangers(t *testing.T) {
	e := openTestEdge(t, nil)
	bad := message{redirectPath + "echo/Nobody", "garbage"}
	codes := make([]int, 30)
	var all sync.WaitGroup
	for i := range codes {
		all.Go(func() { codes[i] = e.report(bad) })
	}
	all.Wait()
	if slices.ContainsFunc(codes, func(code int) bool { return code != http.StatusNotFound }) {
		t.Fatalf("the first 30: got %v, want 404 each", codes)
	}
	// A busy machine may take so long that the source has earned another try.
	last := 0
	for range 20 {
		if last = e.report(bad); last == http.StatusTooManyRequests {
			break
		}
	}
	body, header := signedWebhook("4401")
	webhook, _ := e.post("/webhooks/craftgate/craftgate-tr", body, header)
	report := e.report(redirectResult("North_EUR", "n-1"))
	if got := e.counted()["webhook barred"]; got != 1 {
		t.Errorf("%v webhooks are counted as barred, want 1", got)
	}
	if last != http.StatusTooManyRequests || webhook != http.StatusTooManyRequests || report != http.StatusTooManyRequests {
		t.Errorf("after 30: got %d, a webhook %d, a report %d, want 429", last, webhook, report)
	}
}

// An integrator behind the same address as the strangers goes on being heard.
func TestEdgeHearsVerifiedSendersBesideStrangers(t *testing.T) {
	e := openTestEdge(t, nil)
	if got := e.report(redirectEcho("North_EUR", "e-1")); got != http.StatusOK {
		t.Fatalf("before: got %d", got)
	}
	var all sync.WaitGroup
	for range 60 {
		all.Go(func() { e.report(message{redirectPath + "echo/Nobody", "garbage"}) })
	}
	all.Wait()
	if got := e.report(redirectResult("North_EUR", "n-1")); got != http.StatusOK || len(e.inbox.notices) != 1 {
		t.Errorf("after 60 strangers: got %d and %d notices, want 200 and one", got, len(e.inbox.notices))
	}
}

// Old versions and ciphers without forward secrecy are refused in the handshake.
func TestEdgeSpeaksModernTLSOnly(t *testing.T) {
	cert, trust := edgeCertificate(t)
	e := openTestEdge(t, &cert)
	address := strings.TrimPrefix(e.base, "https://")
	tests := []struct {
		name     string
		from, to uint16
		ciphers  []uint16
		want     bool
	}{
		{"1.3", tls.VersionTLS13, tls.VersionTLS13, nil, true},
		{"1.2", tls.VersionTLS12, tls.VersionTLS12, nil, true},
		{"1.2 without AEAD", tls.VersionTLS12, tls.VersionTLS12, []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA}, false},
		{"1.2 without forward secrecy", tls.VersionTLS12, tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}, false},
		{"1.1", tls.VersionTLS10, tls.VersionTLS11, nil, false},
		{"1.0", tls.VersionTLS10, tls.VersionTLS10, nil, false},
	}
	for _, tt := range tests {
		conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: trust, ServerName: "example.com", MinVersion: tt.from, MaxVersion: tt.to,
			CipherSuites: tt.ciphers})
		if (err == nil) != tt.want {
			t.Errorf("%s: got %v, want a connection: %t", tt.name, err, tt.want)
		}
		if err == nil {
			_ = conn.Close()
		}
	}
	plain := &testEdge{t: t, client: e.client, base: "http://" + address}
	if got := plain.report(redirectEcho("North_EUR", "e-1")); got != http.StatusBadRequest {
		t.Errorf("plain HTTP: got %d, want 400", got)
	}
}

// What becomes of webhooks is counted beside what becomes of Google's methods.
func TestEdgeCountsEveryRequest(t *testing.T) {
	e := openTestEdge(t, nil)
	body, header := signedWebhook("4401")
	const path = "/webhooks/craftgate/craftgate-tr"
	e.post(path, body, header)
	e.post(path, body, nil)
	e.inbox.setDown(errors.New("down"))
	body, header = signedWebhook("4402")
	e.post(path, body, header)
	e.inbox.setDown(nil)
	resp, err := e.client.Get(e.base + path)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	e.report(redirectEcho("North_EUR", "e-1"))
	want := map[string]float64{"webhook accepted": 1, "webhook unverified": 1, "webhook unavailable": 1,
		"webhook unreadable": 1, "echo accepted": 1}
	if got := e.counted(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// A worker whose providers do not report opens no second door.
func TestEdgeIsNotOpenedForNobody(t *testing.T) {
	s, problems := load(t, scriptedSettings, nil, overrides{})
	if len(problems) > 0 {
		t.Fatalf("settings: %q", problems)
	}
	if e, err := openEdge(s, newMemory(), nil); e != nil || err != nil {
		t.Errorf("got %v, %v, want neither", e, err)
	}
}

// Who closes the edge waits for the watch over its keys.
func TestEdgeEndsItsWatchWhenItIsClosed(t *testing.T) {
	e := openTestEdge(t, nil)
	watching := func() bool {
		stacks := make([]byte, 4<<20)
		return bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte(".keyWatch.run("))
	}
	for end := time.Now().Add(30 * time.Second); !watching(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("nobody watches the keys")
		}
	}
	e.edge.close()
	if watching() {
		t.Error("the keys are still watched")
	}
	if _, err := e.client.Get(e.base); err == nil {
		t.Error("the edge still answers")
	}
}

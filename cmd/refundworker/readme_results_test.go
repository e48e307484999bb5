package main

import (
	"cmp"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/metric/noop"

	"refundworker/consumer/stream"
	"refundworker/providers"
	"refundworker/providers/bbmsl"
	"refundworker/providers/craftgate"
	"refundworker/providers/google/fop"
	"refundworker/providers/google/host"
	"refundworker/providers/google/wire"
	"refundworker/schemas"
)

// typeOf is the type of provider whose documents have a family's form.
func typeOf(f wire.Family) string {
	if f == wire.Flat {
		return string(fop.CardFOP)
	}
	return string(fop.RedirectFOP)
}

func TestReadmeGoogleResults(t *testing.T) {
	want := newReadmeTable("type", "result", "becomes", "may a new requestId succeed?")
	for _, row := range wire.Results {
		again := "–"
		if row.Kind == schemas.KindFailed {
			again = yesNo(row.Reason.ReissueAllowed())
		}
		want.row(code(typeOf(row.Family)), code(row.Name), outcomeText(row.Kind, row.Reason), again)
	}
	want.inREADME(t)
}

// Back again: each of our outcomes in Google's words, with a number for what the words leave out.
func TestReadmeGoogleReports(t *testing.T) {
	want := newReadmeTable("outcome", code(fop.RedirectFOP), code(fop.CardFOP))
	var losses []string
	for _, row := range wire.Reports {
		if row.Family == wire.Object {
			want.row(outcomeText(row.Kind, row.Reason), reportCell(t, row, &losses), reportCell(t, reportOf(t, wire.Flat, row), &losses))
		}
	}
	want.inREADME(t)
	for i, loss := range losses {
		readmeSays(t, fmt.Sprintf("(%d) %s", i+1, loss))
	}
}

// reportOf is how a family tells the outcome that another tells in a row.
func reportOf(t *testing.T, f wire.Family, of wire.Report) wire.Report {
	t.Helper()
	i := slices.IndexFunc(wire.Reports, func(r wire.Report) bool {
		return r.Family == f && r.Kind == of.Kind && r.Reason == of.Reason
	})
	if i < 0 {
		t.Fatalf("the %s family has no word for %s %s", f, of.Kind, of.Reason)
	}
	return wire.Reports[i]
}

func reportCell(t *testing.T, r wire.Report, losses *[]string) string {
	t.Helper()
	if r.Lossless != (r.Remark == "") {
		t.Errorf("%s %s %s is lossless: %t, and the remark is %q", r.Family, r.Kind, r.Reason, r.Lossless, r.Remark)
	}
	if r.Lossless {
		return code(r.Name)
	}
	if !slices.Contains(*losses, r.Remark) {
		*losses = append(*losses, r.Remark)
	}
	return fmt.Sprintf("%s (%d)", code(r.Name), slices.Index(*losses, r.Remark)+1)
}

// A refusal says a code, or by its status alone that it says none.
func TestReadmeGoogleRefusals(t *testing.T) {
	want := newReadmeTable("code", "HTTP", "about", "becomes", "because")
	told := map[wire.Code]bool{}
	for _, row := range fop.Answers {
		told[row.Code] = true
		name, status := "none", row.HTTP
		if row.Code != "" {
			name, status = code(row.Code), row.Code.HTTP()
		}
		want.row(name, strconv.Itoa(status), cmp.Or(string(row.Case), "–"), answerText(row), row.Why)
	}
	want.row("any other", "any other", "–", kindText(providers.Unknown), "nobody documented it")
	want.inREADME(t)
	for _, row := range wire.Codes {
		if !told[row.Code] {
			t.Errorf("nothing says what becomes of %s", row.Code)
		}
	}
}

func answerText(row fop.Answer) string {
	if row.Status != providers.NoResult {
		return resultText(providers.Result{Status: row.Status, Reason: row.Reason})
	}
	return kindText(row.Kind)
}

// kindText is what becomes of a call that has no answer.
func kindText(k providers.Kind) string {
	switch k {
	case providers.Unavailable, providers.RateLimited:
		return "tried again"
	case providers.Unauthorized:
		return "the account rests"
	case providers.Invalid:
		return "`failed(declined)`"
	case providers.Unknown:
	}
	return "in doubt"
}

// The codes with which the edge refuses, in both families' spelling.
func TestReadmeGoogleCodes(t *testing.T) {
	want := newReadmeTable("code (`cardfop`)", "member (`redirectfop`)", "HTTP", "says that")
	for _, row := range wire.Codes {
		want.row(code(row.Code), code(row.Member), strconv.Itoa(row.HTTP), row.Use)
	}
	want.inREADME(t)
}

func TestReadmeEdgeResults(t *testing.T) {
	readmeSays(t, "`"+strings.Join(host.Results, " ")+"`")
}

func TestReadmeCraftgateGroups(t *testing.T) {
	want := newReadmeTable("error group", "becomes")
	for _, g := range craftgate.Groups() {
		want.row(code(g.Name), groupText(g))
	}
	want.row("any other", groupText(craftgate.Group{}))
	want.inREADME(t)
}

func groupText(g craftgate.Group) string {
	switch g.Class {
	case craftgate.Final:
		return outcomeText(schemas.KindFailed, g.Reason)
	case craftgate.Later:
		return outcomeText(schemas.KindDeferred, g.Reason)
	case craftgate.LookFirst:
		return "looked up at once: ours, a final no, or in doubt"
	case craftgate.Running, craftgate.InDoubt:
	}
	return "in doubt"
}

func TestReadmeBBMSLTransactions(t *testing.T) {
	want := newReadmeTable("call", "transaction status", "means")
	for _, row := range bbmsl.Transactions() {
		want.row(code(row.Operation), code(row.Status), row.Meaning)
	}
	want.inREADME(t)
}

// The paths of the README are served: whoever speaks no protocol there is refused as a stranger, not as lost.
func TestReadmeEdgePaths(t *testing.T) {
	s := readmeSettings(t)
	for _, row := range []struct{ path, in string }{
		{"/gsp/redirect-fop-v1/refundResultNotification/{account}", "piaid-wallet"},
		{"/gsp/redirect-fop-v1/echo/{account}", "piaid-wallet"},
		{"/secure-serving/gsp/google-card-fop-api/v1/refundResultNotification/{account}", "piaid-cards"},
		{"/secure-serving/gsp/google-card-fop-api/v1/reverseRefundNotification/{account}", "piaid-cards"},
		{"/secure-serving/gsp/google-card-fop-api/v1/echo/{account}", "piaid-cards"},
		{"/webhooks/craftgate/{provider}", "craftgate-tr"},
	} {
		readmeSays(t, code(row.path))
		path := row.path[:strings.Index(row.path, "{")] + row.in
		if got := edgeMethodAllowed(t, s, path); got != http.MethodPost {
			t.Errorf("%s allows %q, want POST", path, got)
		}
	}
	if got := edgeMethodAllowed(t, s, "/webhooks/craftgate/bbmsl-hk"); got != "" {
		t.Errorf("the webhook of a provider without any allows %s", got)
	}
	readmeSays(t, fmt.Sprintf("`%s`", defaultEdgeListen))
}

// edgeMethodAllowed is what an edge says that a path may be called with; empty where nothing is served.
func edgeMethodAllowed(t *testing.T, s *settings, path string) string {
	t.Helper()
	handler, err := edgeHandler(s.reports, &stream.Inbox{}, &telemetry{log: slog.New(slog.DiscardHandler), meters: noop.NewMeterProvider()})
	if err != nil {
		t.Fatal(err)
	}
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	return answer.Header().Get("Allow")
}

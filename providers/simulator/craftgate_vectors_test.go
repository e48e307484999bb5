package simulator_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"refundworker/providers/simulator"
)

// The URL in the vectors is the one of the real service; the simulator sees it when it stands behind a proxy
// that adds its prefix.
func TestCraftgateSignatureVectors(t *testing.T) {
	var vectors struct {
		Cases []struct{ Name, Method, URL, APIKey, SecretKey, RndKey, Body, ExpectedSignature string }
	}
	readCraftgate(t, "request-signature", &vectors)
	if len(vectors.Cases) != 8 {
		t.Fatalf("got %d vectors, want 8", len(vectors.Cases))
	}
	for _, v := range vectors.Cases {
		for _, change := range []string{"", "signature", "body", "random", "host", "query"} {
			t.Run(v.Name+" "+change, func(t *testing.T) {
				s := startShop(t)
				r := vectorRequest(t, v.Method, v.URL, v.Body)
				r.Header.Set("x-api-key", v.APIKey)
				r.Header.Set("x-rnd-key", v.RndKey)
				r.Header.Set("x-auth-version", "V1")
				r.Header.Set("x-signature", v.ExpectedSignature)
				switch change {
				case "signature":
					r.Header.Set("x-signature", strings.ToLower(v.ExpectedSignature))
				case "body":
					r.Body = http.NoBody
					if v.Body == "" {
						r = withBody(r, "{}")
					}
				case "random":
					r.Header.Set("x-rnd-key", v.RndKey+"0")
				case "host":
					r.Host = "example.com"
				case "query":
					r.RequestURI += "&page=1"
				}
				answer := httptest.NewRecorder()
				s.sim.ServeHTTP(answer, r)
				unequal := strings.Contains(answer.Body.String(), "Signature is not equal!")
				if unequal != (change != "") || unequal != (answer.Code == http.StatusUnauthorized) {
					t.Errorf("answer %d %s", answer.Code, answer.Body)
				}
			})
		}
	}
}

func vectorRequest(t *testing.T, method, address, body string) *http.Request {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(method, address, strings.NewReader(body))
	r.RequestURI = u.RequestURI()
	r.URL.Path = "/craftgate" + r.URL.Path
	return r
}

func withBody(r *http.Request, body string) *http.Request {
	changed := httptest.NewRequest(r.Method, r.URL.String(), strings.NewReader(body))
	changed.Header, changed.Host, changed.RequestURI, changed.TLS = r.Header, r.Host, r.RequestURI, r.TLS
	return changed
}

// Each recorded answer is given to its own request, with the payment in the state that it needs: the same
// members, and the same kind of value in each. What the vectors leave to the reader is free: a refundable
// price is a string or a number, and a report of a refund inside a payment's is printed shortened.
func TestCraftgateAnswersHaveTheDocumentedShape(t *testing.T) {
	sameDay := with(twoItems(), func(p *simulator.CraftgatePayment) { p.SameDay = true })
	for vector, row := range map[string]struct {
		listed simulator.CraftgatePayment
		before string
	}{
		"refund-payment-cancel-ok":           {sameDay, ""},
		"refund-payment-refund-ok":           {twoItems(), ""},
		"refund-payment-refund-mixed":        {behaving("MIXED"), ""},
		"refund-transaction-ok":              {twoItems(), ""},
		"refund-transaction-waiting":         {behaving("WAITING"), ""},
		"refund-transaction-failure-200":     {behaving("FAILURE"), ""},
		"error-payment-not-found-for-refund": {behaving("PAYMENT_NOT_FOUND_FOR_REFUND"), ""},
		"error-requires-day-end":             {behaving("REQUIRES_DAY_END"), ""},
		"error-too-many-requests":            {behaving("TOO_MANY_REQUESTS"), ""},
		"error-validation":                   {simulator.CraftgatePayment{Reference: "5", Amount: lira(1)}, ""},
		"lookup-empty":                       {twoItems(), ""},
		"lookup-found-failure":               {behaving("POS_BALANCE_NOT_SUFFICIENT"), "refund-transaction-ok"},
		"lookup-found-success":               {twoItems(), "refund-transaction-ok"},
		"lookup-payment-fully-refunded":      {sameDay, "refund-payment-cancel-ok"},
		"lookup-payment-not-refunded":        {twoItems(), ""},
	} {
		t.Run(vector, func(t *testing.T) {
			s := startShop(t, row.listed)
			if row.before != "" {
				s.sendVector(row.before)
			}
			got := s.sendVector(vector)
			if got.status != got.wantedStatus {
				t.Errorf("status %d, want %d", got.status, got.wantedStatus)
			}
			sameKinds(t, "", got.body, got.wanted)
		})
	}
}

// vectorAnswer is what a vector's request was answered, and what it says.
type vectorAnswer struct {
	status, wantedStatus int
	body, wanted         any
}

func (s *shop) sendVector(name string) vectorAnswer {
	s.t.Helper()
	var v struct {
		Request struct {
			Method, Path string
			Body         json.RawMessage
		}
		Response struct {
			HTTPStatus int
			Body       any
		}
	}
	readCraftgate(s.t, name, &v)
	status, text, err := s.send(s.request(v.Request.Method, v.Request.Path, string(v.Request.Body)))
	s.must(err)
	var got any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	s.must(d.Decode(&got))
	return vectorAnswer{status, v.Response.HTTPStatus, got, v.Response.Body}
}

// sameKinds compares two answers: the same members everywhere, each of the same kind.
func sameKinds(t *testing.T, at string, got, want any) {
	t.Helper()
	switch want := want.(type) {
	case map[string]any:
		members, _ := got.(map[string]any)
		if strings.HasPrefix(at, "/data/refunds/") {
			maps.DeleteFunc(members, func(name string, _ any) bool { return want[name] == nil })
		}
		if g, w := slices.Sorted(maps.Keys(members)), slices.Sorted(maps.Keys(want)); !slices.Equal(g, w) {
			t.Errorf("%s has members %v, want %v", at, g, w)
		}
		for name, value := range want {
			sameKinds(t, at+"/"+name, members[name], value)
		}
	case []any:
		list, _ := got.([]any)
		if len(list) != len(want) {
			t.Fatalf("%s has %d elements, want %d", at, len(list), len(want))
		}
		for i, value := range want {
			sameKinds(t, fmt.Sprintf("%s/%d", at, i), list[i], value)
		}
	case string:
		// Statuses, types and groups are the words that a caller acts on.
		if at[strings.LastIndex(at, "/")+1:] != "errorDescription" && strings.ToUpper(want) == want && got != any(want) && !strings.ContainsAny(want, "0123456789") {
			t.Errorf("%s is %v, want %s", at, got, want)
		}
	default:
		if at != "/data/refundablePrice" && fmt.Sprintf("%T", got) != fmt.Sprintf("%T", want) {
			t.Errorf("%s is %v, want something like %v", at, got, want)
		}
	}
}

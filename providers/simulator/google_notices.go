package simulator

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"refundworker/schemas"
)

// GoogleAPI is one of the two APIs by which Google asks an integrator for a refund.
type GoogleAPI string

// The two APIs.
const (
	GoogleRedirectFOP GoogleAPI = "redirectfop"
	GoogleCardFOP     GoogleAPI = "cardfop"
)

// api is the API of a family.
func (f headerFamily) api() GoogleAPI {
	if f == flatFamily {
		return GoogleCardFOP
	}
	return GoogleRedirectFOP
}

// Methods that Google hosts. The card result's path is by analogy with the reversal's.
const (
	methodResult   = "refundResultNotification"
	methodReversal = "reverseRefundNotification"

	redirectNoticePath = "/gsp/redirect-fop-v1/"
	cardNoticePath     = "/secure-serving/gsp/google-card-fop-api/v1/"
)

// overtakeLimit is how long an answer waits for the notice that is to overtake it.
const overtakeLimit = 5 * time.Second

func (n Notice) checkGoogle() (found problems) {
	if n.API != "" && n.API != GoogleRedirectFOP && n.API != GoogleCardFOP {
		found.add("/api", "must be redirectfop or cardfop")
	}
	if len(n.Reversals) > 0 && n.API != GoogleCardFOP {
		found.add("/reversals", "belong to api cardfop: the other has no such method")
	}
	if len(n.Reversals) > 0 && !n.succeeds() {
		found.add("/reversals", "need a result of success")
	}
	for i, reversal := range n.Reversals {
		at := "/reversals/" + strconv.Itoa(i)
		found.under(at, checkTiming(reversal.Delay, reversal.Repeat))
		if reversal.Amount.Micros < 0 {
			found.add(at+"/amount", "must be positive")
		}
		if reversal.RawResult.Code == "" {
			found.add(at+"/rawResult", "is missing; the protocol requires it")
		}
	}
	return found
}

// succeeds reports whether money moves under the rule.
func (n Notice) succeeds() bool { return n.Result == "" || memberName(n.Result) == resultSuccess }

// googleStory is what is reported about one refund.
type googleStory struct {
	google *Google
	refund *googleRefund
	rule   Notice
	// reported is closed when the first result was accepted or turned down.
	reported chan struct{}
}

// overtake lets the first result arrive before the call's answer, if that is wanted.
func (s *googleStory) overtake(ctx context.Context) {
	if s == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, overtakeLimit)
	defer cancel()
	select {
	case <-s.reported:
	case <-ctx.Done():
	}
}

// tell sends everything that the rule asks for, in order: each only after the one before was accepted.
func (s *googleStory) tell(ctx context.Context) {
	accepted := s.send(ctx, s.result(s.rule.Result), s.rule.Delay, s.rule.Repeat)
	close(s.reported)
	if !accepted {
		return
	}
	if s.rule.Contradict != "" {
		s.send(ctx, s.result(s.rule.Contradict), 0, 0)
	}
	left := s.refund.amount
	for _, reversal := range s.rule.Reversals {
		amount := reversal.Amount
		if amount == (schemas.Money{}) {
			amount = left
		}
		if s.send(ctx, s.reversal(amount, reversal.RawResult), reversal.Delay, reversal.Repeat) {
			left.Micros -= amount.Micros
		}
	}
}

// send delivers a notice after a delay, and then again as often as asked. It reports whether the first was
// accepted.
func (s *googleStory) send(ctx context.Context, n *googleNotice, delay time.Duration, repeat int) bool {
	if !wait(ctx, delay) || !s.google.core.notices.deliver(ctx, n) {
		return false
	}
	if n.reversed != nil {
		s.google.core.ledger.add(s.refund.movement(MovementReversal, *n.reversed, s.google.core.clock()))
	}
	for range repeat {
		s.google.core.notices.deliver(ctx, n)
	}
	return true
}

// googleNotice is one notification. Its tries differ in timestamp and seal only.
type googleNotice struct {
	google *Google
	line   SentNotice
	refund *googleRefund
	// members are those of the document that say something.
	members map[string]any
	// accepted is the result that says that the notice is on record.
	accepted string
	// reversed is what comes back when a reversal is accepted.
	reversed *schemas.Money
	// wrong says why the notice cannot be sent.
	wrong error
}

// result is a refundResultNotification.
func (s *googleStory) result(name string) *googleNotice {
	if name == "" {
		name = resultSuccess
	}
	n := s.notice(methodResult, name)
	raw := s.rule.RawResult.wire()
	n.members["paymentIntegratorRefundId"] = s.refund.id
	if s.refund.family == flatFamily {
		n.accepted = "SUCCESS"
		n.members["refundResult"] = resultOf(flatFamily, name, nil)
		if raw != nil {
			n.members["rawResult"] = raw
		}
		return n
	}
	n.accepted = "accepted"
	fields := map[string]any{}
	if raw != nil {
		fields["rawResult"] = raw
	}
	n.members["result"] = resultOf(objectFamily, name, fields)
	return n
}

// reversal is a reverseRefundNotification.
func (s *googleStory) reversal(amount schemas.Money, raw RawResult) *googleNotice {
	n := s.notice(methodReversal, amount.String())
	n.accepted = "SUCCESS"
	n.members["amount"] = strconv.FormatInt(amount.Micros, 10)
	n.members["rawResult"] = raw.wire()
	if amount.Currency != s.refund.amount.Currency {
		n.wrong = errors.New("reversal is not in the refund's currency")
	}
	n.reversed = &amount
	return n
}

func (r RawResult) wire() map[string]any {
	if r.Code == "" {
		return nil
	}
	return map[string]any{"scope": r.Scope, "rawCode": r.Code}
}

// notice starts a notification; its id is its own for good.
func (s *googleStory) notice(method, says string) *googleNotice {
	path := redirectNoticePath
	if s.refund.family == flatFamily {
		path = cardNoticePath
	}
	target := strings.TrimRight(s.rule.Target, "/") + path + method + "/" + url.PathEscape(s.refund.account)
	return &googleNotice{google: s.google, refund: s.refund,
		line: SentNotice{Type: TypeGoogle, Reference: s.refund.reference, Refund: s.refund.requestID, Method: method,
			ID: rand.Text(), Says: says, URL: target},
		members: map[string]any{"refundRequestId": s.refund.requestID}}
}

func (n *googleNotice) about() SentNotice { return n.line }

func (n *googleNotice) request(now time.Time) (*http.Request, error) {
	if n.wrong != nil {
		return nil, n.wrong
	}
	seal, known := n.google.sealsNow()[n.refund.account]
	if !known {
		return nil, errors.New("account is not known any more")
	}
	body, err := seal.seal(encodeAnswer(n.document(now)))
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequest(http.MethodPost, n.line.URL, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", seal.contentType())
	return r, nil
}

func (n *googleNotice) document(now time.Time) map[string]any {
	header := map[string]any{"requestId": n.line.ID, "requestTimestamp": wireMillis(n.refund.family, now)}
	document := map[string]any{"requestHeader": header}
	if n.refund.family == flatFamily {
		header["protocolVersion"] = map[string]any{"major": googleMajor, "minor": 0, "revision": 0}
		document["paymentIntegratorAccountId"] = n.refund.account
	} else {
		header["protocolVersion"] = map[string]any{"major": googleMajor}
		header["paymentIntegratorAccountId"] = n.refund.account
	}
	for name, value := range n.members {
		document[name] = value
	}
	return document
}

// passingStatuses are answers that may be another one a moment later. After those on no list, too, something has
// to be mended first.
var passingStatuses = []int{0, http.StatusOK, http.StatusConflict, http.StatusLocked, http.StatusTooManyRequests}

func (n *googleNotice) judge(status int, body []byte) verdict {
	switch {
	case status == http.StatusOK && n.isAccepted(body):
		return sendDone
	case status >= http.StatusInternalServerError || slices.Contains(passingStatuses, status):
		return sendAgain
	}
	return sendStop
}

// isAccepted reads an answer. Anything but the one result, rightly sealed, is as good as no answer.
func (n *googleNotice) isAccepted(body []byte) bool {
	seal, known := n.google.sealsNow()[n.refund.account]
	if !known {
		return false
	}
	raw, err := seal.open(body)
	if err != nil {
		return false
	}
	document, err := readGoogleDocument(raw)
	if err != nil {
		return false
	}
	if union, ok := document["result"].(map[string]any); ok && n.refund.family == objectFamily {
		_, accepted := union[n.accepted]
		return accepted && len(union) == 1
	}
	return document["result"] == n.accepted && n.refund.family == flatFamily
}

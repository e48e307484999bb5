package simulator

import (
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"refundworker/schemas"
)

// ResultNone is the result of a refund that is taken on and never decided.
const ResultNone = "none"

// resultSuccess is the result that a rule means when it names none.
const resultSuccess = "success"

// Notice is a rule that says what becomes of refunds and what the provider reports about them by itself. The
// first rule of a list that matches a refund decides, once and for all, when the refund is taken on. Refunds
// that no rule matches succeed and nothing is sent.
type Notice struct {
	// Type is a provider type, such as TypeGoogle.
	Type string
	// API narrows a rule for Google down to one of its APIs; empty means both.
	API GoogleAPI
	// Reference is the payment's and Refund the request's id; empty means every.
	Reference, Refund string
	// Target is the base URL that notices are sent to. Only a rule for ResultNone can do without.
	Target string
	// Result is what becomes of the refund, in either spelling of the protocol; empty means success. Money moves
	// on success, fails to move on anything else, and stays reserved on ResultNone.
	Result string
	// RawResult goes with the result where Code is set.
	RawResult RawResult
	// Before has the result sent before the call is answered, so that it overtakes the answer.
	Before bool
	// Delay is waited before the result is sent; it excludes Before.
	Delay time.Duration
	// Repeat is how often an accepted result is sent again.
	Repeat int
	// Contradict is another result, sent when the first was accepted. What became of the refund stays.
	Contradict string
	// Reversals are sent one after the other when success was accepted.
	Reversals []Reversal
}

// Reversal is a refund, or a part of it, that comes back.
type Reversal struct {
	// Amount may be above what is left, to see it refused. The zero amount means all that is left.
	Amount schemas.Money
	// Delay is waited before it is sent, and Repeat is how often it is sent again.
	Delay     time.Duration
	Repeat    int
	RawResult RawResult
}

// RawResult is what the rail said.
type RawResult struct{ Scope, Code string }

// noticeChecks are the provider types that report by themselves, with what only they ask of a rule.
var noticeChecks = map[string]func(Notice) problems{
	TypeGoogle:    Notice.checkGoogle,
	TypeCraftgate: Notice.checkCraftgate,
}

func (n Notice) check() (found problems) {
	if check, ok := noticeChecks[n.Type]; ok {
		found.under("", check(n))
	} else {
		found.add("/type", "must be one of "+strings.Join(names(noticeChecks), ", "))
	}
	base, err := url.Parse(n.Target)
	// A rule that sends nothing needs no target.
	if silent := n.Result == ResultNone && n.Target == ""; !silent && (err != nil || base.Host == "" || !slices.Contains([]string{"http", "https"}, base.Scheme) ||
		base.RawQuery != "" || base.Fragment != "" || base.User != nil) {
		found.add("/target", "must be a base URL such as http://127.0.0.1:8080")
	}
	if n.Before && n.Delay != 0 {
		found.add("/delay", "excludes before")
	}
	found.under("", checkTiming(n.Delay, n.Repeat))
	if n.Result == ResultNone && (n.Before || n.Delay != 0 || n.Repeat != 0 || n.Contradict != "") {
		found.add("/result", "is none, so there is nothing to send")
	}
	return found
}

func checkTiming(delay time.Duration, repeat int) (found problems) {
	if delay < 0 {
		found.add("/delay", "must not be negative")
	}
	if repeat < 0 {
		found.add("/repeat", "must not be negative")
	}
	return found
}

// matches reports whether the rule is about a refund.
func (n Notice) matches(about noticeSubject) bool {
	return n.Type == about.provider && (n.API == "" || n.API == about.api) &&
		(n.Reference == "" || n.Reference == about.reference) && (n.Refund == "" || n.Refund == about.refund)
}

// noticeSubject is what rules know of a refund.
type noticeSubject struct {
	provider          string
	api               GoogleAPI
	reference, refund string
}

func (s *Server) takeNotices(raw []byte) problems {
	list, found := decodeList(raw, decodeNotice)
	if len(found) > 0 {
		return found
	}
	return s.setNotices(list)
}

func (s *Server) setNotices(list []Notice) (found problems) {
	for i, n := range list {
		found.under("/"+strconv.Itoa(i), n.check())
	}
	if len(found) == 0 {
		s.core.notices.set(list)
	}
	return found
}

func decodeNotice(raw []byte) (n Notice, found problems) {
	var delay string
	var rawResult, reversals json.RawMessage
	found.object("", raw, map[string]any{"type": &n.Type, "api": &n.API, "reference": &n.Reference,
		"refund": &n.Refund, "target": &n.Target, "result": &n.Result, "rawResult": &rawResult, "before": &n.Before,
		"delay": &delay, "repeat": &n.Repeat, "contradict": &n.Contradict, "reversals": &reversals})
	n.Delay = found.duration("/delay", delay)
	n.RawResult = found.rawResult(rawResult)
	if reversals != nil {
		var wrong problems
		n.Reversals, wrong = decodeList(reversals, decodeReversal)
		found.under("/reversals", wrong)
	}
	return n, found
}

func decodeReversal(raw []byte) (r Reversal, found problems) {
	var delay string
	var amount, rawResult json.RawMessage
	found.object("", raw, map[string]any{"amount": &amount, "delay": &delay, "repeat": &r.Repeat, "rawResult": &rawResult})
	switch {
	case amount == nil:
		found.add("/amount", `must be an amount or "all"`)
	case string(amount) != `"all"`:
		found.under("/amount", decode(amount, &r.Amount))
		// A zero that was written out would mean all.
		if len(found) == 0 && r.Amount.Micros == 0 {
			found.add("/amount", "must be positive")
		}
	}
	r.Delay = found.duration("/delay", delay)
	r.RawResult = found.rawResult(rawResult)
	return r, found
}

// duration reads a duration; empty text is none.
func (p *problems) duration(at, text string) time.Duration {
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		p.add(at, "must be a duration such as 1500ms or 2s")
	}
	return d
}

func (p *problems) rawResult(raw []byte) (r RawResult) {
	if raw == nil {
		return r
	}
	var found problems
	found.object("", raw, map[string]any{"scope": &r.Scope, "code": &r.Code})
	if len(found) == 0 && r.Code == "" {
		found.add("/code", "must not be empty")
	}
	p.under("/rawResult", found)
	return r
}

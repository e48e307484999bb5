package craftgate

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"refundworker/providers"
	"refundworker/schemas"
)

// This file decides what an answer to a refund call means; it makes no calls.

// judge reads an answer of 2xx: a result, or why the refund that it books has failed.
func (a ask) judge(data json.RawMessage) (providers.Result, *refusal, error) {
	var r record
	if json.Unmarshal(data, &r) != nil {
		return providers.Result{}, nil, errors.New("the answer is not readable")
	}
	if err := a.about(r); err != nil {
		return providers.Result{}, nil, err
	}
	if amount, err := r.price(); err != nil || amount != a.amount.Micros {
		return providers.Result{}, nil, errors.New("the answer has another amount")
	}
	switch {
	case !a.whole():
		return a.judgeOne(r, providers.Succeeded)
	case r.RefundType == typeCancel && len(r.Parts) == 0:
		return a.judgeOne(r, providers.Cancelled)
	case r.RefundType == typeRefund && len(r.Parts) > 0:
		return a.judgeParts(r)
	}
	return providers.Result{}, nil, errors.New("the answer is neither a cancel nor a refund")
}

// about holds a record against what was asked, as far as it says.
func (a ask) about(r record) error {
	for _, c := range []struct {
		what      string
		got, want string
	}{
		{"conversation id", string(r.ConversationID), a.conversation},
		{"payment", string(r.PaymentID), a.payment},
		{"item", string(r.ItemID), cmp.Or(a.item, string(r.ItemID))},
		{"currency", string(r.Currency), string(a.amount.Currency)},
	} {
		if c.got != "" && c.got != c.want {
			return fmt.Errorf("the answer has another %s", c.what)
		}
	}
	return nil
}

// judgeOne judges a refund that stands for the whole of what was asked.
func (a ask) judgeOne(r record, done providers.Status) (providers.Result, *refusal, error) {
	if !idForm.MatchString(string(r.ID)) {
		return providers.Result{}, nil, errors.New("the answer has no id")
	}
	switch r.Status {
	case statusSuccess:
		return a.result(done, []record{r}), nil, nil
	case statusWaiting:
		return a.result(providers.Acknowledged, []record{r}), nil, nil
	case statusFailure:
		cause := r.failure()
		return providers.Result{}, &cause, nil
	}
	return providers.Result{}, nil, errors.New("the answer's status is not known")
}

// judgeParts judges a refund of a whole payment that was split among its items. Only when all of them, and the answer
// over them, agree is it one answer.
func (a ask) judgeParts(r record) (providers.Result, *refusal, error) {
	t, err := a.tally(r.Parts)
	if err != nil {
		return providers.Result{}, nil, err
	}
	var (
		status = r.Parts[0].Status
		agreed = !slices.ContainsFunc(r.Parts, func(p record) bool { return p.Status != status })
	)
	switch {
	case !agreed, status != statusFailure && plus(t.done, t.waiting) != a.amount.Micros:
		return a.result(providers.Partial, r.Parts), nil, nil
	case r.Status != status:
		return providers.Result{}, nil, errors.New("the answer does not agree with its parts")
	case status == statusSuccess:
		return a.result(providers.Succeeded, r.Parts), nil, nil
	case status == statusWaiting:
		return a.result(providers.Acknowledged, r.Parts), nil, nil
	}
	// The parts of a booked failure may have failed for several causes: the first that leaves a doubt counts.
	cause := r.Parts[0].failure()
	for _, p := range r.Parts {
		if f := p.failure(); f.group().Class == InDoubt {
			cause = f
		}
	}
	return providers.Result{}, &cause, nil
}

// tally sums up refunds of one kind.
type tally struct {
	// live are those that succeeded or wait; all are those and the failed ones.
	live, all             []record
	done, waiting, failed int64
}

// tally refuses what it cannot place: in doubt, one refund that nobody understands may be the one that moved money.
func (a ask) tally(records []record) (t tally, err error) {
	for _, r := range records {
		if err := a.about(r); err != nil {
			return tally{}, err
		}
		amount, err := r.price()
		if err != nil && r.Status != statusFailure {
			return tally{}, err
		}
		switch r.Status {
		case statusSuccess:
			t.live, t.done = append(t.live, r), plus(t.done, amount)
		case statusWaiting:
			t.live, t.waiting = append(t.live, r), plus(t.waiting, amount)
		case statusFailure:
			if a.before != nil && slices.Contains(a.before.Failed, string(r.ID)) {
				continue
			}
			t.failed = plus(t.failed, amount)
		default:
			return tally{}, errors.New("a refund's status is not known")
		}
		t.all = append(t.all, r)
	}
	return t, nil
}

// disagreeing is our own word, in place of a status, for refunds that do not add up to one answer.
const disagreeing = "DISAGREEING"

// result is an answer that these refunds give. A single one lends its id; of several the ids are in the message.
func (a ask) result(s providers.Status, of []record) providers.Result {
	res := providers.Result{Status: s, Raw: &schemas.ProviderResult{Scope: scopeStatus, Code: statusSuccess}}
	if s == providers.Acknowledged {
		res.Raw.Code = statusWaiting
	}
	switch {
	case s == providers.Partial, s == providers.Conflicting:
		res.Raw.Code, res.Raw.Message = disagreeing, a.eachOf(of)
	case len(of) == 1:
		res.ProviderRefundID = string(of[0].ID)
	default:
		res.Raw.Message = "refund transactions " + joined(of, ",", shownID)
	}
	return res
}

// eachOf tells every refund's state, for a person.
func (a ask) eachOf(of []record) string {
	return joined(of, ", ", func(r record) string {
		amount := "of an unreadable amount"
		if n, err := r.price(); err == nil {
			amount = schemas.Money{Micros: n, Currency: a.amount.Currency}.Decimal()
		}
		return shownID(r) + " " + cleanCode(r.Status) + " " + amount
	})
}

// shownID is not cleaned as free text is: an id of nine digits is a number worth keeping.
func shownID(r record) string {
	if !idForm.MatchString(string(r.ID)) {
		return "(no id)"
	}
	return string(r.ID)
}

// maxShown bounds how many refunds a message tells of.
const maxShown = 40

func joined(of []record, separator string, tell func(record) string) string {
	var told []string
	for _, r := range of[:min(len(of), maxShown)] {
		told = append(told, tell(r))
	}
	if more := len(of) - maxShown; more > 0 {
		told = append(told, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(told, separator)
}

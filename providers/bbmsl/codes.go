package bbmsl

import (
	"maps"
	"regexp"
	"slices"

	"refundworker/providers"
	"refundworker/schemas"
)

// codeSuccess is the only public response code. No table of refusal codes exists: their meaning is read from
// the order, never from the code.
const codeSuccess = "0000"

// Scopes of schemas.ProviderResult.
const (
	scopeCode   = "bbmsl.responseCode"
	scopeStatus = "bbmsl.orderStatus"
)

// stage is what an order's status says about a refund.
type stage int

// Stages. The zero value is a status that nobody documented.
const (
	unknownStage stage = iota
	neverPaid
	unsettled
	settled
	refundedStage
	voidedStage
)

var stages = map[string]stage{
	"OPEN":     neverPaid,
	"CLOSED":   neverPaid,
	"SUCCESS":  unsettled,
	"SETTLED":  settled,
	"REFUNDED": refundedStage,
	"VOIDED":   voidedStage,
}

// OrderStatuses lists the order statuses that are known, for people. Any other leaves a doubt.
func OrderStatuses() []string { return slices.Sorted(maps.Keys(stages)) }

// stage looks at the amounts as well: BBMSL does not say whether a partly refunded order reads SETTLED again
// once its rest is paid out.
func (s state) stage() stage {
	st := stages[s.Status]
	if gone, _ := s.refunded(); gone > 0 && (st == unsettled || st == settled) {
		return refundedStage
	}
	return st
}

// operation is one of the calls that BBMSL knows.
type operation string

const (
	opQuery  operation = "query"
	opRefund operation = "refund"
	opVoid   operation = "void"
)

// path is where a model takes an operation. Void of the direct model is in no documentation; the vendor's
// own client has it.
func (m Model) path(op operation) string {
	if m == Direct {
		return "/direct/" + string(op)
	}
	return "/hosted-checkout/" + string(op)
}

// reply is what an answer to a refund or void means.
type reply int

// Replies. The zero value needs the order to be read.
const (
	unclear reply = iota
	accepted
	refused
)

// transactionReplies says what a transaction's status means for the operation that made it.
var transactionReplies = map[operation]map[text]reply{
	opRefund: {"SUCCESS": accepted, "SETTLED": accepted, "REFUNDED": accepted, "DECLINED": refused},
	opVoid:   {"SUCCESS": accepted, "VOIDED": accepted, "DECLINED": refused},
}

func (r reply) String() string {
	return [...]string{"the order tells", "yes", "no; the order tells why"}[r]
}

// Transaction is a row of the table of what a transaction's status means for the operation that made it.
type Transaction struct{ Operation, Status, Meaning string }

// Transactions is that table, for people. Of any other status the order tells.
func Transactions() []Transaction {
	var rows []Transaction
	for _, op := range []operation{opRefund, opVoid} {
		replies := transactionReplies[op]
		for _, status := range slices.Sorted(maps.Keys(replies)) {
			rows = append(rows, Transaction{string(op), string(status), replies[status].String()})
		}
	}
	return rows
}

// transactionTypes is what the transaction of an operation is called. Only REFUND is documented.
var transactionTypes = map[operation]text{opRefund: "REFUND", opVoid: "VOID"}

// replyOf judges an answer. A message is no sign of anything: documented successes come with and without.
func replyOf(op operation, a answer) reply {
	t := a.Transaction
	switch {
	case a.ResponseCode != codeSuccess:
		return refused
	case t == nil, t.Type != "" && t.Type != transactionTypes[op]:
		return unclear
	}
	return transactionReplies[op][t.Status]
}

var shortCode = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,32}$`)

// cleanCode is a code fit for events and metrics.
func cleanCode(code text) string {
	if !shortCode.MatchString(string(code)) {
		return "unreadable"
	}
	return providers.CleanMessage(string(code))
}

// said is what BBMSL answered.
func said(a answer) *schemas.ProviderResult {
	return &schemas.ProviderResult{Scope: scopeCode, Code: cleanCode(a.ResponseCode),
		Message: providers.CleanMessage(string(a.Message))}
}

// shown is what BBMSL's order says.
func shown(s state) *schemas.ProviderResult {
	return &schemas.ProviderResult{Scope: scopeStatus, Code: cleanCode(text(s.Status))}
}

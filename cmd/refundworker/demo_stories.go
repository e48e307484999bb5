package main

import (
	"errors"
	"strconv"
	"time"

	"refundworker/providers/simulator"
	"refundworker/schemas"
)

const (
	// demoReportDelay is when a provider reports by itself: after the worker has journalled that it waits for it.
	demoReportDelay = 1500 * time.Millisecond
	// demoReversalDelay is when money comes back after the report before it: one after the other, for the reader.
	demoReversalDelay = 500 * time.Millisecond
)

// cents is an amount in a currency that has them: cents(10_00, "HKD") is 10.00 HKD.
func cents(n int64, c schemas.Currency) schemas.Money {
	return schemas.Money{Micros: n * 10_000, Currency: c}
}

// author writes cases whose commands were requested at one time.
type author struct{ at time.Time }

// about begins a case about a payment.
func (a author) about(provider schemas.ProviderName, reference string, captured schemas.Money) demoCase {
	return demoCase{provider: provider, reference: reference, captured: captured, at: a.at, copies: 1, publishers: 1}
}

// bbmsl begins a case about an order of 15.00 HKD.
func (a author) bbmsl(order, title string, status simulator.BBMSLStatus) demoCase {
	c := a.about(demoBBMSL, order, cents(15_00, "HKD"))
	c.title = title
	c.scene.bbmsl = []simulator.BBMSLPayment{{Reference: order, Amount: c.captured, Status: status}}
	return c
}

// craftgate begins a case about a payment of 100.00 TRY: two items, of 60.00 and 40.00. Payment 730001 has the items
// 830001 and 830002, 730002 the next two, and so on.
func (a author) craftgate(number int, title string, p simulator.CraftgatePayment) demoCase {
	c := a.about(demoCraftgate, strconv.Itoa(730_000+number), cents(100_00, "TRY"))
	c.title = title
	p.Reference, p.Amount = c.reference, c.captured
	p.Transactions = []simulator.CraftgateTransaction{
		{Reference: strconv.Itoa(830_000 + 2*number - 1), Amount: cents(60_00, "TRY")},
		{Reference: strconv.Itoa(830_000 + 2*number), Amount: cents(40_00, "TRY")}}
	c.scene.craftgate = []simulator.CraftgatePayment{p}
	return c
}

// redirect begins a case about a payment of 48.50 EUR, of which is reported what the rule says.
func (a author) redirect(reference, title string, rule simulator.Notice) demoCase {
	rule.API = simulator.GoogleRedirectFOP
	c := a.about(demoRedirect, reference, cents(48_50, "EUR")).reported(rule)
	c.title = title
	c.scene.google = []simulator.GooglePayment{{Reference: reference, Account: demoRedirectAccount, Amount: c.captured}}
	return c
}

// card begins a case about a payment of 129.99 CAD, of which is reported what the rule says.
func (a author) card(reference, title string, rule simulator.Notice) demoCase {
	rule.API = simulator.GoogleCardFOP
	c := a.about(demoCard, reference, cents(129_99, "CAD")).reported(rule)
	c.title = title
	c.scene.google = []simulator.GooglePayment{{Reference: reference, Account: demoCardAccount, Amount: c.captured}}
	return c
}

// reported has the provider report about the payment by itself.
func (c demoCase) reported(rule simulator.Notice) demoCase {
	rule.Type, rule.Reference, rule.Delay = simulatedAs(c.provider), c.reference, demoReportDelay
	c.scene.notices = append(c.scene.notices, rule)
	return c
}

// guarded has the commands name what was captured.
func (c demoCase) guarded() demoCase {
	c.named = true
	return c
}

// loses has the provider execute the refund and lose its reply, once.
func (c demoCase) loses(operation string) demoCase {
	c.scene.faults = append(c.scene.faults, simulator.Fault{Type: simulatedAs(c.provider), Operation: operation,
		Reference: c.reference, Times: 1, Effect: simulator.EffectDropAfter})
	return c
}

// asks adds a command. Its requestId is the payment's reference and what follows it.
func (c demoCase) asks(round string, amount int64) demoCase { return c.asksWith("", round, amount) }

// asksWith adds a command with options.
func (c demoCase) asksWith(options, round string, amount int64) demoCase {
	command := schemas.Command{RequestID: schemas.RequestID("demo-" + c.reference + ":" + round), Provider: c.provider,
		Amount: cents(amount, c.captured.Currency), RequestedAt: c.at, Payment: schemas.Payment{Reference: c.reference},
		Reason: "customer returned the item", Options: []byte(options)}
	if c.named {
		command.Payment.Amount = &c.captured
	}
	body, err := command.Encode()
	c.err = errors.Join(c.err, err)
	c.bodies, c.ids = append(c.bodies, body), append(c.ids, command.RequestID)
	return c
}

// ends says what has to be left of the payment, and how the case has to end.
func (c demoCase) ends(left int64, want ...string) demoCase {
	c.want, c.wantLeft = want, cents(left, c.captured.Currency)
	return c
}

func demoCases(at time.Time) []demoCase {
	a := author{at}
	var all []demoCase
	for _, cases := range [][]demoCase{a.bbmslCases(), a.craftgateCases(), a.redirectCases(), a.cardCases()} {
		all = append(all, cases...)
	}
	return all
}

func (a author) bbmslCases() []demoCase {
	const settled = simulator.BBMSLSettled
	flood := a.bbmsl("4927", "one command published 50 times by 5 publishers", settled).asks("r1", 10_00).ends(5_00, "succeeded")
	flood.copies, flood.publishers = 50, 5
	rivals := a.bbmsl("4929", "two refunds of one order at once", settled).
		asks("r1", 10_00).asks("r2", 10_00).ends(5_00, "succeeded", "failed already_refunded")
	rivals.together = true
	malformed := a.about(demoBBMSL, "", schemas.Money{})
	malformed.title, malformed.want = "a body that is not a command", []string{"dead letter malformed"}
	malformed.bodies = [][]byte{[]byte(`{"requestId":"demo-x","requestId":"demo-y","amount":{"amountMicros":"1","amountMicros":"2"}}`)}
	return []demoCase{
		a.bbmsl("4922", "the documented example: 10.00 of 15.00 HKD", settled).asks("r1", 10_00).ends(5_00, "succeeded"),
		a.bbmsl("4923", "the whole of an order that is not settled yet", simulator.BBMSLSuccess).
			asks("r1", 15_00).ends(0, "cancelled"),
		a.bbmsl("4924", "more than the order", settled).asks("r1", 20_00).ends(15_00, "failed exceeds_remaining"),
		a.bbmsl("4925", "an order that was never paid", simulator.BBMSLClosed).
			asks("r1", 10_00).ends(15_00, "failed not_refundable"),
		a.bbmsl("4926", "the reply is lost after the refund was made", settled).loses("refund").
			asks("r1", 10_00).ends(5_00, "succeeded"),
		flood,
		a.bbmsl("4928", "the same requestId with another amount", settled).asks("r1", 10_00).asks("r1", 5_00).
			ends(5_00, "succeeded", "rejected request_id_conflict", "dead letter request_id_conflict"),
		rivals,
		malformed,
	}
}

func (a author) craftgateCases() []demoCase {
	waits := simulator.CraftgatePayment{Behaviour: simulator.CraftgateWaiting, Lookups: 100}
	webhook := simulator.Notice{Target: "/webhooks/craftgate/" + string(demoCraftgate)}
	return []demoCase{
		a.craftgate(1, "the documented example: 25.50 TRY of one item", simulator.CraftgatePayment{}).
			asksWith(`{"paymentTransactionId":"830001"}`, "r1", 25_50).ends(74_50, "succeeded"),
		a.craftgate(2, "a whole payment of the same day", simulator.CraftgatePayment{SameDay: true}).
			asks("r1", 100_00).ends(0, "cancelled"),
		a.craftgate(3, "a whole payment of two items", simulator.CraftgatePayment{}).asks("r1", 100_00).ends(0, "succeeded"),
		a.craftgate(4, "a payment that the bank has archived", simulator.CraftgatePayment{Behaviour: "ARCHIVED_PAYMENT"}).
			asks("r1", 100_00).ends(100_00, "failed window_exceeded"),
		a.craftgate(5, "the bank takes its time, then a webhook comes", waits).reported(webhook).
			asks("r1", 100_00).ends(0, "succeeded"),
	}
}

func (a author) redirectCases() []demoCase {
	return []demoCase{
		a.redirect("pay-7f20:0001", "the documented example: 12.50 of 48.50 EUR", simulator.Notice{}).
			asks("r1", 12_50).ends(36_00, "succeeded"),
		a.redirect("pay-7f20:0002", "taken on, but the customer's account is closed",
			simulator.Notice{Result: "ACCOUNT_CLOSED", RawResult: simulator.RawResult{Scope: "bank", Code: "AC04"}}).
			asks("r1", 48_50).ends(48_50, "failed account_closed"),
		a.redirect("pay-7f20:0003", "more than the payment", simulator.Notice{}).
			asks("r1", 48_51).ends(48_50, "failed exceeds_remaining"),
		a.redirect("pay-7f20:0004", "the reply is lost, the result comes twice", simulator.Notice{Repeat: 1}).loses("refund").
			asks("r1", 10_00).ends(38_50, "succeeded"),
	}
}

func (a author) cardCases() []demoCase {
	raw := simulator.RawResult{Scope: "VISA", Code: "62"}
	parts := []simulator.Reversal{{Amount: cents(4_00, "CAD"), RawResult: raw, Delay: demoReversalDelay},
		{RawResult: raw, Delay: demoReversalDelay, Repeat: 1}}
	both := a.card("cap_Q9xL-33", "two refunds at once, all of the payment together", simulator.Notice{}).
		asks("r1", 100_00).asks("r2", 29_99).ends(0, "succeeded", "succeeded")
	both.together = true
	exceeding := a.card("cap_Q9xL-34", "two refunds at once, of which only one fits", simulator.Notice{}).guarded().
		asks("r1", 100_00).asks("r2", 100_00).ends(29_99, "succeeded", "failed exceeds_remaining")
	exceeding.together = true
	return []demoCase{
		a.card("cap_Q9xL-31", "the documented example, and all of it comes back",
			simulator.Notice{Reversals: []simulator.Reversal{{RawResult: raw, Delay: demoReversalDelay}}}).
			asks("r1", 64_99).ends(129_99, "succeeded", "reversed 64.99 CAD"),
		a.card("cap_Q9xL-32", "a part comes back, then the rest", simulator.Notice{Reversals: parts}).
			asks("r1", 10_00).ends(129_99, "succeeded", "reversed 4.00 CAD", "reversed 6.00 CAD"),
		both,
		exceeding,
	}
}

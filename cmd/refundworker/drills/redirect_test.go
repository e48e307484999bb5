package drills

import (
	"testing"

	"refundworker/schemas"
)

// redirectFates are the results of the redirect protocol: every member of its union, each with what the integrator's
// processor said and without.
func redirectFates() (fates []fate) {
	for _, row := range []struct {
		member string
		kind   schemas.Kind
		reason schemas.Reason
	}{
		{"success", schemas.KindSucceeded, ""},
		{"accountClosed", schemas.KindFailed, schemas.ReasonAccountClosed},
		{"accountClosedAccountTakenOver", schemas.KindFailed, schemas.ReasonAccountClosed},
		{"accountClosedFraud", schemas.KindFailed, schemas.ReasonAccountClosed},
		{"accountOnHold", schemas.KindFailed, schemas.ReasonAccountOnHold},
		{"refundExceedsMaximumBalance", schemas.KindFailed, schemas.ReasonBalanceLimit},
		{"refundWindowExceeded", schemas.KindFailed, schemas.ReasonWindowExceeded},
		{"captureUsedPromotionalBalance", schemas.KindFailed, schemas.ReasonPromotionalBalance},
	} {
		plain := fate{rule: document{"result": row.member, "delay": shortly}, kind: row.kind, reason: row.reason,
			said: schemas.ProviderResult{Scope: "google", Code: row.member}, sends: 1}
		detailed := plain
		detailed.rule = document{"result": row.member, "delay": shortly, "rawResult": document{"scope": "wallet", "code": "W-17"}}
		detailed.said = schemas.ProviderResult{Scope: "wallet", Code: "W-17", Message: row.member}
		fates = append(fates, plain, detailed)
	}
	return fates
}

// Two processes speak the redirect protocol, once in the open and once signed and encrypted the other way. Each member of
// the result's union comes out as the outcome that it means.
func TestRedirectResults(t *testing.T) {
	t.Parallel()
	for _, mode := range []struct {
		name string
		keys func(*testing.T) keyRing
	}{
		{"plain", func(*testing.T) keyRing { return keyRing{mode: "plain"} }},
		{"jose", joseKeys},
	} {
		t.Run(mode.name, func(t *testing.T) {
			t.Parallel()
			f := newFated(newDrill(t), party{name: "redirect-eu", api: "redirectfop", account: "NorthQuayRedirect_EUR",
				currency: "EUR", keys: mode.keys(t)})
			fates := redirectFates()
			commands := f.next(3*len(fates), fates)
			f.tell()
			f.load.publish(commands, 2)
			f.end()
			f.agree()
		})
	}
}

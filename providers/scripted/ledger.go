package scripted

import (
	"fmt"
	"sync"
	"time"

	"refundworker/providers"
	"refundworker/schemas"
)

// Movement is money that really moved.
type Movement struct {
	RequestID        schemas.RequestID
	Reference        string
	Kind             schemas.RefundType
	Amount           schemas.Money
	Key              string
	ProviderRefundID string
	At               time.Time
}

// ledger is what the provider knows. Its zero value is not ready; see newLedger.
type ledger struct {
	mu        sync.Mutex
	calls     map[schemas.RequestID]int
	latest    map[schemas.RequestID]providers.Result
	byKey     map[string]kept
	movements []Movement
}

// kept is an answer that is given again to whoever brings its key.
type kept struct {
	result providers.Result
	until  time.Time
}

func newLedger() *ledger {
	return &ledger{
		calls:  make(map[schemas.RequestID]int),
		latest: make(map[schemas.RequestID]providers.Result),
		byKey:  make(map[string]kept),
	}
}

// call runs the next step of a script, or repeats the answer kept for the request's key. It is one step under
// one lock: of two calls with one key, the second finds what the first has done.
func (l *ledger) call(r providers.Request, script []step, keyLife time.Duration) step {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if k, ok := l.byKey[r.IdempotencyKey]; ok && now.Before(k.until) {
		return step{result: k.result}
	}
	s := script[min(l.calls[r.RequestID], len(script)-1)]
	l.calls[r.RequestID]++
	if !s.applies {
		return s
	}
	if kind, moves := moved[s.result.Status]; moves {
		s.result.ProviderRefundID = fmt.Sprintf("scripted-%d", len(l.movements)+1)
		l.movements = append(l.movements, Movement{RequestID: r.RequestID, Reference: r.Payment.Reference, Kind: kind,
			Amount: r.Amount, Key: r.IdempotencyKey, ProviderRefundID: s.result.ProviderRefundID, At: now})
	}
	l.latest[r.RequestID] = s.result
	if keyLife > 0 && r.IdempotencyKey != "" {
		l.byKey[r.IdempotencyKey] = kept{result: s.result, until: now.Add(keyLife)}
	}
	return s
}

// moved is which answers move money. An acknowledged refund moves it later, by a notice.
var moved = map[providers.Status]schemas.RefundType{
	providers.Succeeded: schemas.RefundTypeRefund,
	providers.Cancelled: schemas.RefundTypeCancel,
	providers.Partial:   schemas.RefundTypeRefund,
}

func (l *ledger) find(id schemas.RequestID) (providers.Result, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	res, ok := l.latest[id]
	return res, ok && res.Status != providers.NotNow
}

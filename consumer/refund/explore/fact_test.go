package explore

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// second is a moment of the world.
type second int32

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func (s second) time() time.Time { return epoch.Add(time.Duration(s) * time.Second) }

// secondOf rounds up, as servers of schedules do.
func secondOf(t time.Time) second {
	if t.IsZero() {
		return 0
	}
	return second((t.Sub(epoch) + time.Second - 1) / time.Second)
}

// fact is an event as the world holds it: all that a decision may depend on, in few bytes.
type fact struct {
	seq                    int16
	refund                 int8
	kind                   int8 // an index of schemas.Kinds, from 1; 0 is an entry that no worker wrote
	attempt, owner, key, n int8
	content                int8
	found                  int8
	hold                   int8 // 0 none, else the rules' version
	notice, part, total    int8 // of a reversal
	reason                 int8 // an index of reasons
	undone                 int16
	lease, due, at         second
}

const (
	unit     = 1_000_000
	share    = 10 // units of each refund
	currency = schemas.Currency("HKD")
)

var money = func(units int) schemas.Money { return schemas.Money{Micros: int64(units) * unit, Currency: currency} }

func idOf(refund int8) schemas.RequestID { return schemas.RequestID("r" + strconv.Itoa(int(refund))) }

// known is what each content of each refund is.
type known struct {
	command     schemas.Command
	fingerprint schemas.Fingerprint
	text        string
	event       schemas.Event
}

var all = func() (k [maxRefunds][2]known) {
	for refund := range k {
		for content := range k[refund] {
			c := schemas.Command{RequestID: idOf(int8(refund)), Provider: "bank", Payment: schemas.Payment{Reference: "pay"},
				Amount: money(share), RequestedAt: epoch, Options: []byte(fmt.Sprintf(`{"content":%d}`, content))}
			fp, err := c.Fingerprint()
			if err != nil {
				panic(err)
			}
			k[refund][content] = known{c, fp, fp.String(), schemas.NewEvent(schemas.KindDispatched, c, epoch)}
		}
	}
	return k
}()

// commandOf is the command of a refund; content other than 0 is another one under the same requestId.
func commandOf(refund, content int8) schemas.Command { return all[refund][content].command }

func fingerprintOf(refund, content int8) schemas.Fingerprint { return all[refund][content].fingerprint }

func ownerName(n int8) string { return "t" + strconv.Itoa(int(n)) }

func ownerOf(token string) int8 {
	n, _ := strconv.Atoi(strings.TrimPrefix(token, "t"))
	return int8(n)
}

var founds = []schemas.FoundBy{"", schemas.FoundByCall, schemas.FoundByLookup, schemas.FoundByNotice, schemas.FoundByOperator}

var reasons = func() []schemas.Reason {
	all := []schemas.Reason{""}
	for _, k := range schemas.Kinds {
		for _, r := range schemas.ReasonsOf(k) {
			if !slices.Contains(all, r) {
				all = append(all, r)
			}
		}
	}
	return all
}()

// factOf is what an entry comes to.
func factOf(e ledger.Entry) fact {
	event := e.Event
	f := fact{refund: int8(event.RequestID[1] - '0'), kind: int8(slices.Index(schemas.Kinds, event.Kind) + 1),
		attempt: int8(event.Attempt), owner: ownerOf(e.Owner), undone: int16(e.Undone), n: int8(event.N), reason: int8(slices.Index(reasons, event.Reason)),
		found: int8(slices.Index(founds, event.FoundBy)), at: secondOf(event.OccurredAt)}
	if _, k, ok := strings.Cut(event.IdempotencyKey, ":r"); ok {
		n, _ := strconv.Atoi(k)
		f.key = int8(n)
	}
	if event.LeaseUntil != nil {
		f.lease = secondOf(*event.LeaseUntil)
	}
	if event.NotBefore != nil {
		f.due = secondOf(*event.NotBefore)
	}
	if e.Hold != nil {
		f.hold = int8(e.Hold.Rules)
	}
	if event.Fingerprint == all[f.refund][1].text {
		f.content = 1
	}
	if r := event.Reversal; r != nil {
		f.notice, f.part, f.total = int8(r.NoticeID[1]-'0'), int8(r.Amount.Micros/unit), int8(r.Total.Micros/unit)
	}
	return f
}

// entry is factOf's opposite.
func (f fact) entry() ledger.Entry {
	e := ledger.Entry{Seq: uint64(f.seq), Stored: f.at.time()}
	if f.kind == 0 {
		return e
	}
	kind := f.named()
	event := all[f.refund][f.content].event
	event.Kind, event.OccurredAt = kind, f.at.time()
	event.Attempt, event.N, event.Reason, event.FoundBy = int(f.attempt), int(f.n), reasons[f.reason], founds[f.found]
	if kind == schemas.KindDispatched {
		event.IdempotencyKey = string(idOf(f.refund))
		if f.key > 0 {
			event.IdempotencyKey += ":r" + strconv.Itoa(int(f.key))
		}
		lease := f.lease.time()
		event.LeaseUntil = &lease
	}
	if f.due != 0 {
		due := f.due.time()
		event.NotBefore = &due
	}
	if f.hold > 0 {
		e.Hold = &ledger.Hold{Kind: ledger.ShareHold, Rules: int(f.hold)}
	}
	if kind == schemas.KindReversed {
		event.Reversal = &schemas.Reversal{NoticeID: "n" + strconv.Itoa(int(f.notice)), Amount: money(int(f.part)),
			Total: money(int(f.total))}
	}
	e.Event, e.Owner, e.ID, e.Undone = whole(event), ownerName(f.owner), event.ID(), uint64(f.undone)
	return e
}

// whole adds what an event of its kind must have and no decision depends on.
func whole(e schemas.Event) schemas.Event {
	switch e.Kind {
	case schemas.KindSucceeded:
		e.RefundType = schemas.RefundTypeRefund
	case schemas.KindCancelled:
		e.RefundType = schemas.RefundTypeCancel
	case schemas.KindFailed:
		no := false
		e.Reissue = &no
	case schemas.KindResumed:
		e.By = &schemas.Operator{Operator: "ann", Note: "looked"}
	}
	return e
}

func (f fact) named() schemas.Kind {
	if f.kind == 0 {
		return ""
	}
	return schemas.Kinds[f.kind-1]
}

func (f fact) moves() bool {
	return f.named() == schemas.KindSucceeded || f.named() == schemas.KindCancelled
}

func (f fact) String() string {
	if f.kind == 0 {
		return "foreign entry"
	}
	s := string(f.named())
	if f.attempt > 0 {
		s += fmt.Sprintf(" attempt %d", f.attempt)
	}
	if f.named() == schemas.KindDispatched {
		s += fmt.Sprintf(" key %d until %ds", f.key, f.lease)
	}
	return s
}

package idempotency

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// layout is the version of what is stored: of every form below, and of what a fold makes of the journal. Another layout
// lives under keys of its own and is built anew.
const layout = 5

// field is one field of a stored hash.
type field struct {
	// name is what scripts call it, and letter what it is stored under: each field costs bytes of its own.
	name, letter string
	// by is who writes it, and so who clears it.
	by writer
}

// writer says who writes a field.
type writer int

const (
	// byFold: the projection, which clears what a record does not have any more.
	byFold writer = iota
	// byBoth: claims begin it, the projection completes it, and nobody clears it.
	byBoth
	// byClaim: claims. An outcome clears it.
	byClaim
)

// Fields of a refund's record.
const (
	// fieldIdentity is the fingerprint, and from the first event on the amount.
	fieldIdentity = "f"
	// fieldState is the state's letter and when the refund came into it. Times are Unix milliseconds here and everywhere.
	fieldState  = "s"
	fieldIntent = "i"
	fieldClean  = "c"
	fieldBegun  = "b"
	fieldLast   = "q"
	fieldOwner  = "o"
	fieldLease  = "l"
	fieldPause  = "p"
	// fieldUndone is the sequence up to which every attempt surely did nothing, as owners have said.
	fieldUndone = "k"
	// fieldReleased is the token that was given back last.
	fieldReleased = "x"
)

var recordForm = []field{
	{"IDENTITY", fieldIdentity, byBoth},
	{"STATE", fieldState, byFold},
	{"INTENT", fieldIntent, byFold},
	{"CLEAN", fieldClean, byFold},
	{"BEGUN", fieldBegun, byFold},
	{"LAST", fieldLast, byFold},
	{"OWNER", fieldOwner, byClaim},
	{"LEASE", fieldLease, byClaim},
	{"PAUSE", fieldPause, byClaim},
	{"UNDONE", fieldUndone, byClaim},
	{"RELEASED", fieldReleased, byClaim},
}

const (
	// paymentField and velocityField are where a payment and a provider's velocity are stored, each as one text.
	paymentField  = "p"
	velocityField = "v"
)

var positionForm = []field{
	{"POSITION", posSeq, byFold},
	{"POSITION_ID", posID, byFold},
	{"STREAM", posCreated, byFold},
	{"EVICTED", posEvicted, byFold},
}

// letters are the fields that somebody of these writes.
func letters(form []field, by ...writer) (out []string) {
	for _, f := range form {
		for _, w := range by {
			if f.by == w {
				out = append(out, f.letter)
			}
		}
	}
	return out
}

// prelude tells the scripts the stored forms.
func prelude() string {
	var b strings.Builder
	for _, f := range append(positionForm, recordForm...) {
		fmt.Fprintf(&b, "local %s = '%s'\n", f.name, f.letter)
	}
	list := func(name string, letters []string) {
		fmt.Fprintf(&b, "local %s = {'%s'}\n", name, strings.Join(letters, "', '"))
	}
	list("FOLDED", letters(recordForm, byFold))
	list("CLAIMED", letters(recordForm, byClaim))
	b.WriteString("local SETTLED = {")
	for _, s := range stateForm {
		if s.kind.Outcome() {
			fmt.Fprintf(&b, "['%s'] = true, ", s.letter)
		}
	}
	b.WriteString("}\n")
	return b.String()
}

// stateForm is how states are stored.
var stateForm = []struct {
	kind   schemas.Kind
	letter string
}{
	{schemas.KindDispatched, "d"},
	{schemas.KindDeferred, "w"},
	{schemas.KindAcknowledged, "a"},
	{schemas.KindParked, "p"},
	{schemas.KindResumed, "r"},
	{schemas.KindSucceeded, "s"},
	{schemas.KindCancelled, "c"},
	{schemas.KindFailed, "f"},
}

func letterOf(state schemas.Kind) string {
	for _, s := range stateForm {
		if s.kind == state {
			return s.letter
		}
	}
	return ""
}

func kindOf(letter string) schemas.Kind {
	for _, s := range stateForm {
		if s.letter == letter {
			return s.kind
		}
	}
	return ""
}

const (
	currencyLen = 3
	microsLen   = 8
)

// identity is what never changes once an event was journalled: fingerprint, currency and micros.
func identity(r ledger.Record) string {
	out := append([]byte(nil), r.Fingerprint[:]...)
	var currency [currencyLen]byte
	copy(currency[:], r.Amount.Currency)
	out = append(out, currency[:]...)
	return string(binary.BigEndian.AppendUint64(out, uint64(r.Amount.Micros)))
}

// readIdentity is identity's opposite. A record that was claimed but never journalled has its fingerprint only.
func readIdentity(text string) (fp schemas.Fingerprint, amount schemas.Money) {
	rest := text[copy(fp[:], text):]
	if len(rest) != currencyLen+microsLen || rest[0] == 0 {
		return fp, schemas.Money{}
	}
	return fp, schemas.Money{Currency: schemas.Currency(rest[:currencyLen]),
		Micros: int64(binary.BigEndian.Uint64([]byte(rest[currencyLen:])))}
}

// recordFields are what readRecord reads, in its order.
var recordFields = letters(recordForm, byFold, byBoth)

// readRecord decodes the values of recordFields.
func readRecord(values []any) ledger.Record {
	text := map[string]string{}
	for i, letter := range recordFields {
		text[letter], _ = values[i].(string)
	}
	number := func(field string) uint64 { return readNumber(text[field]) }
	r := ledger.Record{Intent: number(fieldIntent), Clean: number(fieldClean), Begun: readTime(text[fieldBegun]),
		Last: number(fieldLast)}
	if state := text[fieldState]; state != "" {
		r.State, r.Since = kindOf(state[:1]), readTime(state[1:])
	}
	r.Fingerprint, r.Amount = readIdentity(text[fieldIdentity])
	return r
}

func readNumber(text string) uint64 { n, _ := strconv.ParseUint(text, 10, 64); return n }

// readTime reads Unix milliseconds; no text is the zero time.
func readTime(text string) time.Time {
	if text == "" {
		return time.Time{}
	}
	ms, _ := strconv.ParseInt(text, 10, 64)
	return time.UnixMilli(ms).UTC()
}

// recordPairs lists what is stored, zero values left out, as field and value in turn.
func recordPairs(r ledger.Record) []any {
	out := []any{fieldIdentity, identity(r), fieldState, letterOf(r.State) + strconv.FormatInt(r.Since.UnixMilli(), 10), fieldLast, r.Last}
	if !r.Begun.IsZero() {
		out = append(out, fieldBegun, r.Begun.UnixMilli())
	}
	if r.Intent > 0 {
		out = append(out, fieldIntent, r.Intent)
	}
	if r.Clean > 0 {
		out = append(out, fieldClean, r.Clean)
	}
	return out
}

const numberBase = 36

// paymentText is how a payment is stored: captured, when it was named, once, ended, last, seen, whole, and then what went back on each
// day and each share. An amount is its currency and its micros.
func paymentText(p ledger.Payment) string {
	out := appendMoney(nil, p.Captured)
	for _, n := range []uint64{uint64(p.Named), uint64(p.Once), p.Ended, p.Last, uint64(p.Seen), uint64(p.Whole)} {
		out = strconv.AppendUint(append(out, ' '), n, numberBase)
	}
	for _, r := range p.Refunded {
		out = appendMoney(append(out, ' '), r.Amount)
		out = strconv.AppendInt(append(out, '@'), int64(r.Day), numberBase)
	}
	for _, h := range p.Holds {
		out = append(append(append(out, ' '), h.ID...), '=')
		out = append(appendMoney(out, h.Amount), '=')
		out = strconv.AppendUint(out, h.Since, numberBase)
	}
	return string(out)
}

func appendMoney(out []byte, m schemas.Money) []byte {
	return strconv.AppendInt(append(out, m.Currency...), m.Micros, numberBase)
}

// readMoney is appendMoney's opposite; an amount without a currency is none.
func readMoney(text string) schemas.Money {
	if len(text) <= currencyLen {
		return schemas.Money{}
	}
	micros, _ := strconv.ParseInt(text[currencyLen:], numberBase, 64)
	return schemas.Money{Micros: micros, Currency: schemas.Currency(text[:currencyLen])}
}

// readPayment is paymentText's opposite; no text is a payment of which nothing is known.
func readPayment(text string) ledger.Payment {
	parts := strings.Split(text, " ")
	if len(parts) < 7 {
		return ledger.Payment{}
	}
	number := func(text string) uint64 { n, _ := strconv.ParseUint(text, numberBase, 64); return n }
	p := ledger.Payment{Captured: readMoney(parts[0]), Named: ledger.Day(number(parts[1])), Once: ledger.Day(number(parts[2])),
		Ended: number(parts[3]), Last: number(parts[4]),
		Seen: ledger.Day(number(parts[5])), Whole: ledger.Day(number(parts[6]))}
	for _, part := range parts[7:] {
		if id, rest, isHold := strings.Cut(part, "="); isHold {
			amount, since, _ := strings.Cut(rest, "=")
			p.Holds = append(p.Holds, ledger.Share{ID: schemas.RequestID(id), Amount: readMoney(amount), Since: number(since)})
			continue
		}
		amount, day, _ := strings.Cut(part, "@")
		p.Refunded = append(p.Refunded, ledger.Refunded{Day: ledger.Day(number(day)), Amount: readMoney(amount)})
	}
	return p
}

func velocityText(v ledger.Velocity) string {
	out, err := json.Marshal(v)
	if err != nil {
		panic(err) // it is made of numbers and texts
	}
	return string(out)
}

// readVelocity is velocityText's opposite; no text is a provider about which nothing is known.
func readVelocity(text string) ledger.Velocity {
	var v ledger.Velocity
	_ = json.Unmarshal([]byte(text), &v) // only velocityText writes what is read here
	return v
}

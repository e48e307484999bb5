package simulator

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Effect says how a fault breaks a call.
type Effect string

// Effects.
const (
	// EffectDropBefore closes the connection; nothing is executed.
	EffectDropBefore Effect = "drop_before"
	// EffectDropAfter executes the call and closes the connection without an answer.
	EffectDropAfter Effect = "drop_after"
	// EffectDelay waits For and then serves the call; when the caller hangs up before, nothing is executed.
	EffectDelay Effect = "delay"
	// EffectStatus answers HTTP status Code with a plain text body; nothing is executed.
	EffectStatus Effect = "status"
	// EffectRefuse answers a well-signed call with the protocol's refusal Code; nothing is executed.
	EffectRefuse Effect = "refuse"
	// EffectGarbage executes the call and answers 200 with bytes that cannot be read.
	EffectGarbage Effect = "garbage"
	// EffectSlowBody executes the call and lets the answer trickle in over For.
	EffectSlowBody Effect = "slow_body"
	// EffectReset resets the connection (TCP RST); nothing is executed.
	EffectReset Effect = "reset"
)

var effects = []Effect{EffectDropBefore, EffectDropAfter, EffectDelay, EffectStatus, EffectRefuse,
	EffectGarbage, EffectSlowBody, EffectReset}

// Fault is a rule that breaks calls. It matches calls of Type and Operation, and of one payment where
// Reference is set; it fires on all matches unless Every or Probability narrow them down. Of a list, the
// first rule that fires decides; a rule that matches without firing leaves the call to the next. Faults
// strike before a signature is looked at, so they meet every call that names the operation.
type Fault struct {
	// Type is a provider type, such as TypeBBMSL.
	Type string
	// Operation is the protocol's: refund, query or void for BBMSL; refund, refund-transaction or lookup
	// (every GET) for Craftgate; refund or echo for Google.
	Operation string
	// Reference is the payment's, as it was listed; empty means every payment.
	Reference string
	// Every lets each n-th match fire; 0 means each one.
	Every int
	// Probability lets a match fire by chance, above 0 up to 1; 0 means always. The same Seed gives the
	// same sequence. It excludes Every.
	Probability float64
	Seed        uint64
	// Times is how often the rule fires at most; 0 means without limit.
	Times  int
	Effect Effect
	// For is how long EffectDelay and EffectSlowBody take.
	For time.Duration
	// Code is the HTTP status of EffectStatus (200 to 599) or the refusal code of EffectRefuse.
	Code string
}

// vocabulary is what a fault can say about calls of one provider type.
type vocabulary struct {
	operations []string
	// success is the response code that no refusal can have.
	success string
	// refusals are the only codes there are; nil means that a protocol has no closed list.
	refusals []string
}

var vocabularies = map[string]vocabulary{
	TypeBBMSL:     {operations: []string{opRefund, opQuery, opVoid}, success: codeSuccess},
	TypeGoogle:    {operations: []string{opRefund, opEcho}, refusals: names(googleStatuses)},
	TypeCraftgate: {operations: []string{opRefund, opRefundTransaction, opLookup}},
}

func (f Fault) check() (found problems) {
	if words, ok := vocabularies[f.Type]; !ok {
		found.add("/type", "must be one of "+strings.Join(names(vocabularies), ", "))
	} else if !slices.Contains(words.operations, f.Operation) {
		found.add("/operation", "must be one of "+strings.Join(words.operations, ", "))
	}
	if !slices.Contains(effects, f.Effect) {
		found.add("/effect", fmt.Sprintf("must be one of %q", effects))
	}
	if f.Every < 0 || f.Times < 0 {
		found.add("", "every and times must not be negative")
	}
	// Written so that NaN does not pass.
	if !(f.Probability >= 0 && f.Probability <= 1) {
		found.add("/probability", "must be above 0 and at most 1")
	}
	if f.Probability > 0 && f.Every > 0 {
		found.add("", "every and probability exclude each other")
	}
	if f.Seed != 0 && f.Probability == 0 {
		found.add("/seed", "needs probability")
	}
	found.under("", f.checkArguments())
	return found
}

// checkArguments checks that an effect has what it needs and nothing that it would ignore.
func (f Fault) checkArguments() (found problems) {
	timed := f.Effect == EffectDelay || f.Effect == EffectSlowBody
	coded := f.Effect == EffectStatus || f.Effect == EffectRefuse
	words := vocabularies[f.Type]
	switch {
	case timed && f.For <= 0:
		found.add("/for", "must be a positive duration")
	case !timed && f.For != 0:
		found.add("/for", "belongs to delay and slow_body only")
	}
	status, err := strconv.Atoi(f.Code)
	switch {
	case f.Effect == EffectStatus && (err != nil || status < 200 || status > 599):
		found.add("/code", "must be an HTTP status from 200 to 599")
	case f.Effect == EffectRefuse && (f.Code == "" || f.Code == words.success):
		found.add("/code", "must be a refusal code")
	case f.Effect == EffectRefuse && words.refusals != nil && !slices.Contains(words.refusals, f.Code):
		found.add("/code", "must be one of "+strings.Join(words.refusals, ", "))
	case !coded && f.Code != "":
		found.add("/code", "belongs to status and refuse only")
	}
	return found
}

func (s *Server) takeFaults(raw []byte) problems {
	list, found := decodeList(raw, decodeFault)
	if len(found) > 0 {
		return found
	}
	return s.setFaults(list)
}

func (s *Server) setFaults(list []Fault) (found problems) {
	for i, fault := range list {
		found.under("/"+strconv.Itoa(i), fault.check())
	}
	if len(found) == 0 {
		s.core.faults.set(list)
	}
	return found
}

func decodeFault(raw []byte) (f Fault, found problems) {
	var length string
	var code literal // a status is a number and a refusal code a text; both are taken as either
	given := found.object("", raw, map[string]any{
		"type": &f.Type, "operation": &f.Operation, "reference": &f.Reference,
		"every": &f.Every, "probability": &f.Probability, "seed": &f.Seed, "times": &f.Times,
		"effect": &f.Effect, "for": &length, "code": &code,
	})
	// A zero that was written out would read as "never" and mean "always".
	zero := map[string]bool{"every": f.Every == 0, "times": f.Times == 0, "probability": f.Probability == 0}
	for name, isZero := range sorted(zero) {
		if _, written := given[name]; written && isZero && len(found) == 0 {
			found.add("/"+name, "must be positive")
		}
	}
	if length != "" {
		var err error
		if f.For, err = time.ParseDuration(length); err != nil {
			found.add("/for", "must be a duration such as 1500ms or 2s")
		}
	}
	f.Code = string(code)
	return f, found
}

// call is what faults know of a provider call.
type call struct {
	provider, operation, reference string
}

// rule is a fault with its counters.
type rule struct {
	Fault
	matched, fired int
	random         *rand.Rand
}

func (r *rule) matches(c call) bool {
	return r.Type == c.provider && r.Operation == c.operation && (r.Reference == "" || r.Reference == c.reference)
}

func (r *rule) fires() bool {
	if r.Times > 0 && r.fired == r.Times {
		return false
	}
	r.matched++
	if r.Every > 0 && r.matched%r.Every != 0 {
		return false
	}
	if r.Probability > 0 && r.random.Float64() >= r.Probability {
		return false
	}
	r.fired++
	return true
}

// faults is the list in force.
type faults struct {
	mu    sync.Mutex
	rules []*rule
}

func (f *faults) set(list []Fault) {
	rules := make([]*rule, len(list))
	for i, fault := range list {
		rules[i] = &rule{Fault: fault, random: rand.New(rand.NewPCG(fault.Seed, 0))}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = rules
}

// pick returns the fault that breaks a call; the zero Fault leaves it alone.
func (f *faults) pick(c call) Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.rules {
		if r.matches(c) && r.fires() {
			return r.Fault
		}
	}
	return Fault{}
}

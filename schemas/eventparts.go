package schemas

import "strconv"

// The parts of events and notices. Each reads as nil when it is absent or incomplete.

func (f fields) providerResult() *ProviderResult {
	o := f.object("providerResult", optional)
	if !o.read {
		return nil
	}
	result := &ProviderResult{
		Scope:   o.text("scope", required, ruleName),
		Code:    o.text("code", required, ruleCode),
		Message: o.text("message", optional, ruleProviderText),
	}
	o.refuseUnknown()
	return result
}

func (f fields) reversal() *Reversal {
	o := f.object("reversal", optional)
	amount, total := o.amount("amount", required), o.amount("total", required)
	id := o.text("noticeId", required, ruleName)
	raw := o.raw("rawResult")
	if amount == nil || total == nil || id == "" {
		return nil
	}
	return &Reversal{NoticeID: id, Amount: *amount, Total: *total, RawResult: raw}
}

func (f fields) existing() *Existing {
	o := f.object("existing", optional)
	if !o.read {
		return nil
	}
	return &Existing{
		Kind:        Kind(o.text("kind", optional, oneOf(Kinds...))),
		Fingerprint: o.text("fingerprint", required, ruleFingerprint),
	}
}

func (f fields) operator() *Operator {
	o := f.object("by", optional)
	if !o.read {
		return nil
	}
	return &Operator{
		Operator: o.text("operator", required, ruleName),
		Note:     o.text("note", required, ruleNote),
	}
}

// problems reads the problems of a rejected command; an empty list would explain nothing.
func (f fields) problems() []Problem {
	n := f.get("problems", optional)
	if n == nil {
		return nil
	}
	if n.shape != shapeArray || len(n.items) < 1 || len(n.items) > MaxProblems {
		f.r.add(f.at("problems"), "must be an array of 1 to 32 problems")
		return nil
	}
	list := make([]Problem, 0, len(n.items))
	for i, item := range n.items {
		o := f.r.object(item, child(f.at("problems"), strconv.Itoa(i)))
		list = append(list, Problem{
			Pointer: o.text("pointer", required, ruleProviderText),
			Rule:    o.text("rule", required, ruleName),
		})
	}
	return list
}

package explore

import (
	"fmt"
	"strings"
	"testing"
)

// calmShown bounds what is told of the time in which all goes well: a refund that never ends would fill pages.
const calmShown = 60

// tell is a schedule in words.
func tell(sc *scenario, schedule []choice) string {
	var b strings.Builder
	w := newWorld(sc)
	var err error
	see := func(c choice, before, after *world) { fmt.Fprintf(&b, "%6ds  %s\n", before.now, c.say(before, after)) }
	for _, c := range schedule {
		before := w
		w.take(c)
		see(c, &before, &w)
		if err = w.check(); err != nil {
			break
		}
	}
	if err == nil && w.idle() {
		fmt.Fprintf(&b, "         from here on all goes well\n")
		shown := 0
		err = w.settles(func(c choice, before, after *world) {
			if shown++; shown <= calmShown {
				see(c, before, after)
			}
		})
	}
	if err != nil {
		fmt.Fprintf(&b, "         => %v\n", err)
	}
	return b.String()
}

func (c choice) say(before, after *world) string {
	who := fmt.Sprintf("w%d  ", c.worker)
	switch c.kind {
	case cStart:
		m := before.refunds[c.refund].msgs[c.message]
		return who + fmt.Sprintf("takes r%d, content %d, scheduled %t, round %d", c.refund, m.content, m.scheduled, m.round)
	case cNotice:
		if c.variant == 1 {
			return who + fmt.Sprintf("NOTICE n%d: %d units of r%d came back", c.message, before.sc.reversals[c.message], c.refund)
		}
		m := before.moves[c.message]
		return who + fmt.Sprintf("NOTICE about r%d attempt %d: failed %t", m.refund, m.attempt, m.fails)
	case cRuling:
		return who + fmt.Sprintf("OPERATOR: r%d is to be tried again", c.refund)
	case cCrash:
		return who + "CRASHES"
	case cTick:
		return fmt.Sprintf("--  time passes to %ds", after.now)
	case cLand:
		l := before.inflight[c.message]
		if l.message.there {
			return fmt.Sprintf("--  LATE SCHEDULE arrives: r%d at %ds, stored %t", l.fact.refund, l.message.due, after.stored > before.stored)
		}
		stored := after.refunds[l.fact.refund].n > before.refunds[l.fact.refund].n
		return fmt.Sprintf("--  LATE APPEND arrives: %s after %d, stored %t", l.fact, l.after, stored)
	case cRedeliver:
		return fmt.Sprintf("--  r%d is delivered AGAIN", c.refund)
	case cRival:
		return fmt.Sprintf("--  OTHER CONTENT is published as r%d", c.refund)
	case cForeign:
		return fmt.Sprintf("--  SOMEBODY writes under r%d", c.refund)
	}
	return who + c.sayStep(before, after)
}

// hows are the ways in which a port answers, in words.
var hows = [effectFrom]string{replyLost: " [done, reply LOST]", notDone: " [NOT done]",
	onItsWay: " [on its way, caller told nothing]", noReply: " [no answer]", unnoticed: " [NOT done, UNNOTICED]",
	forgetful: " [Redis is EMPTY]", cleanLost: " [Redis forgot what did nothing]"}

func (c choice) sayStep(before, after *world) string {
	n := before.workers[c.worker].node
	o := n.op
	var r reply
	for reply, kid := range n.kids {
		if kid == after.workers[c.worker].node || after.workers[c.worker].node == nil && kid.op.kind == opEnd {
			r = reply
		}
	}
	how := ""
	switch {
	case c.variant < effectFrom:
		how = hows[c.variant]
	case o.kind == opClaim:
		how = " [Redis remembers LESS of what did nothing]"
	}
	switch o.kind {
	case opClaim:
		return fmt.Sprintf("claim r%d -> %s t%d, clean up to %d%s", o.refund, r.answer, r.token, r.clean, how)
	case opRelease:
		return fmt.Sprintf("release r%d, clean up to %d%s", o.refund, o.clean, how)
	case opAppend:
		if r.stale {
			return fmt.Sprintf("append r%d %s after %d -> refused%s", o.refund, o.fact, o.after, how)
		}
		return fmt.Sprintf("append r%d %s after %d -> #%d%s", o.refund, o.fact, o.after, r.seq, how)
	case opHead:
		return fmt.Sprintf("head of r%d -> #%d %s%s", o.refund, r.fact.seq, r.fact, how)
	case opChain:
		return fmt.Sprintf("chain of r%d -> %d events%s", o.refund, before.refunds[o.refund].n, how)
	case opRefund:
		return fmt.Sprintf("CALL r%d key %d [%s] -> %s", o.refund, o.key, effectNames[c.variant-effectFrom], resultNames[r.result])
	case opLookup, opPrepare:
		return fmt.Sprintf("%s r%d -> %s%s", map[opKind]string{opLookup: "lookup", opPrepare: "prepare"}[o.kind], o.refund, resultNames[r.result], how)
	case opAwait, opLook:
		return fmt.Sprintf("asks the payment for r%d -> since %d, %s%s", o.refund, r.grant, r.verdict, how)
	case opSchedule:
		return fmt.Sprintf("schedule r%d at %ds%s%s", o.refund, o.at, how, [...]string{4: " -> another stands there"}[r.err])
	case opNote:
		return fmt.Sprintf("note r%d %s of content %d%s", o.refund, o.fact, o.fact.content, how)
	}
	return [...]string{opEnd: "", opStanding: "looks for a schedule", opWake: "wakes the schedule", opBury: "dead letter: " + o.words,
		opBuryStanding: "dead letter of what stands", opAck: "ack", opNak: "nak", opTerm: "term", opEnded: "ends",
		opPanic: "PANIC " + o.words}[o.kind] + how
}

// follow takes the choices whose tellings begin as given, one after the other.
func follow(t *testing.T, sc *scenario, tellings ...string) *world {
	t.Helper()
	w := newWorld(sc)
	for _, telling := range tellings {
		var space [wide]choice
		var could []string
		taken := false
		for _, c := range w.choices(space[:0]) {
			next := w
			next.take(c)
			said := c.say(&w, &next)
			if could = append(could, said); strings.HasPrefix(said, telling) {
				w, taken = next, true
				break
			}
		}
		if !taken {
			t.Fatalf("%q cannot happen, but\n%s", telling, strings.Join(could, "\n"))
		}
		if err := w.check(); err != nil {
			t.Fatalf("after %q: %v", telling, err)
		}
	}
	return &w
}

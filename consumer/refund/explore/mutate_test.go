//go:build mutate

package explore

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// mutation drops one rule from the source that ships.
type mutation struct {
	rule, file, old, new string
	// only is where it shows soonest, and space is set where a whole space is searched for it; else it shows in walks.
	only  string
	space bool
	// also is what else is changed, in the same file or another one.
	also *mutation
}

// The numbers are those of the rules in refund's package comment.
var mutations = []mutation{
	{rule: "1: an intent names the head that it was decided from", file: "record.go",
		old: "\t\tcase head.Seq != after:\n\t\t\treturn 0, stale\n", new: "\t\tcase head.Seq != after:\n\t\t\tafter = head.Seq\n"},
	{rule: "2: after a refusal everything is decided anew", file: "run.go",
		old: "\t\tif err := r.read(); err != nil {\n\t\t\treturn r.unread(err, Keep)\n\t\t}\n",
		new: "\t\tbefore := r.refund\n\t\tif err := r.read(); err != nil {\n\t\t\treturn r.unread(err, Keep)\n\t\t}\n" +
			"\t\tbefore.Head = r.refund.Head\n\t\tr.refund = before\n"},
	{rule: "3: what was learnt before a refusal is forgotten", file: "run.go",
		old: "r.known, r.own, r.cleared = true, 0, false", new: "r.known, r.own = true, 0",
		also: &mutation{file: "run.go", old: "\tif len(r.refund.Doubt()) == 0 {", new: "\tif len(r.refund.Doubt()) == 0 || r.cleared {"}},
	{rule: "4: a head is the own one by its owner", file: "record.go", old: "head.Owner == e.Owner && "},
	{rule: "5: an intent says until when its call may leave", file: "attempt.go", only: "slow", space: true, old: "until := r.deadline\n", new: "until := r.Clock.Now()\n"},
	{rule: "6: the deadline is looked at right before the call", file: "attempt.go", only: "slow", space: true, old: "s.expired() || !r.fits()", new: "s.expired()"},
	{rule: "7a: a repeat waits for calls on their way", file: "decide_provider.go", only: "key",
		old: "early > 0 {\n\t\treturn abandon(early, s.round, \"an attempt may", new: "early > 0 && s.Capabilities.KeyLife == 0 {\n\t\treturn abandon(early, s.round, \"an attempt may"},
	{rule: "7b: a repeat has the key of the attempt in doubt", file: "run.go", only: "key", old: "\t\treturn r.refund.Key\n",
		new: "\t\treturn fmt.Sprintf(\"%s:r%d\", r.Command.RequestID, r.refund.Attempts)\n"},
	{rule: "7c: a repeat is made inside the key's life", file: "decide_provider.go", only: "key",
		old: "life == 0 || s.now.After(s.refund.KeySince.Add(life-s.lease()-clocksApart))", new: "life == 0"},
	{rule: "8: \"not found\" counts only if asked late enough", file: "decide_provider.go",
		old: "late := !s.asked.Before(s.conclusive())", new: "late := true"},
	{rule: "8, 9: clocks that are apart are waited for, too", file: "rules.go", only: "clocks", old: "arrived     = straggler + clocksApart",
		new: "arrived     = straggler"},
	{rule: "9: a person decides only when no call is on its way", file: "decide_provider.go", only: "neither",
		old: "early > 0 {\n\t\treturn abandon(early, s.round, \"an attempt may", new: "early > 0 && s.Capabilities.KeyLife > 0 {\n\t\treturn abandon(early, s.round, \"an attempt may",
		also: &mutation{file: "ruling.go", old: "!moved(o.As) && now.Before(until)", new: "false && now.Before(until)"}},
	{rule: "10a: a notice of failure settles only attempts that it is about", file: "notice.go",
		old: "return len(refund.Intents) == 1 || len(refund.Intents) > 1 && caps.FailuresAreFinal && (refund.Deferrals == 0 || caps.OneKey)",
		new: "return len(refund.Intents) > 0"},
	{rule: "10b: it settles several under one key where the provider takes nothing on again", file: "notice.go", only: "slow", space: true,
		old: "caps.FailuresAreFinal && ", new: ""},
	{rule: "10c: it settles several only where all had one key", file: "notice.go", only: "put off", space: true,
		old: " && (refund.Deferrals == 0 || caps.OneKey)", new: ""},
	{rule: "11: an older attempt's \"no\" contradicts nothing", file: "record.go", only: "slow", space: true, old: " && outcome.Attempt == attempt"},
	{rule: "12: a refused success is stored behind the new head", file: "record.go", old: "case !moved(e.Event.Kind):", new: "default:"},
	{rule: "13, 14: only money is stored behind a new head, or late", file: "record.go",
		old: "\t\tcase !moved(e.Event.Kind):\n\t\t\treturn overtaken\n"},
	{rule: "15: what surely did nothing is the own attempt", file: "decide.go", only: "away", space: true,
		old: "\tif s.clean() {\n\t\td.Clean = s.own\n\t}\n", new: "\td.Clean = s.own\n"},
	{rule: "the journal comes before the acknowledgement", file: "finish.go",
		old: "\tending := Ending{Decision: d}\n\tswitch d.Kind {", new: "\tending := Ending{Decision: d}\n\tif d.Then == Ack {\n\t\t_ = r.Carrier.Ack()\n\t}\n\tswitch d.Kind {"},
	{rule: "the schedule comes before the acknowledgement", file: "finish.go",
		old: "\t\tvar instead *Decision\n", new: "\t\t_ = r.Carrier.Ack()\n\t\tvar instead *Decision\n"},
	{rule: "no call is made before the guard grants it", file: "attempt.go", only: "guard", old: "if hold != nil {", new: "if false {"},
	{rule: "an attempt is judged by its own version of the guard's rules", file: "run.go", only: "other rules",
		old: "i.Hold != nil && i.Hold.Rules == ledger.GuardRules", new: "i.Hold != nil",
		also: &mutation{file: "../../idempotency/ledger/payment.go", old: "e.Hold.Rules == GuardRules && ", new: ""}},
	{rule: "a reversal is judged by the whole chain", file: "notice.go", only: "reversals",
		old: "return b.NoticeID == n.Notice.NoticeID",
		new: "return b.NoticeID == n.Notice.NoticeID && b.NoticeID == refund.Reversals[len(refund.Reversals)-1].NoticeID"},
	{rule: "nobody is rejected before the chain has an owner", file: "finish.go",
		old: "\tcase r.refund.First == nil:\n\t\treturn &Decision{Then: Nak", new: "\tcase false:\n\t\treturn &Decision{Then: Nak"},
	{rule: "an outcome that is found says nothing about another content", file: "finish.go", only: "prepares",
		old: "if r.refund.First == nil { // the requestId", new: "if false { // the requestId"},
	{rule: "a claim's conflict is looked into", file: "decide.go", only: "lookup",
		old: "case Taken, Conflict:\n\t\treturn Decision{}, false", new: "case Taken:\n\t\treturn Decision{}, false\n\tcase Conflict:\n\t\treturn conflict(\"\"), true"},
	{rule: "a claim that is busy ends nothing", file: "decide.go", only: "lookup", old: "return later(min(max(s.claim.Until.Sub(s.now), scheduleFloor), busyLook), s.round, \"another claim is at work\"), true",
		new: "return Decision{Then: Ack}, true"},
	{rule: "a delivery ends only behind its rejection", file: "finish.go", only: "rivals, lookup", space: true,
		old: "if err := r.Log.Note(r.rejection(r.Command, r.BodyHash, d)); err != nil {", new: "if err := r.Log.Note(r.rejection(r.Command, r.BodyHash, d)); false {"},
	{rule: "and behind the dead letter", file: "finish.go", only: "rivals, lookup", space: true,
		old: "if err = r.Carrier.Bury(d.Reason, d.Detail); err == nil {", new: "if err = r.Carrier.Bury(d.Reason, d.Detail); true {"},
	{rule: "and behind the schedule that carries it on", file: "finish.go", only: "failing, lookup", space: true,
		old: "\t\tif err == nil {\n\t\t\terr = r.Carrier.Ack()", new: "\t\tif true {\n\t\t\terr = r.Carrier.Ack()"},
	{rule: "what stands is replaced only behind its rejection", file: "finish.go", only: "rivals", space: true,
		old: "if err := r.Log.Note(r.rejection(standing.Command, standing.BodyHash, d)); err != nil {",
		new: "if err := r.Log.Note(r.rejection(standing.Command, standing.BodyHash, d)); false {"},
	{rule: "what stands is replaced only behind its dead letter", file: "finish.go", only: "rivals", space: true,
		old: "\treturn r.Carrier.BuryStanding(standing, d.Reason, d.Detail)", new: "\t_ = r.Carrier.BuryStanding(standing, d.Reason, d.Detail)\n\treturn nil"},
	{rule: "nothing is rejected on the claim's word", file: "finish.go", only: "aged", space: true, old: "if !r.known {", new: "if false {"},
}

// Each rule is load-bearing: without it the search finds what goes wrong.
func TestMutations(t *testing.T) {
	root, err := filepath.Abs(filepath.Join("..", "..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mutations {
		t.Run(m.rule, func(t *testing.T) {
			dir := t.TempDir()
			overlay, binary := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "test")
			replace := map[string]string{}
			for m := &m; m != nil; m = m.also {
				m.apply(t, filepath.Join(root, "consumer", "refund", m.file), dir, replace)
			}
			body, err := json.Marshal(map[string]any{"Replace": replace})
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(overlay, body, 0o600); err != nil {
				t.Fatal(err)
			}
			build := exec.Command("go", "test", "-c", "-vet=off", "-overlay", overlay, "-o", binary, ".")
			if out, err := build.CombinedOutput(); err != nil {
				t.Fatalf("build: %v\n%s", err, out)
			}
			search := "^TestExploreWalks$"
			if m.space {
				search = "^TestExploreSmall$"
			}
			began := time.Now()
			out, err := exec.Command(binary, "-test.run", search, "-test.v", "-explore.only", m.only,
				"-explore.limit", limit.String()).CombinedOutput()
			if err == nil {
				t.Errorf("nothing was found wrong without it\n%s", out)
				return
			}
			t.Logf("found in %s\n%s", time.Since(began).Round(time.Millisecond), out)
		})
	}
}

// apply writes the changed source, from what was changed before if it was.
func (m *mutation) apply(t *testing.T, source, dir string, replace map[string]string) {
	t.Helper()
	from := source
	if changed := replace[source]; changed != "" {
		from = changed
	}
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), m.old); n != 1 {
		t.Fatalf("%s holds what is to be changed %d times, want once", m.file, n)
	}
	replace[source] = filepath.Join(dir, filepath.Base(m.file))
	if err := os.WriteFile(replace[source], []byte(strings.Replace(string(text), m.old, m.new, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}

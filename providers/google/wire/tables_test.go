package wire

import (
	"testing"

	"refundworker/schemas"
)

// Every row of the codes has a status that refuses, and both families' names lead back to it.
func TestCodesReadBack(t *testing.T) {
	if len(Codes) != 12 {
		t.Errorf("codes: got %d, want 12", len(Codes))
	}
	for _, row := range Codes {
		if codeOf(Object, row.Member) != row.Code || codeOf(Flat, string(row.Code)) != row.Code || row.Code.HTTP() < 400 {
			t.Errorf("%s: its names or its status %d do not lead back to it", row.Code, row.Code.HTTP())
		}
	}
	for _, name := range []string{"", "UNKNOWN_ERROR_RESPONSE_CODE", "SOMETHING_NEW"} {
		if code := codeOf(Flat, name); code != "" {
			t.Errorf("%q: got %s, want no code", name, code)
		}
	}
}

// Every published result means an outcome of ours with a reason of ours.
func TestResultsMeanOutcomes(t *testing.T) {
	for _, row := range Results {
		failed := row.Kind == schemas.KindFailed
		if !row.Kind.Outcome() || failed != (row.Reason != "") || failed && !known(row.Reason) {
			t.Errorf("%v %s: got %s %q, want an outcome with a reason where it failed", row.Family, row.Name, row.Kind, row.Reason)
		}
	}
}

func known(r schemas.Reason) bool {
	for _, reason := range schemas.ReasonsOf(schemas.KindFailed) {
		if reason == r {
			return true
		}
	}
	return false
}

// Every outcome of ours has one name in each family, one that Google publishes, and is called lossless exactly when the
// name reads back as the same outcome.
func TestReportsCoverEveryOutcome(t *testing.T) {
	type outcome struct {
		family Family
		kind   schemas.Kind
		reason schemas.Reason
	}
	want := map[outcome]int{}
	for _, f := range []Family{Object, Flat} {
		want[outcome{f, schemas.KindSucceeded, ""}] = 1
		want[outcome{f, schemas.KindCancelled, ""}] = 1
		for _, reason := range schemas.ReasonsOf(schemas.KindFailed) {
			want[outcome{f, schemas.KindFailed, reason}] = 1
		}
	}
	for _, row := range Reports {
		want[outcome{row.Family, row.Kind, row.Reason}]--
		root := fields{r: &reader{family: row.Family}}
		back := root.known("result", row.Name)
		same := back.Kind == row.Kind && back.Reason == row.Reason
		if back.Kind == "" || same != row.Lossless || row.Lossless == (row.Remark != "") {
			t.Errorf("%v %s %s: %s reads back as %s %s; lossless %v, remark %q", row.Family, row.Kind, row.Reason, row.Name,
				back.Kind, back.Reason, row.Lossless, row.Remark)
		}
		if (row.Kind == schemas.KindFailed) == (back.Kind == schemas.KindSucceeded) {
			t.Errorf("%v %s %s: %s turns the outcome around", row.Family, row.Kind, row.Reason, row.Name)
		}
	}
	for o, missing := range want {
		if missing != 0 {
			t.Errorf("%v %s %s: got %d rows, want 1", o.family, o.kind, o.reason, 1-missing)
		}
	}
}

package schemas

import "time"

// stamp is a time as events and notices carry it: UTC with exactly three decimals, so that the same
// fact is the same bytes.
type stamp time.Time

const stampLayout = "2006-01-02T15:04:05.000Z"

func (s stamp) String() string { return time.Time(s).UTC().Format(stampLayout) }

// MarshalJSON writes the fixed form.
func (s stamp) MarshalJSON() ([]byte, error) { return []byte(`"` + s.String() + `"`), nil }

// stampOf cuts a time to milliseconds.
func stampOf(t *time.Time) *stamp {
	if t == nil {
		return nil
	}
	s := stamp(*t)
	return &s
}

// deadlineOf rounds a time up to milliseconds: a deadline read back must not be earlier than it was.
func deadlineOf(t *time.Time) *stamp {
	if t == nil {
		return nil
	}
	up := t.Add(time.Millisecond - time.Nanosecond)
	return stampOf(&up)
}

package stream

import (
	"context"
	"fmt"
	"slices"

	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// MaxChain bounds how many entries of one refund are read.
const MaxChain = 4096

// Head is the last entry under a refund's subject, read from the leader. Its Seq is 0 when there is none. With
// ErrUnreadable, Seq says where the entry stands that cannot be read.
func (j *Journal) Head(ctx context.Context, id schemas.RequestID) (ledger.Entry, error) {
	subject, err := j.subject(id)
	if err != nil {
		return ledger.Entry{}, err
	}
	m, err := j.leader.last(ctx, subject)
	if err != nil || m == nil {
		return ledger.Entry{}, err
	}
	return j.read(m)
}

// Chain is every entry under a refund's subject as it stood when the last one was read, oldest first. What has aged out
// is not there any more.
//
// It goes from the last entry back, each naming the one before: the server has stored none whose condition did not hold.
// Since nothing is ever removed from under a subject but by age, that is the chain behind this head, whatever is stored
// meanwhile. Only what stands before a foreign entry has to be looked for.
func (j *Journal) Chain(ctx context.Context, id schemas.RequestID) ([]ledger.Entry, error) {
	e, err := j.Head(ctx, id)
	if err != nil || e.Seq == 0 {
		return nil, err
	}
	subject := j.subjects.Journal(id)
	back := []ledger.Entry{e}
	for !e.Foreign && e.Previous > 0 {
		if len(back) == MaxChain {
			return nil, because(ErrTooLong, subject, fmt.Sprintf("more than %d", MaxChain))
		}
		m, err := j.leader.at(ctx, e.Previous)
		if err != nil {
			return nil, err
		}
		if m == nil {
			if err := j.hasAged(ctx, subject, e.Previous); err != nil {
				return nil, err
			}
			break
		}
		if m.Subject != subject {
			return nil, because(ErrUnreadable, subject, fmt.Sprintf("entry %d names %d as the one before", e.Seq, m.Seq))
		}
		if e, err = j.read(m); err != nil {
			return nil, err
		}
		back = append(back, e)
	}
	slices.Reverse(back)
	if !e.Foreign {
		return back, nil
	}
	front, err := j.before(ctx, subject, e.Seq, MaxChain-len(back))
	if err != nil {
		return nil, err
	}
	return slices.Concat(front, back), nil
}

// before is every entry under a subject before a sequence at which there is one, oldest first.
func (j *Journal) before(ctx context.Context, subject string, end uint64, limit int) ([]ledger.Entry, error) {
	var found []ledger.Entry
	var last uint64
	for {
		m, err := j.leader.next(ctx, subject, last+1)
		if err != nil {
			return nil, err
		}
		if m == nil { // the server says so, too, of what it fails to read
			return nil, because(ErrNoAnswer, subject, fmt.Sprintf("entry %d was there and is not", end))
		}
		if m.Seq >= end {
			return found, nil
		}
		if len(found) == limit {
			return nil, because(ErrTooLong, subject, fmt.Sprintf("more than %d", MaxChain))
		}
		e, err := j.read(m)
		if err != nil {
			return nil, err
		}
		if gap := !e.Foreign && e.Previous != last; gap {
			if last > 0 {
				return nil, because(ErrUnreadable, subject, fmt.Sprintf("entry %d is gone", e.Previous))
			}
			if err := j.hasAged(ctx, subject, e.Previous); err != nil {
				return nil, err
			}
		}
		found, last = append(found, e), e.Seq
	}
}

// hasAged is nil if the entry at a sequence can have left the journal by age: then all before it have, too. The server
// says "no message" of what it fails to read as well, and a chain without its beginning would forget an intent.
func (j *Journal) hasAged(ctx context.Context, subject string, seq uint64) error {
	state, err := j.State(ctx)
	if err != nil {
		return err
	}
	if seq >= state.First {
		return because(ErrUnreadable, subject, fmt.Sprintf("entry %d is gone before its time", seq))
	}
	return nil
}

// read is a stored message as an entry, unless it is one of ours that cannot be read.
func (j *Journal) read(m *stored) (ledger.Entry, error) {
	j.learn(m.Seq)
	e := entry(j.subjects, m)
	if isUnreadable(e) {
		return ledger.Entry{Seq: e.Seq, ID: e.ID}, because(ErrUnreadable, m.Subject, fmt.Sprintf("entry %d", e.Seq))
	}
	return e, nil
}

// subject is a refund's subject. An id that is none could match other refunds' subjects.
func (j *Journal) subject(id schemas.RequestID) (string, error) {
	if !id.Valid() {
		return "", because(ErrInvalid, "requestId", "it has the wrong length or characters")
	}
	return j.subjects.Journal(id), nil
}

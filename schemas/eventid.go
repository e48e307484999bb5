package schemas

import (
	"encoding/hex"
	"strconv"
)

// EventDataSchema names the JSON Schema of events, as ce-dataschema and as the schema's own $id.
const EventDataSchema = "urn:refundworker:refund-event:1"

// ID is the event's one stable id: the same fact has the same id whoever states it, and however often.
func (e Event) ID() string {
	id := string(e.RequestID) + ":" + string(e.Kind)
	switch e.Kind {
	case KindDispatched, KindDeferred, KindAcknowledged:
		return id + ":" + strconv.Itoa(e.Attempt)
	case KindSucceeded, KindCancelled, KindFailed:
		// One id for every outcome: the stream itself refuses a second one.
		return string(e.RequestID) + ":outcome"
	case KindReversed:
		if e.Reversal == nil {
			return id
		}
		return id + ":" + hashHex([]byte(e.Reversal.NoticeID), 8)
	case KindRejected:
		return id + ":" + hex.EncodeToString(e.BodyHash[:8])
	case KindParked, KindResumed:
		return id + ":" + strconv.Itoa(e.N)
	case KindStopped, KindStarted:
		return string(e.Provider) + ":" + string(e.Kind) + ":" + strconv.Itoa(e.N)
	}
	return id
}

// Type is the event's CloudEvents type, such as "refund-succeeded".
func (e Event) Type() string { return "refund-" + string(e.Kind) }

// Subject is what the event is about: the requestId, or the provider for stopped and started.
func (e Event) Subject() string {
	if e.Kind == KindStopped || e.Kind == KindStarted {
		return string(e.Provider)
	}
	return string(e.RequestID)
}

// Headers are the message headers of the event's CloudEvents binary form, message id included.
func (e Event) Headers() map[string]string {
	return map[string]string{
		HeaderSpecVersion: "1.0",
		HeaderEventID:     e.ID(),
		HeaderEventType:   e.Type(),
		HeaderSource:      "/refunds/" + string(e.Provider),
		HeaderSubject:     e.Subject(),
		HeaderTime:        stamp(e.OccurredAt).String(),
		HeaderDataSchema:  EventDataSchema,
		HeaderContentType: "application/json",
		HeaderMsgID:       e.ID(),
	}
}

package wire

import (
	"encoding/json"
	"strconv"
	"time"

	"refundworker/schemas"
)

// Family is the form that one API's documents have. It belongs to a route and is never read off a document.
type Family int

// Families.
const (
	// Object is redirect-fop-v1's: the account in the header, amounts and times as objects, results as unions.
	Object Family = iota
	// Flat is card-fop-v1's: the account at the top, amounts and times as text, results as enums.
	Flat
)

func (f Family) String() string {
	if f == Flat {
		return "flat"
	}
	return "object"
}

// servedMajor is the one major version of the protocol that is spoken. Any minor of it is compatible.
const servedMajor = 1

// MaxSkew is how far a timestamp may lie from the receiver's clock either way. That exactly so much passes is this
// package's reading; the protocol does not say.
const MaxSkew = 60 * time.Second

// Header is what every request carries, whatever its family.
type Header struct {
	// RequestID is the sender's idempotency key, 1 to 100 characters of a-z A-Z 0-9 : - _.
	RequestID schemas.RequestID
	// Account is the payment integrator account id. It stands in the header or at the top, as the family has it.
	Account string
	// Timestamp is when the sender made this very attempt; a repeat carries a fresh one. It is kept to the millisecond.
	Timestamp time.Time
	// Content is a hash over all of a decoded request but its timestamp. A repeat has the same. Encoding ignores it.
	Content [32]byte
}

// CheckClock refuses a request that was not made within MaxSkew of now. It is not a part of decoding, because a
// document's version, fields and values are judged first, and its account and key afterwards.
func (h Header) CheckClock(now time.Time) error {
	if !Fresh(h.Timestamp, now) {
		return &Error{Code: RequestTimestampOutOfRange, Field: "requestHeader.requestTimestamp",
			Detail: "the timestamp is more than 60 s from the receiver's clock"}
	}
	return nil
}

// Fresh reports whether a timestamp is within MaxSkew of now, the edge included.
func Fresh(timestamp, now time.Time) bool {
	apart := now.Sub(timestamp)
	return apart <= MaxSkew && apart >= -MaxSkew
}

// members is a JSON object in the making.
type members map[string]any

// encode writes the object. Its values are texts, numbers and objects of them, which always encode.
func (m members) encode() []byte {
	body, _ := json.Marshal(m)
	return body
}

// newRequest begins a request with its header and its account.
func (f Family) newRequest(h Header) members {
	header := members{"requestId": h.RequestID, "requestTimestamp": f.time(h.Timestamp)}
	if f == Flat {
		header["protocolVersion"] = members{"major": servedMajor, "minor": 0, "revision": 0}
		return members{"requestHeader": header, "paymentIntegratorAccountId": h.Account}
	}
	header["protocolVersion"] = members{"major": servedMajor}
	header["paymentIntegratorAccountId"] = h.Account
	return members{"requestHeader": header}
}

// newResponse begins a response with its header.
func (f Family) newResponse(at time.Time) members {
	return members{"responseHeader": members{"responseTimestamp": f.time(at)}}
}

// time is a timestamp in the family's form. Integers of 64 bits travel as text, because JSON readers make doubles of
// numbers.
func (f Family) time(t time.Time) any {
	millis := strconv.FormatInt(t.UnixMilli(), 10)
	if f == Flat {
		return millis
	}
	return members{"epochMillis": millis}
}

// amount is an amount in the family's form; the flat one leaves the currency to the capture.
func (f Family) amount(m schemas.Money) any {
	if f == Flat {
		return strconv.FormatInt(m.Micros, 10)
	}
	return m
}

// name picks the family's word for a result.
func (f Family) name(member, enum string) string {
	if f == Flat {
		return enum
	}
	return member
}

// result is a result in the family's form: an enum, or a union whose one member is empty.
func (f Family) result(name string) any {
	if f == Flat {
		return name
	}
	return members{name: members{}}
}

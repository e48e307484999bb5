package schemas_test

import (
	"errors"
	"fmt"
	"time"

	"refundworker/schemas"
)

func ExampleDecodeCommand() {
	body := []byte(`{"requestId":"ord-1042:r1","provider":"bbmsl-hk","payment":{"reference":"4922"},
		"amount":{"amountMicros":"10000000","currencyCode":"HKD"},"requestedAt":"2026-11-21T10:00:00Z"}`)
	c, err := schemas.DecodeCommand(body, schemas.Arrival{Provider: "bbmsl-hk"})
	fmt.Println(c.RequestID, c.Amount, err)
	// Output: ord-1042:r1 10.00 HKD <nil>
}

func ExampleDecodeCommand_rejection() {
	body := []byte(`{"requestId":"ord-1042:r1","provider":"bbmsl-hk","payment":{},
		"amount":{"amountMicros":"5000","currencyCode":"HKD"},"requestedAt":"2026-11-21T10:00:00Z"}`)
	_, err := schemas.DecodeCommand(body, schemas.Arrival{})
	var rejection *schemas.Rejection
	if errors.As(err, &rejection) {
		for _, p := range rejection.Problems {
			fmt.Println(p.Pointer, p.Rule)
		}
	}
	// Output:
	// /payment/reference required
	// /amount/amountMicros must be a whole number of the currency's minor units
}

func ExampleDecodeEvent() {
	e, err := schemas.DecodeEvent([]byte(`{"kind":"stopped","provider":"bbmsl-hk","reason":"velocity_stop","n":1,
		"currencyCode":"HKD","window":"1h0m0s","occurredAt":"2026-11-21T10:00:01.250Z"}`))
	fmt.Println(e.ID(), e.Type(), err)
	// Output: bbmsl-hk:stopped:1 refund-stopped <nil>
}

func ExampleDecodeNotice() {
	n, err := schemas.DecodeNotice([]byte(`{"noticeId":"file-7/3","provider":"cardfop-eu","refundRequestId":"ord-1042:r1",
		"type":"reversal","reversal":{"amount":{"amountMicros":"4000000","currencyCode":"EUR"}},
		"receivedAt":"2026-11-21T10:00:01.250Z","source":"bank file 7"}`))
	fmt.Println(n.RefundRequestID, n.Reversal.Amount, err)
	// Output: ord-1042:r1 4.00 EUR <nil>
}

func ExampleParseDecimal() {
	m, err := schemas.ParseDecimal("15.00", "HKD")
	minor, _ := m.Minor()
	fmt.Println(m, m.Micros, minor, err)
	// Output: 15.00 HKD 15000000 1500 <nil>
}

func ExampleNewEvent() {
	c := schemas.Command{RequestID: "ord-1042:r1", Provider: "bbmsl-hk", Payment: schemas.Payment{Reference: "4922"},
		Amount: schemas.Money{Micros: 10_000_000, Currency: "HKD"}, RequestedAt: time.Unix(1795255200, 0)}
	e := schemas.NewEvent(schemas.KindAcknowledged, c, time.Unix(1795255201, 0))
	e.Attempt = 1
	body, err := e.Encode()
	fmt.Println(string(body), err)
	// Output: {"kind":"acknowledged","requestId":"ord-1042:r1","provider":"bbmsl-hk","payment":{"reference":"4922"},"amount":{"amountMicros":"10000000","currencyCode":"HKD"},"fingerprint":"0e1bb02ae6819cd25b77917e5a10d396","attempt":1,"requestedAt":"2026-11-21T10:00:00.000Z","occurredAt":"2026-11-21T10:00:01.000Z"} <nil>
}

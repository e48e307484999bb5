package wire

import "time"

// Echo asks whether the other side can be reached and understood.
type Echo struct {
	Header
	ClientMessage string
}

// DecodeEcho reads an echo request. Its errors are of type *Error. In the flat family, whose published examples carry
// none, the account may be missing.
func (f Family) DecodeEcho(document []byte) (Echo, error) {
	root, h, err := f.request(document)
	if err != nil {
		return Echo{}, err
	}
	if f == Flat {
		h.Account = root.text("paymentIntegratorAccountId")
	} else {
		h.Account = root.account()
	}
	e := Echo{Header: h, ClientMessage: root.requiredText("clientMessage")}
	if err := root.r.err(); err != nil {
		return Echo{}, err
	}
	return e, nil
}

// EncodeEcho writes the answer to an echo request.
func (f Family) EncodeEcho(now time.Time, clientMessage string) []byte {
	d := f.newResponse(now)
	d["clientMessage"] = clientMessage
	return d.encode()
}

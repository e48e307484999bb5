package wire

import (
	"errors"
	"testing"
	"time"
)

// seed adds every recorded document.
func seed(f *testing.F) {
	for name := range methods {
		for _, c := range readVectors(f, name).Cases {
			f.Add(c.document())
		}
	}
	for _, name := range []string{"echo.json", "error_responses.json"} {
		for _, c := range readVectors(f, name).Cases {
			f.Add(c.document())
		}
	}
}

// fuzzRequest holds one decoder to its promise: a request that can be acted on, or an error that can be answered with.
func fuzzRequest(f *testing.F, decode func(Family, []byte) (Header, error)) {
	seed(f)
	f.Fuzz(func(t *testing.T, document []byte) {
		for _, family := range []Family{Object, Flat} {
			h, err := decode(family, document)
			if err == nil {
				if !h.RequestID.Valid() || h.Content == ([32]byte{}) {
					t.Fatalf("taken with request id %q", h.RequestID)
				}
				continue
			}
			var e *Error
			if !errors.As(err, &e) || e.Code.HTTP() == 0 {
				t.Fatalf("got %v, want an error with a code", err)
			}
			answer, readable := DecodeErrorResponse(family.EncodeError(time.UnixMilli(0), e))
			if !readable || answer.Code != e.Code {
				t.Fatalf("the answer to %v reads as %q", e, answer.Code)
			}
		}
	})
}

func FuzzDecodeResult(f *testing.F) { fuzzRequest(f, resultMethod.request) }

func FuzzDecodeReversal(f *testing.F) {
	fuzzRequest(f, func(family Family, document []byte) (Header, error) {
		n, err := family.DecodeReversal(document)
		if err == nil && (n.Micros <= 0 || n.Raw.Code == "" || n.Account == "") {
			return Header{}, nil
		}
		return n.Header, err
	})
}

func FuzzDecodeEcho(f *testing.F) {
	fuzzRequest(f, func(family Family, document []byte) (Header, error) {
		e, err := family.DecodeEcho(document)
		return e.Header, err
	})
}

func FuzzDecodeRefundResponse(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, document []byte) {
		_, object := Object.DecodeRefundResponse(document)
		_, flat := Flat.DecodeRefundResponse(document)
		if object == nil && flat == nil {
			t.Fatal("one document acknowledges in both families")
		}
	})
}

func FuzzDecodeErrorResponse(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, document []byte) {
		e, readable := DecodeErrorResponse(document)
		if readable && e.Code != "" && e.Code.HTTP() == 0 {
			t.Fatalf("got unpublished code %q", e.Code)
		}
	})
}

package stream

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"refundworker/schemas"
)

// Letter is a message that was not accepted, and why.
type Letter struct {
	Provider schemas.ProviderName
	Subject  string
	Body     []byte
	Header   nats.Header
	// Stream and Seq are where it was.
	Stream string
	Seq    uint64
	Reason schemas.Reason
	Detail string
	At     time.Time
}

const (
	// deadBodyMax is how much of a body a dead letter keeps; of a longer one, the head.
	deadBodyMax   = 512 << 10
	deadHeaderMax = 16 << 10
	deadDetailMax = 4 << 10
)

// Message is the dead letter: it keeps what was not accepted, and where it came from.
func (l Letter) Message(subjects schemas.Subjects) *nats.Msg {
	msg := &nats.Msg{Subject: subjects.Dead(l.Provider), Data: l.Body, Header: nats.Header{}}
	if headerSize(l.Header) <= deadHeaderMax {
		msg.Header = ownHeaders(l.Header)
		if id := l.Header.Get(schemas.HeaderMsgID); id != "" {
			msg.Header.Set(schemas.HeaderDeadMsgID, id)
		}
	} else {
		msg.Header.Set(schemas.HeaderDeadOmitted, "headers")
	}
	if len(l.Body) > deadBodyMax {
		sum := sha256.Sum256(l.Body)
		msg.Data = l.Body[:deadBodyMax]
		msg.Header.Set(schemas.HeaderDeadBodyHash, hex.EncodeToString(sum[:]))
		msg.Header.Set(schemas.HeaderDeadBodySize, strconv.Itoa(len(l.Body)))
	}
	detail := strings.NewReplacer("\r", " ", "\n", " ").Replace(l.Detail)
	if len(detail) > deadDetailMax {
		detail = detail[:deadDetailMax]
	}
	msg.Header.Set(schemas.HeaderMsgID, fmt.Sprintf("dead-%s-%d", l.Stream, l.Seq))
	msg.Header.Set(schemas.HeaderDeadSubject, l.Subject)
	msg.Header.Set(schemas.HeaderDeadStream, l.Stream)
	msg.Header.Set(schemas.HeaderDeadSequence, strconv.FormatUint(l.Seq, 10))
	msg.Header.Set(schemas.HeaderDeadReason, string(l.Reason))
	msg.Header.Set(schemas.HeaderDeadDetail, detail)
	msg.Header.Set(schemas.HeaderDeadAt, l.At.UTC().Format(time.RFC3339Nano))
	return msg
}

func headerSize(h nats.Header) int {
	n := 0
	for name, values := range h {
		for _, v := range values {
			n += len(name) + len(v) + 4
		}
	}
	return n
}

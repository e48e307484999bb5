package simulator

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// TypeGoogle is the provider type of Google's integrators in faults, in the ledger and in control paths.
const TypeGoogle = "google"

const opEcho = "echo"

// googleSkew is how far a request's timestamp may be from now, either way.
const googleSkew = 60 * time.Second

// Google is the Google side of a Server: an integrator that Google would call.
type Google struct {
	core *core

	mu    sync.Mutex
	seals map[string]googleSeal
	book  *googleBook
}

func newGoogle(c *core) *Google { return &Google{core: c, book: newGoogleBook()} }

func (g *Google) forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seals, g.book = nil, newGoogleBook()
}

// mount adds the paths. The reference names the redirect method's resource in two ways, so it has two paths.
func (g *Google) mount(mux *http.ServeMux) {
	redirect := g.handler(opRefund, func(raw []byte) (googleRequest, *googleRefusal) {
		return readGoogleRefund(raw, objectFamily)
	})
	card := g.handler(opRefund, func(raw []byte) (googleRequest, *googleRefusal) {
		return readGoogleRefund(raw, flatFamily)
	})
	mux.HandleFunc("POST /google/v1/payment-integrator-redirect/asynchronousRefund", redirect)
	mux.HandleFunc("POST /google/redirect-fop-v1/asynchronousRefund", redirect)
	mux.HandleFunc("POST /google/v1/payment-integrator-card-fop-api/asynchronousRefund", card)
	mux.HandleFunc("POST /google/v1/echo", g.handler(opEcho, readGoogleEcho))
}

func (g *Google) handler(operation string, read func([]byte) (googleRequest, *googleRefusal)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			reply{status: http.StatusRequestEntityTooLarge, contentType: contentText}.write(w)
			return
		}
		if err != nil {
			hangUp()
		}
		message := g.open(r.Header.Get("Content-Type"), body)
		request, refused := read(message.document)
		about := call{provider: TypeGoogle, operation: operation, reference: request.capture}
		g.core.serve(w, r, about, func(refuse string) reply {
			if refuse != "" && refused == nil {
				refused = &googleRefusal{code: refuse, detail: "refused by a scripted fault"}
			}
			return g.answer(r.Context(), googleCall{operation, message, request, refused})
		})
	}
}

// googleCall is one call: the message out of its envelope, what it asks for and why that is refused, if it is.
type googleCall struct {
	operation string
	message   openedMessage
	request   googleRequest
	refused   *googleRefusal
}

// answer looks at who asks before it says anything, then does what is asked.
func (g *Google) answer(ctx context.Context, c googleCall) reply {
	seal, fits := c.message.sealFor(c.request.account)
	if seal == nil {
		return refusedNobody
	}
	now := g.core.clock()
	document, refused := []byte(nil), c.refused
	switch {
	case refused != nil:
	case !c.request.sentNear(now):
		refused = refusedClock
	case !fits:
		return refusedNobody
	case c.operation == opEcho:
		document = echoAnswer(c.request, now)
	default:
		var first *googleStory
		if first, refused = g.refund(c.request); refused == nil {
			first.overtake(ctx)
			document = acknowledgement(c.request.family, now)
		}
	}
	status := http.StatusOK
	if refused != nil {
		status, document = googleStatuses[refused.code], refused.document(c.request.family, now)
	}
	body, err := seal.seal(document)
	if err != nil {
		hangUp()
	}
	return reply{status: status, contentType: seal.contentType(), body: body}
}

// sentNear reports whether the request's timestamp is near enough to now. It is asked before anything is
// looked up, so that a message caught on the way cannot be played again later to learn what came of it.
func (r googleRequest) sentNear(now time.Time) bool {
	return r.sentMillis >= now.Add(-googleSkew).UnixMilli() && r.sentMillis <= now.Add(googleSkew).UnixMilli()
}

// refund takes a refund on and decides what becomes of it. The answer leaves only after both are on record. The
// returned story is the one that is to overtake the answer, nil in all other cases.
func (g *Google) refund(r googleRequest) (first *googleStory, refused *googleRefusal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	refund, isNew, refused := g.book.take(r)
	if refused != nil {
		g.core.refuse(call{TypeGoogle, opRefund, r.capture}, refused.code)
	}
	if refused != nil || !isNew {
		return nil, refused
	}
	rule, told := g.core.notices.match(noticeSubject{TypeGoogle, r.family.api(), r.capture, r.requestID})
	switch {
	case rule.succeeds():
		g.core.ledger.add(refund.movement(MovementRefund, refund.amount, g.core.clock()))
	case rule.Result != ResultNone:
		g.book.release(refund)
	}
	if !told || rule.Result == ResultNone {
		return nil, nil
	}
	story := &googleStory{google: g, refund: refund, rule: rule, reported: make(chan struct{})}
	g.core.notices.tell(story.tell)
	if !rule.Before {
		return nil, nil
	}
	return story, nil
}

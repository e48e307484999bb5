package simulator

import (
	"context"
	"net/http"
	"time"
)

// Options configure a Server. The zero value is ready to use.
type Options struct {
	// Clock tells the time for timestamps in answers and in the ledger. Nil means time.Now.
	Clock func() time.Time
}

// Server plays the providers. Use New. It is safe for concurrent use. It starts goroutines only to send what
// notices ask for; Close stops them. Waits made by faults end with the request's context.
type Server struct {
	// BBMSL is the BBMSL side: its payments, keys and balance.
	BBMSL *BBMSL
	// Google is the side of Google's integrators: their payments and keys.
	Google *Google
	// Craftgate is the Craftgate side: its payments and keys.
	Craftgate *Craftgate

	core      *core
	documents map[string]document
	mux       *http.ServeMux
}

// core is what all protocols share.
type core struct {
	clock    func() time.Time
	ledger   record[Movement]
	refusals record[Refusal]
	faults   faults
	notices  *notices
}

// refuse notes that a protocol's rule refused a call.
func (c *core) refuse(about call, code string) {
	c.refusals.add(Refusal{Type: about.provider, Operation: about.operation, Reference: about.reference, Code: code,
		At: c.clock().UTC()})
}

// New returns a server that knows no merchants and no payments.
func New(options Options) *Server {
	if options.Clock == nil {
		options.Clock = time.Now
	}
	c := &core{clock: options.Clock, notices: newNotices(options.Clock)}
	s := &Server{core: c, BBMSL: newBBMSL(c), Google: newGoogle(c), Craftgate: newCraftgate(c), mux: http.NewServeMux()}
	s.documents = map[string]document{
		"faults":                    s.takeFaults,
		"notices":                   s.takeNotices,
		"keys/" + TypeBBMSL:         s.BBMSL.takeKeys,
		"payments/" + TypeBBMSL:     s.BBMSL.takePayments,
		"open/" + TypeBBMSL:         s.BBMSL.takeOpen,
		"balance/" + TypeBBMSL:      s.BBMSL.takeBalance,
		"keys/" + TypeGoogle:        s.Google.takeKeys,
		"payments/" + TypeGoogle:    s.Google.takePayments,
		"open/" + TypeGoogle:        s.Google.takeOpen,
		"keys/" + TypeCraftgate:     s.Craftgate.takeKeys,
		"payments/" + TypeCraftgate: s.Craftgate.takePayments,
		"open/" + TypeCraftgate:     s.Craftgate.takeOpen,
	}
	s.mountControl()
	s.BBMSL.mount(s.mux)
	s.Google.mount(s.mux)
	s.Craftgate.mount(s.mux)
	return s
}

// ServeHTTP answers provider calls and control calls.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// SetFaults replaces the list of faults; counters start anew.
func (s *Server) SetFaults(list []Fault) error { return s.setFaults(list).err() }

// SetNotices replaces the rules for refunds that are taken on from now on; what is being sent goes on.
func (s *Server) SetNotices(list []Notice) error { return s.setNotices(list).err() }

// Notices returns what was sent so far, oldest first.
func (s *Server) Notices() []SentNotice { return s.core.notices.all() }

// Settled waits until nothing is left to send.
func (s *Server) Settled(ctx context.Context) error { return s.core.notices.settled(ctx) }

// Close stops sending and waits until it has stopped. The server goes on to answer, but sends nothing more.
func (s *Server) Close() { s.core.notices.stop(true) }

// Ledger returns every movement of money so far, oldest first.
func (s *Server) Ledger() []Movement { return s.core.ledger.all() }

// Refusals returns every call so far that a protocol's rule refused, oldest first.
func (s *Server) Refusals() []Refusal { return s.core.refusals.all() }

// Forget drops everything: merchants, payments, balance, faults, notices, the ledger and the refusals.
func (s *Server) Forget() {
	s.core.faults.set(nil)
	s.core.notices.set(nil)
	// Payments go before the ledger: a refund that runs meanwhile either finds no payment or is in the
	// ledger that is about to be dropped, so no line outlives its payment.
	s.BBMSL.forget()
	s.Google.forget()
	s.Craftgate.forget()
	// What is still being sent can add a reversal until it has stopped.
	s.core.notices.forget()
	s.core.ledger.forget()
	s.core.refusals.forget()
}

package simulator

import (
	"net/http"
	"time"
)

// Options configure a Server. The zero value is ready to use.
type Options struct {
	// Clock tells the time for timestamps in answers and in the ledger. Nil means time.Now.
	Clock func() time.Time
}

// Server plays the providers. Use New. It is safe for concurrent use and starts no goroutines: waits made
// by faults end with the request's context.
type Server struct {
	// BBMSL is the BBMSL side: its payments, keys and balance.
	BBMSL *BBMSL

	core      *core
	documents map[string]document
	mux       *http.ServeMux
}

// core is what all protocols share.
type core struct {
	clock  func() time.Time
	ledger ledger
	faults faults
}

// New returns a server that knows no merchants and no payments.
func New(options Options) *Server {
	if options.Clock == nil {
		options.Clock = time.Now
	}
	c := &core{clock: options.Clock}
	s := &Server{core: c, BBMSL: newBBMSL(c), mux: http.NewServeMux()}
	s.documents = map[string]document{
		"faults":                s.takeFaults,
		"keys/" + TypeBBMSL:     s.BBMSL.takeKeys,
		"payments/" + TypeBBMSL: s.BBMSL.takePayments,
		"open/" + TypeBBMSL:     s.BBMSL.takeOpen,
		"balance/" + TypeBBMSL:  s.BBMSL.takeBalance,
	}
	s.mountControl()
	s.BBMSL.mount(s.mux)
	return s
}

// ServeHTTP answers provider calls and control calls.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// SetFaults replaces the list of faults; counters start anew.
func (s *Server) SetFaults(list []Fault) error { return s.setFaults(list).err() }

// Ledger returns every movement of money so far, oldest first.
func (s *Server) Ledger() []Movement { return s.core.ledger.all() }

// Forget drops everything: merchants, payments, balance, faults and the ledger.
func (s *Server) Forget() {
	s.core.faults.set(nil)
	// Payments go before the ledger: a refund that runs meanwhile either finds no payment or is in the
	// ledger that is about to be dropped, so no line outlives its payment.
	s.BBMSL.forget()
	s.core.ledger.forget()
}

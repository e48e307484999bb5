package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"runtime"
	"strings"
	"time"

	"refundworker/providers/google/wire"
)

// Handler hosts the methods for all accounts. It is safe for concurrent use.
type Handler struct {
	cfg      Config
	accounts map[accountKey]Account
	mux      *http.ServeMux
	// opening holds a place for each message that is being opened.
	opening chan struct{}
}

// opened is how many messages are opened at once. Whoever may knock can make the keys work, and behind an address
// that verifies nobody is barred: more would only take the processors from the refunds.
func opened() int { return 2 * runtime.GOMAXPROCS(0) }

// New returns a handler, or every problem of its settings.
func New(cfg Config) (*Handler, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("google host settings: %w", err)
	}
	h := &Handler{cfg: cfg, accounts: map[accountKey]Account{}, mux: http.NewServeMux(), opening: make(chan struct{}, opened())}
	for _, a := range cfg.Accounts {
		h.accounts[a.key()] = a
	}
	h.Mount(h.mux)
	return h, nil
}

// Mount adds the handler's paths to a mux that serves others too.
func (h *Handler) Mount(mux *http.ServeMux) {
	for _, rt := range routes {
		mux.HandleFunc(rt.pattern, func(w http.ResponseWriter, r *http.Request) { h.serve(rt, w, r) })
	}
}

// ServeHTTP answers a request to any of the handler's paths.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.mux.ServeHTTP(w, r) }

// maxBody bounds a sealed request. The documents are a few hundred bytes.
const maxBody = 256 << 10

// serve answers one request. What costs nothing is checked first; from the body on, nothing that a stranger could
// measure depends on the account.
func (h *Handler) serve(rt route, w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		h.empty(w, rt, outcome{http.StatusMethodNotAllowed, ResultUnreadable})
		return
	}
	if h.cfg.Strangers.Barred(r) {
		h.empty(w, rt, outcome{http.StatusTooManyRequests, ResultBarred})
		return
	}
	message, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		status := http.StatusBadRequest
		if _, tooLong := errors.AsType[*http.MaxBytesError](err); tooLong {
			status = http.StatusRequestEntityTooLarge
		}
		h.cfg.Strangers.Failed(r)
		h.empty(w, rt, outcome{status, ResultUnreadable})
		return
	}
	// Counted from the end of the body: a sender who dawdles would otherwise use the floor up.
	floor := time.NewTimer(h.cfg.Floor)
	defer floor.Stop()
	ctx, cancel := context.WithTimeout(r.Context(), h.cfg.Timeout)
	defer cancel()
	c := &call{Handler: h, route: rt, piaid: r.PathValue("piaid"), now: h.cfg.Clock()}
	err = c.open(ctx, r.Header.Get("Content-Type"), message)
	if errors.Is(err, errNoTurn) {
		h.unable(ctx, w, c, err)
		return
	}
	if err != nil {
		h.refuseStranger(w, r, c, strangerAnswer{floor.C, err})
		return
	}
	document, err := rt.handle(c, ctx)
	if c.verified {
		h.cfg.Strangers.Verified(r)
	}
	if errors.Is(err, errOtherAccount) {
		h.refuseStranger(w, r, c, strangerAnswer{floor.C, err})
		return
	}
	h.answer(ctx, w, c, reply{document, err})
}

// call is one verified request in hand.
type call struct {
	*Handler
	route    route
	piaid    string
	account  Account
	document []byte
	now      time.Time
	// verified: the sender holds a key of the account, and the message is no old one that was caught.
	verified bool
	repeated bool
}

var (
	errUnknownAccount = errors.New("unknown account")
	errOtherAccount   = errors.New("the document names another account")
	errContentType    = errors.New("unexpected content type")
	errNoTurn         = errors.New("too many messages are being opened")
)

// open unseals the message as soon as a place is free. Known and unknown accounts stand in one line.
func (c *call) open(ctx context.Context, contentType string, message []byte) error {
	select {
	case c.opening <- struct{}{}:
	case <-ctx.Done():
		return errNoTurn
	}
	defer func() { <-c.opening }()
	return c.unseal(contentType, message)
}

// unseal opens the message with the keys of the account in the path. For an account that is not known, another's keys
// do the same work.
func (c *call) unseal(contentType string, message []byte) error {
	account, known := c.accounts[accountKey{c.route.api, c.piaid}]
	c.account = account
	if !known {
		c.account = c.cfg.Accounts[0]
	}
	typeErr := checkContentType(contentType, c.account.Seal.ContentType())
	document, err := c.account.Seal.Open(message)
	if !known {
		return errUnknownAccount
	}
	c.document = document
	return errors.Join(typeErr, err)
}

func checkContentType(got, want string) error {
	wantType, _, _ := mime.ParseMediaType(want)
	gotType, params, err := mime.ParseMediaType(got)
	if charset, named := params["charset"]; err != nil || gotType != wantType || named && !strings.EqualFold(charset, "utf-8") {
		return errContentType
	}
	return nil
}

// strangerAnswer is when a stranger gets its answer, and why, which only the log learns.
type strangerAnswer struct {
	floor <-chan time.Time
	why   error
}

// refuseStranger gives the one answer that tells nothing.
func (h *Handler) refuseStranger(w http.ResponseWriter, r *http.Request, c *call, a strangerAnswer) {
	h.cfg.Strangers.Failed(r)
	h.cfg.Log.WarnContext(r.Context(), "request not verified", "method", c.route.method, "api", c.route.api, "error", a.why)
	select {
	case <-a.floor:
	case <-r.Context().Done():
	}
	h.empty(w, c.route, outcome{http.StatusNotFound, ResultUnverified})
}

// outcome is the end of a request: its status, and what Observe is told.
type outcome struct {
	status int
	result string
}

func (h *Handler) empty(w http.ResponseWriter, rt route, o outcome) {
	w.WriteHeader(o.status)
	h.cfg.Observe(rt.method, o.result)
}

// reply is what a method makes of a request: a document, or why there is none.
type reply struct {
	document []byte
	err      error
}

// answer seals what a method says: a document, an error of the protocol, or nothing when we are not able to tell.
func (h *Handler) answer(ctx context.Context, w http.ResponseWriter, c *call, re reply) {
	o := outcome{http.StatusOK, ResultAccepted}
	if c.repeated {
		o.result = ResultRepeated
	}
	refusal, refused := errors.AsType[*wire.Error](re.err)
	switch {
	case refused:
		re.document = c.route.family.EncodeError(c.now, refusal)
		o = outcome{refusal.Code.HTTP(), ResultRefused}
		if refusal.Code == wire.IdempotencyViolation {
			o.result = ResultConflict
		}
		h.cfg.Log.WarnContext(ctx, "report refused", "method", c.route.method, "provider", string(c.account.Provider),
			"code", string(refusal.Code), "field", refusal.Field)
	case re.err != nil:
		h.unable(ctx, w, c, re.err)
		return
	}
	message, err := c.account.Seal.Seal(re.document)
	if err != nil {
		h.unable(ctx, w, c, err)
		return
	}
	w.Header().Set("Content-Type", c.account.Seal.ContentType())
	w.WriteHeader(o.status)
	_, _ = w.Write(message) // a sender who has gone asks again
	h.cfg.Observe(c.route.method, o.result)
}

// unable has the sender come again.
func (h *Handler) unable(ctx context.Context, w http.ResponseWriter, c *call, err error) {
	h.cfg.Log.ErrorContext(ctx, "request not answered", "method", c.route.method, "provider", string(c.account.Provider), "error", err)
	h.empty(w, c.route, outcome{http.StatusServiceUnavailable, ResultUnavailable})
}

package simulator

import (
	"context"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Pauses between the tries of one notice: doubled from the first to the longest. They are far shorter than a
// real provider's, because somebody waits for them.
const (
	firstPause   = 50 * time.Millisecond
	longestPause = 10 * time.Second
)

// answerTimeout is how long a try waits for its answer.
const answerTimeout = 10 * time.Second

// sendersAtOnce bounds the connections to the targets.
const sendersAtOnce = 64

// NoticeState says how far a notice has come.
type NoticeState string

// States of notices. Only a sending notice is tried again.
const (
	NoticeSending  NoticeState = "sending"
	NoticeAccepted NoticeState = "accepted"
	NoticeStopped  NoticeState = "stopped"
)

// SentNotice is a notice as it is listed: what was sent and what came back last.
type SentNotice struct {
	Type string `json:"type"`
	// Reference is the payment's and Refund the request's id.
	Reference string `json:"reference"`
	Refund    string `json:"refund"`
	// Method is the protocol's name of the call, ID the notice's own and Says its result or amount.
	Method string `json:"method"`
	ID     string `json:"id"`
	Says   string `json:"says"`
	URL    string `json:"url"`
	// Tries counts the attempts, and Status is the HTTP status of the last answer, 0 where there was none.
	Tries  int         `json:"tries"`
	Status int         `json:"status"`
	State  NoticeState `json:"state"`
	// Problem says why a notice could not be built.
	Problem string `json:"problem,omitempty"`
	// At is the time of the last try.
	At time.Time `json:"at"`
}

// verdict is what a sender makes of an answer.
type verdict int

const (
	// sendAgain is the verdict on no answer, too.
	sendAgain verdict = iota
	sendDone
	sendStop
)

// outgoing is one message that a provider sends by itself.
type outgoing interface {
	// about describes the message for the listing.
	about() SentNotice
	// request builds one try: the same content, with a time and a seal of its own.
	request(now time.Time) (*http.Request, error)
	// judge reads an answer; status 0 is no answer.
	judge(status int, body []byte) verdict
}

// notices holds the rules in force and sends what they ask for. Each refund's notices are one story, told by a
// goroutine of its own that ends with stop.
type notices struct {
	clock  func() time.Time
	client *http.Client
	slots  chan struct{}

	mu      sync.Mutex
	rules   []Notice
	sent    []*SentNotice
	stories *stories
	closed  bool
}

// stories are those that end together. The owner of notices locks.
type stories struct {
	ctx    context.Context
	cancel context.CancelFunc
	// running are the stories being told; idle is closed while there are none.
	running int
	idle    chan struct{}
}

func newStories() *stories {
	s := &stories{idle: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	close(s.idle)
	return s
}

func newNotices(clock func() time.Time) *notices {
	return &notices{clock: clock, slots: make(chan struct{}, sendersAtOnce), stories: newStories(),
		// An own transport, so that its connections can be closed with the server.
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: sendersAtOnce}, Timeout: answerTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

func (n *notices) set(list []Notice) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rules = slices.Clone(list)
}

// match returns the rule for a refund.
func (n *notices) match(about noticeSubject) (Notice, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	i := slices.IndexFunc(n.rules, func(rule Notice) bool { return rule.matches(about) })
	if i < 0 {
		return Notice{}, false
	}
	return n.rules[i], true
}

// tell starts a story. After the stop for good it does nothing. It is called before the call that led to it is
// answered, so whoever has the answer finds the story in settled, too.
func (n *notices) tell(story func(ctx context.Context)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return
	}
	s := n.stories
	if s.running == 0 {
		s.idle = make(chan struct{})
	}
	s.running++
	go func() {
		defer n.ended(s)
		story(s.ctx)
	}()
}

func (n *notices) ended(s *stories) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if s.running--; s.running == 0 {
		close(s.idle)
	}
}

// settled waits until no story is being told.
func (n *notices) settled(ctx context.Context) error {
	n.mu.Lock()
	idle := n.stories.idle
	n.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stop ends all stories and waits for them. Unless it is for good, later refunds can have new ones.
func (n *notices) stop(forGood bool) {
	n.mu.Lock()
	stopped := n.stories
	n.stories, n.closed = newStories(), n.closed || forGood
	stopped.cancel()
	idle := stopped.idle
	n.mu.Unlock()
	<-idle
	n.client.CloseIdleConnections()
}

// forget drops stories and the listing.
func (n *notices) forget() {
	n.stop(false)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sent = nil
}

// deliver sends a message until its receiver accepts it or turns it down for good, and reports which.
func (n *notices) deliver(ctx context.Context, m outgoing) bool {
	line := n.list(m.about())
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		if !n.takeSlot(ctx) {
			return false
		}
		found := n.try(ctx, m, line)
		<-n.slots
		switch {
		case found == sendDone:
			return true
		case found == sendStop || !wait(ctx, pause):
			return false
		}
	}
}

func (n *notices) takeSlot(ctx context.Context) bool {
	select {
	case n.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// try sends a message once.
func (n *notices) try(ctx context.Context, m outgoing, line *SentNotice) verdict {
	now := n.clock()
	r, err := m.request(now)
	if err != nil {
		n.update(func() { line.State, line.Problem, line.At = NoticeStopped, err.Error(), now.UTC() })
		return sendStop
	}
	status, body := n.exchange(r.WithContext(ctx))
	found := m.judge(status, body)
	n.update(func() {
		line.Tries++
		line.Status, line.At = status, now.UTC()
		switch found {
		case sendDone:
			line.State = NoticeAccepted
		case sendStop:
			line.State = NoticeStopped
		}
	})
	return found
}

// exchange sends a request and reads the answer; a status of 0 says that there was none to its end.
func (n *notices) exchange(r *http.Request) (status int, body []byte) {
	response, err := n.client.Do(r)
	if err != nil {
		return 0, nil
	}
	defer response.Body.Close()
	body, err = io.ReadAll(io.LimitReader(response.Body, maxRequest))
	if err != nil {
		return 0, nil
	}
	return response.StatusCode, body
}

func (n *notices) list(line SentNotice) *SentNotice {
	line.State = NoticeSending
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sent = append(n.sent, &line)
	return &line
}

// update changes a listed notice.
func (n *notices) update(change func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change()
}

func (n *notices) all() []SentNotice {
	n.mu.Lock()
	defer n.mu.Unlock()
	lines := make([]SentNotice, len(n.sent))
	for i, line := range n.sent {
		lines[i] = *line
	}
	return lines
}

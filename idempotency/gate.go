package idempotency

import (
	"slices"
	"sync"
	"time"
)

// Reason says why claims are not answered, or cannot be answered from the projection. The values are a closed list; the empty
// one means ready.
type Reason string

// Reasons.
const (
	Ready    Reason = ""
	Starting Reason = "starting"
	// RedisUnreachable: no answer within two seconds, or one that says that there will be none for now.
	RedisUnreachable Reason = "redis_unreachable"
	// RedisReadOnly: Redis says that it takes no write.
	RedisReadOnly Reason = "redis_read_only"
	// RedisRefuses: Redis answers a read with an error, such as a missing permission.
	RedisRefuses Reason = "redis_refuses"
	RedisClock   Reason = "redis_clock"
	// NATSClock: the journal's server has another time than this worker.
	NATSClock          Reason = "nats_clock"
	RedisEvicts        Reason = "redis_evicts"
	JournalUnreachable Reason = "journal_unreachable"
	// JournalSuspect: the stream looks like another one, or like one that lost events. If that lasts, the worker stops.
	JournalSuspect Reason = "journal_suspect"
	// JournalRefuses: the stream does not store events now.
	JournalRefuses Reason = "journal_refuses"
	// StreamsChanged: a setting that the guarantees rest on was changed while the worker ran.
	StreamsChanged Reason = "streams_changed"
	// Stopped is for good: this process must not go on.
	Stopped Reason = "stopped"

	// ProjectionMissing, ProjectionBehind and ProjectionLags, and Starting until what the journal had at first is applied, close
	// nothing: work goes on from the journal. What cannot be had meanwhile is a payment's verdict.
	ProjectionMissing Reason = "projection_missing"
	ProjectionBehind  Reason = "projection_behind"
	ProjectionLags    Reason = "projection_lags"
)

// Reasons lists every reason but Ready.
var Reasons = []Reason{Starting, RedisUnreachable, RedisReadOnly, RedisRefuses, RedisClock, NATSClock, RedisEvicts, ProjectionMissing,
	ProjectionBehind, ProjectionLags, JournalUnreachable, JournalSuspect, JournalRefuses, StreamsChanged, Stopped}

// Gate is what one worker knows about the journal and its projection, refreshed every second whether or not
// there is work. While it is Closed, no claim is answered. It is safe for concurrent use.
type Gate struct {
	cfg Config

	mu       sync.Mutex
	reason   Reason
	unready  Reason   // why the projection cannot be relied on
	words    string   // what the server said for the reason, if it is the server's
	floor    []uint64 // by partition, the highest position seen
	applied  uint64   // the lowest position of all partitions at the last look
	highest  uint64   // the highest stream sequence known
	start    uint64   // what must be applied before the first claim
	started  bool
	marks    []mark // sequences known and not yet applied, oldest first
	journal  time.Time
	redis    time.Time
	lastTime time.Time     // Redis's clock at the last look
	apart    time.Duration // how far ahead the journal's clock was at the last look
	ahead    time.Time     // when a message from the future was last delivered
	changed  chan struct{}

	oldest   oldest    // the oldest event at the last look
	compared time.Time // when the stream was last found to be what Redis says
	trusted  uint64    // the connection over which that was
	suspect  bool      // the stream may not be the right one
	unfit    bool      // a stream's settings are not what they must be
	refused  time.Time // when an event was last refused
}

type mark struct {
	seq   uint64
	known time.Time
}

func newGate(cfg Config) *Gate {
	return &Gate{cfg: cfg, reason: Starting, floor: make([]uint64, cfg.Partitions), changed: make(chan struct{})}
}

// Closed is why claims are not answered now, or Ready.
func (g *Gate) Closed() Reason {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closed(time.Now())
}

// Reason is why the gate is Closed, or why the projection cannot be relied on, or Ready.
func (g *Gate) Reason() Reason {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.current(time.Now())
}

// Why is the Reason and, where a server gave it, what the server said.
func (g *Gate) Why() (Reason, string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.current(time.Now())
	if now != g.reason {
		return now, ""
	}
	return now, g.words
}

func (g *Gate) current(now time.Time) Reason {
	if reason := g.closed(now); reason != Ready {
		return reason
	}
	if g.unready == Ready && len(g.marks) > 0 && now.Sub(g.marks[0].known) > g.cfg.LagBound {
		return ProjectionLags
	}
	return g.unready
}

// closed also notices that the last look is too long ago to be trusted.
func (g *Gate) closed(now time.Time) Reason {
	switch {
	case g.reason != Ready:
		return g.reason
	case g.suspect:
		return JournalSuspect
	case g.unfit:
		return StreamsChanged
	case g.apart.Abs() > g.cfg.ClockBound, now.Sub(g.ahead) < aheadFor:
		return NATSClock
	case now.Sub(g.refused) < refusedFor:
		return JournalRefuses
	case now.Sub(g.redis) > g.cfg.LagBound:
		return RedisUnreachable
	case now.Sub(g.journal) > g.cfg.LagBound, now.Sub(g.compared) > g.cfg.LagBound:
		return JournalUnreachable
	}
	return Ready
}

// aheadFor is how long the gate stays closed after a message from the future.
const aheadFor = 5 * time.Second

// Delivered takes in when a server stored a message that was just delivered. Each stream may be led by another server, and one
// whose clock is ahead fires its schedules too soon, again and again.
func (g *Gate) Delivered(stored time.Time) {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	if stored.Sub(now) > g.cfg.ClockBound {
		g.ahead = now
	}
}

// refusedFor is how long the gate stays closed after an event was refused. Then commands try again.
const refusedFor = 5 * time.Second

// Refused records that the stream refused to store an event. It reports whether this is news.
func (g *Gate) Refused() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	news := time.Since(g.refused) >= refusedFor
	g.refused = time.Now()
	return news
}

// TrustStreams says whether the streams are set up as the guarantees need them.
func (g *Gate) TrustStreams(fit bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.unfit = !fit
}

// suspectJournal closes the gate while the stream looks wrong.
func (g *Gate) suspectJournal() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.suspect = true
}

// trustJournal records that the stream behind a connection is what Redis says.
func (g *Gate) trustJournal(now time.Time, connection uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.suspect, g.compared, g.trusted = false, now, connection
}

// Trusts reports whether the stream behind this connection was the last one found to be what Redis says.
func (g *Gate) Trusts(connection uint64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.trusted == connection
}

// Changed returns a channel that is closed at the next change of the reason.
func (g *Gate) Changed() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.changed
}

// Highest is the highest stream sequence this worker knows of. A new event must come after it.
func (g *Gate) Highest() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.highest
}

// Saw records that an event with this sequence is stored.
func (g *Gate) Saw(seq uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.saw(seq, time.Now())
}

func (g *Gate) saw(seq uint64, now time.Time) {
	if seq <= g.highest {
		return
	}
	g.highest = seq
	// One mark a second is enough to bound the lag, and keeps the list short: what comes within the second
	// counts as known since its beginning.
	if n := len(g.marks); n > 0 && now.Sub(g.marks[n-1].known) < time.Second {
		g.marks[n-1].seq = seq
		return
	}
	if seq > g.applied {
		g.marks = append(g.marks, mark{seq: seq, known: now})
	}
}

// Progress is the journal sequence up to which everything was applied, in every partition, when this worker last looked, and the
// number of events known and not yet applied.
func (g *Gate) Progress() (position, lag uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Min(g.floor), g.highest - min(g.applied, g.highest)
}

// Stop closes the gate for good: what is in hand makes no further call.
func (g *Gate) Stop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.set(Stopped, g.unready)
}

// distrust says until the next look that the projection cannot be relied on.
func (g *Gate) distrust() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.unready == Ready {
		g.set(g.reason, ProjectionMissing)
	}
}

func (g *Gate) set(closed, unready Reason) {
	if g.reason != Stopped && (closed != g.reason || unready != g.unready) {
		g.reason, g.unready, g.words = closed, unready, ""
		close(g.changed)
		g.changed = make(chan struct{})
	}
}

// Apart is how far ahead of this worker's clock the journal's was at the last look.
func (g *Gate) Apart() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.apart
}

func (g *Gate) floorOf(partition int) uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.floor[partition]
}

// sawJournal takes in one reading of the stream. It returns a *JournalError when events left it before their time.
func (g *Gate) sawJournal(state JournalState, now time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.oldest.compare(state, now); err != nil {
		return err
	}
	g.oldest = oldest{state.First, state.FirstAt, g.cfg.Retain}
	// After a silence, as at the start: what came meanwhile may have been known to others for long.
	if !g.started || now.Sub(g.journal) > g.cfg.LagBound {
		g.started, g.start = true, state.Last
		g.set(Starting, g.unready)
	}
	g.journal, g.apart = now, 0
	if !state.Clock.IsZero() {
		g.apart = state.Clock.Sub(now)
	}
	g.saw(state.Last, now)
	return nil
}

// sawRedis takes in one reading of Redis and settles whether claims may be answered, and from what.
func (g *Gate) sawRedis(l look) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if l.err == nil {
		g.redis = l.at
	}
	closed := g.judge(l)
	unready := g.unready
	if closed == Ready {
		unready = g.judgeProjection(l)
	}
	g.set(closed, unready)
	g.words = l.words()
}

func (g *Gate) judge(l look) Reason {
	if reason := l.trouble(); reason != Ready {
		return reason
	}
	before := g.lastTime
	g.lastTime = l.redisTime
	switch {
	case l.redisTime.Sub(l.at).Abs() > g.cfg.ClockBound || l.redisTime.Before(before):
		return RedisClock
	case l.evicts:
		return RedisEvicts
	case !g.started:
		return Starting
	}
	return Ready
}

func (g *Gate) judgeProjection(l look) Reason {
	lowest := ^uint64(0)
	for p, pos := range l.positions {
		switch {
		case pos.missing():
			g.applied = 0
			return ProjectionMissing
		case pos.Seq < g.floor[p]:
			return ProjectionBehind
		}
		g.floor[p] = pos.Seq
		g.highest = max(g.highest, pos.Seq)
		lowest = min(lowest, pos.Seq)
	}
	g.applied = lowest
	for len(g.marks) > 0 && g.marks[0].seq <= lowest {
		g.marks = g.marks[1:]
	}
	if lowest < g.start {
		return Starting
	}
	return Ready
}

package idempotency

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"sync/atomic"
	"time"

	"refundworker/idempotency/ledger"
	"refundworker/schemas"

	"github.com/redis/go-redis/v9"
)

// Config says how the projection is kept. The zero value of a field means its default.
type Config struct {
	// Namespace begins every key. Default "refunds".
	Namespace string
	// Partitions spreads the records over hash slots: 1 (default) on a single Redis, more on Redis Cluster.
	// It is part of the namespace, so another number means a rebuild from the journal.
	Partitions int
	// Retain is how long a settled record stays after its outcome. Default 90 days; it should equal the
	// age limit of the journal.
	Retain time.Duration
	// LagBound is how long an event may be known and not yet applied before claims pause. Default 30 s.
	LagBound time.Duration
	// ClockBound is how far Redis's clock may be from the worker's. Default 5 s.
	ClockBound time.Duration
	// Volatile marks a Redis that this process runs itself, in memory: its eviction settings are not asked.
	Volatile bool

	// layout is the version of what is stored. Default: this program's.
	layout int
}

// WithDefaults returns a copy in which every zero field has its default.
func (c Config) WithDefaults() Config {
	if c.Namespace == "" {
		c.Namespace = "refunds"
	}
	if c.Partitions == 0 {
		c.Partitions = 1
	}
	if c.Retain == 0 {
		c.Retain = 90 * 24 * time.Hour
	}
	if c.LagBound == 0 {
		c.LagBound = 30 * time.Second
	}
	if c.ClockBound == 0 {
		c.ClockBound = 5 * time.Second
	}
	if c.layout == 0 {
		c.layout = layout
	}
	return c
}

// Validate reports every problem of the settings.
func (c Config) Validate() error {
	var errs []error
	if c.Partitions < 1 || c.Partitions > 1024 {
		errs = append(errs, fmt.Errorf("partitions is %d, want 1 to 1024", c.Partitions))
	}
	if c.Retain < time.Hour {
		errs = append(errs, fmt.Errorf("retain is %s, want at least an hour", c.Retain))
	}
	if c.LagBound < time.Second || c.LagBound > 2*time.Minute {
		errs = append(errs, fmt.Errorf("lag bound is %s, want 1s to 2m", c.LagBound))
	}
	if c.ClockBound <= 0 {
		errs = append(errs, fmt.Errorf("clock bound is %s, want more than 0", c.ClockBound))
	}
	return errors.Join(errs...)
}

// Store is the projection and the leases in one Redis. It is safe for concurrent use.
type Store struct {
	rdb       redis.UniversalClient
	cfg       Config
	keys      keys
	scripts   *batcher
	positions *positions
	gate      *Gate
	soon      chan struct{}
	waits     *waits

	rebuilds, applied, ignored, foreign atomic.Uint64
}

// New returns a store on rdb. Claims answer NOT_READY until Watch and a projector run. The client must have
// ContextTimeoutEnabled set, so that deadlines hold.
func New(rdb redis.UniversalClient, cfg Config) (*Store, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("idempotency settings: %w", err)
	}
	s := &Store{rdb: rdb, cfg: cfg, keys: cfg.keys(), scripts: newBatcher(rdb), gate: newGate(cfg), soon: make(chan struct{}, 1)}
	s.positions = &positions{rdb: rdb, keys: s.keys, scripts: s.scripts}
	s.waits = newWaits(s.positions, s.gate)
	return s, nil
}

// Close ends the coalescing of scripts. Claims fail afterwards. It does not close the client.
func (s *Store) Close() { s.scripts.close() }

// Gate tells whether claims may be answered, and why not.
func (s *Store) Gate() *Gate { return s.gate }

//go:embed scripts/*.lua
var scriptFiles embed.FS

var (
	claimScript   = loadScript("claim")
	releaseScript = loadScript("release")
	applyScript   = loadScript("apply")
	leadScript    = loadScript("lead")
	moveScript    = loadScript("move")
	intactScript  = loadScript("intact")
	lookScript    = loadScript("look")
	rateScript    = loadScript("rate")
)

func loadScript(name string) *redis.Script {
	src, err := scriptFiles.ReadFile("scripts/" + name + ".lua")
	if err != nil {
		panic(err) // the file is compiled in
	}
	return redis.NewScript(prelude() + string(src))
}

// mayEvict is what scripts are told: whether they must ask if keys were dropped since the position was first stored.
func (s *Store) mayEvict() int {
	if s.cfg.Volatile {
		return 0
	}
	return 1
}

// Stats counts what this process's projector did since it started.
type Stats struct {
	// Applied and Ignored are events; ignored ones were not legal where they stand.
	Applied, Ignored uint64
	// Rebuilds counts how often the projection had to be built or completed from the journal.
	Rebuilds uint64
	// Foreign counts entries of the journal that no worker wrote, each time that they are projected.
	Foreign uint64
}

// Stats returns the counts.
func (s *Store) Stats() Stats {
	return Stats{Applied: s.applied.Load(), Ignored: s.ignored.Load(), Rebuilds: s.rebuilds.Load(), Foreign: s.foreign.Load()}
}

// keys names what is stored. Everything that one script touches shares a partition's hash tag.
type keys struct {
	prefix     string // of every hash tag
	partitions int
}

func (c Config) keys() keys {
	return keys{c.Namespace + "." + strconv.Itoa(c.layout) + "." + strconv.Itoa(c.Partitions), c.Partitions}
}

// tag is the hash tag of a partition.
func (k keys) tag(partition int) string {
	return "{" + k.prefix + ":" + strconv.Itoa(partition) + "}"
}

func (k keys) record(id schemas.RequestID) (key string, partition int) {
	partition = k.partition(string(id))
	return k.tag(partition) + ":r:" + string(id), partition
}

func (k keys) payment(p schemas.ProviderName, reference string) (key string, partition int) {
	sum := sha256.Sum256([]byte(reference))
	hash := base64.RawURLEncoding.EncodeToString(sum[:16])
	partition = k.partition(string(p) + ":" + hash)
	return k.tag(partition) + ":p:" + string(p) + ":" + hash, partition
}

func (k keys) velocity(p schemas.ProviderName) (key string, partition int) {
	partition = k.partition(string(p))
	return k.tag(partition) + ":v:" + string(p), partition
}

// of names what an event changes of a subject.
func (k keys) of(of subject, e ledger.Entry) (key string, partition int) {
	switch of {
	case aPayment:
		return k.payment(e.Event.Provider, e.Event.Payment.Reference)
	case aProvider:
		return k.velocity(e.Event.Provider)
	}
	return k.record(e.Event.RequestID)
}

// open is where a partition's open refunds are listed by when they were begun.
func (k keys) open(partition int) string          { return k.tag(partition) + ":open" }
func (k keys) position(partition int) string      { return k.tag(partition) + ":pos" }
func (k keys) rebuild(partition int) string       { return k.tag(partition) + ":rebuild" }
func (k keys) beat(partition int) string          { return k.tag(partition) + ":beat" }
func (k keys) leader() string                     { return k.tag(0) + ":projector" }
func (k keys) oldest() string                     { return k.tag(0) + ":oldest" }
func (k keys) evicted() string                    { return k.tag(0) + ":evicted" }
func (k keys) rate(p schemas.ProviderName) string { return k.tag(0) + ":rate:" + string(p) }

func (k keys) partition(key string) int {
	h := fnv.New32a()
	h.Write([]byte(key))
	return int(h.Sum32() % uint32(k.partitions))
}

package main

import (
	"cmp"
	"crypto/tls"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"

	"refundworker/consumer"
	"refundworker/idempotency"
	"refundworker/providers"
)

// Defaults of settings that no package below knows.
const (
	defaultNATSListen  = "127.0.0.1:4222"
	defaultAdminListen = "127.0.0.1:8081"
	defaultDataDir     = "refund-data"
)

// settings is all that the program was told, complete and checked.
type settings struct {
	nats   natsSettings
	redis  redisSettings
	worker consumer.Config
	store  idempotency.Config
	// dataDir and natsListen belong to the embedded NATS.
	dataDir, natsListen string
	adminListen         string
	// edge is opened when reports is not empty.
	edge     edgeSettings
	reports  []reports
	logLevel slog.Level
}

// Format keeps secrets out of whatever prints settings: fmt asks no method of what lies in unexported fields.
func (s settings) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "settings of %s worker, providers %v", mode(&s), s.names())
}

// natsSettings say how to join a NATS; without a URL there is none to join. Its fields are exported so that their
// secrets print redacted.
type natsSettings struct {
	// URL may hold a user and password, so it prints redacted.
	URL         providers.Secret
	Credentials providers.Secret
	TLS         *tls.Config
}

// redisSettings say how to join a Redis; without addresses there is none to join. Its fields are exported so that
// their secrets print redacted.
type redisSettings struct {
	// Addresses are host:port. With MasterName they are Sentinels; else two or more are a Redis Cluster.
	Addresses  []string
	MasterName string
	Username   string
	Password   providers.Secret
	Database   int
	TLS        *tls.Config
}

// embedded tells whether this process runs NATS and Redis itself.
func (s *settings) embedded() bool { return s.nats.URL == "" && len(s.redis.Addresses) == 0 }

// settingsError lists every problem of the settings, and what was found wrong on the servers beside.
type settingsError struct {
	problems []string
	servers  error
}

func (e *settingsError) Error() string {
	var b strings.Builder
	if len(e.problems) > 0 {
		b.WriteString("the settings cannot be used:")
	}
	for _, p := range e.problems {
		b.WriteString("\n  " + strings.ReplaceAll(p, "\n", "\n    "))
	}
	if e.servers != nil {
		if b.Len() > 0 {
			b.WriteString("\n")
		}
		b.WriteString(e.servers.Error())
	}
	return b.String()
}

// overrides are the settings that flags and environment can give; a flag wins over the environment, which wins
// over the file.
type overrides struct {
	config, natsURL, redisURL, dataDir, natsListen, adminListen, edgeListen, logLevel string
}

const environmentHelp = `
Environment (flags win over it, it wins over the settings file): REFUND_CONFIG, REFUND_NATS_URL,
REFUND_REDIS_URL, REFUND_DATA_DIR, REFUND_ADMIN_LISTEN, REFUND_EDGE_LISTEN, REFUND_LOG_LEVEL, and the
standard OTEL_*.
`

// bindClient declares the flags of commands that only talk to NATS.
func (o *overrides) bindClient(set *flag.FlagSet) {
	set.StringVar(&o.config, "config", "", "settings `file` (strict JSON)")
	set.StringVar(&o.natsURL, "nats-url", "", "NATS `URL` (default nats://"+defaultNATSListen+")")
}

func (o *overrides) bindServe(set *flag.FlagSet) {
	set.StringVar(&o.config, "config", "", "settings `file` (strict JSON)")
	set.StringVar(&o.natsURL, "nats-url", "", "`URL` of the NATS to join; without it and a Redis, both are embedded")
	set.StringVar(&o.redisURL, "redis-url", "", "`URL` of the Redis to join, redis:// or rediss://")
	set.StringVar(&o.dataDir, "data-dir", "", "`directory` of the embedded NATS's files (default "+defaultDataDir+")")
	set.StringVar(&o.natsListen, "nats-listen", defaultNATSListen, "loopback `address` of the embedded NATS")
	set.StringVar(&o.adminListen, "admin-listen", "", "`address` of /livez, /readyz and /metrics (default "+defaultAdminListen+")")
	set.StringVar(&o.edgeListen, "edge-listen", "", "`address` where providers report results (default "+defaultEdgeListen+
		", only when one of them does)")
	set.StringVar(&o.logLevel, "log-level", "", "debug, info, warn or error (default info)")
}

func (o *overrides) fromEnvironment(getenv func(string) string) {
	for name, field := range map[string]*string{"REFUND_CONFIG": &o.config, "REFUND_NATS_URL": &o.natsURL,
		"REFUND_REDIS_URL": &o.redisURL, "REFUND_DATA_DIR": &o.dataDir, "REFUND_ADMIN_LISTEN": &o.adminListen,
		"REFUND_EDGE_LISTEN": &o.edgeListen, "REFUND_LOG_LEVEL": &o.logLevel} {
		*field = cmp.Or(*field, getenv(name))
	}
}

// load reads the settings of the worker. Its error is a *settingsError with every problem; the settings are then
// as complete as they could be read.
func (o overrides) load(getenv func(string) string) (*settings, error) {
	o.fromEnvironment(getenv)
	s, found := &settings{natsListen: o.natsListen, dataDir: defaultDataDir, adminListen: defaultAdminListen}, &problems{}
	if root := o.file(getenv, found); root != nil {
		s.read(root)
	}
	o.apply(s, found)
	s.check(found)
	if len(*found) > 0 {
		return s, &settingsError{problems: *found}
	}
	return s, nil
}

// loadClient reads only what a client of NATS needs, so that it works where the worker's secrets are not.
func (o overrides) loadClient(getenv func(string) string) (*settings, error) {
	o.fromEnvironment(getenv)
	s, found := &settings{natsListen: defaultNATSListen}, &problems{}
	if root := o.file(getenv, found); root != nil {
		s.readClient(root)
	}
	o.applyNATS(s, found)
	if s.nats.URL == "" {
		s.nats.URL = "nats://" + defaultNATSListen
	}
	if len(*found) > 0 {
		return nil, &settingsError{problems: *found}
	}
	return s, nil
}

// file opens the settings file; nil when none is given or it cannot be read.
func (o overrides) file(getenv func(string) string, found *problems) *object {
	if o.config == "" {
		return nil
	}
	raw, err := os.ReadFile(o.config)
	if err != nil {
		found.add("", "the settings file: %v", err)
		return nil
	}
	if err := checkJSON(raw); err != nil {
		found.add("", "the settings file %s %v", o.config, err)
		return nil
	}
	return newObject("", raw, secrets{getenv: getenv, directory: filepath.Dir(o.config)}, found)
}

// apply puts flags and environment over what the file says.
func (o overrides) apply(s *settings, found *problems) {
	o.applyNATS(s, found)
	if o.redisURL != "" {
		if err := s.redis.fromURL(o.redisURL); err != nil {
			found.add("REFUND_REDIS_URL or --redis-url", "%v", err)
		}
	}
	s.edge.listen = cmp.Or(o.edgeListen, s.edge.listen)
	s.dataDir, s.adminListen = cmp.Or(o.dataDir, s.dataDir), cmp.Or(o.adminListen, s.adminListen)
	if o.logLevel != "" && s.setLogLevel(o.logLevel) != nil {
		found.add("REFUND_LOG_LEVEL or --log-level", "must be one of %s", strings.Join(logLevels, ", "))
	}
}

func (o overrides) applyNATS(s *settings, found *problems) {
	if o.natsURL == "" {
		return
	}
	if err := checkNATSURL(o.natsURL); err != nil {
		found.add("REFUND_NATS_URL or --nats-url", "%v", err)
	}
	s.nats.URL = providers.Secret(o.natsURL)
}

// check judges what can only be judged when everything is known.
func (s *settings) check(found *problems) {
	switch shared := s.nats.URL != ""; {
	case shared && len(s.redis.Addresses) == 0:
		found.add("redis", "a Redis is needed beside a shared NATS (set REFUND_REDIS_URL): with an in-memory Redis in each "+
			"worker there would be two projections and two sets of leases of one journal")
	case !shared && len(s.redis.Addresses) > 0:
		found.add("nats", "a NATS is needed beside a shared Redis (set REFUND_NATS_URL): an embedded journal and its "+
			"projection belong to one process")
	case !shared && s.worker.Replicas > 1:
		found.add("nats.replicas", "must be 1: the embedded NATS is a single server")
	}
	if _, _, err := net.SplitHostPort(s.adminListen); err != nil {
		found.add("admin.listen", "must be host:port")
	}
	if _, _, err := net.SplitHostPort(s.edge.listen); err != nil && s.edge.listen != "" {
		found.add("edge.listen", "must be host:port")
	}
	if !loopback(s.natsListen) {
		found.add("--nats-listen", "must be host:port on a loopback address: the embedded NATS knows no passwords")
	}
	s.store.Retain = s.worker.WithDefaults().Retain
	if len(s.worker.Instances) == 0 {
		found.add("providers", "none is configured; name a settings file with --config or REFUND_CONFIG, such as "+
			`{"providers":[{"name":"try","type":"scripted","scripted":{}}]}`)
	} else {
		found.addAll("", s.worker.WithDefaults().Validate())
		found.addAll("", checkAccounts(s.reports))
	}
	found.addAll("", s.store.WithDefaults().Validate())
}

func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

var logLevels = []string{"debug", "info", "warn", "error"}

func (s *settings) setLogLevel(text string) error {
	if err := s.logLevel.UnmarshalText([]byte(text)); err != nil {
		return fmt.Errorf("log level: %w", err)
	}
	return nil
}

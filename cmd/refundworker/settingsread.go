package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"refundworker/consumer"
	"refundworker/providers"
	"refundworker/schemas"
)

var (
	prefixForm    = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)
	namespaceForm = regexp.MustCompile(`^[A-Za-z0-9_.:-]{1,64}$`)
)

// read takes in the whole settings file.
func (s *settings) read(root *object) {
	s.readPrefix(root)
	if root.text("namespace", &s.store.Namespace) && !namespaceForm.MatchString(s.store.Namespace) {
		root.found.add("namespace", "must be 1 to 64 characters of a-z A-Z 0-9 _ . : -")
	}
	root.duration("accept", &s.worker.Accept)
	root.duration("retain", &s.worker.Retain)
	if o := root.object("nats"); o != nil {
		s.nats.read(o)
		o.integer("replicas", &s.worker.Replicas)
		o.finish()
	}
	if o := root.object("redis"); o != nil {
		s.redis.read(o)
		o.integer("partitions", &s.store.Partitions)
		o.finish()
	}
	if o := root.object("events"); o != nil {
		o.duration("keep", &s.worker.EventsKeep)
		s.worker.EventKinds = o.kinds("kinds")
		o.finish()
	}
	if o := root.object("guard"); o != nil {
		waits := true
		o.flag("sameAmount", &waits)
		s.worker.IgnoreSameAmount = !waits
		o.finish()
	}
	for _, o := range root.objects("providers") {
		in, r := readInstance(o)
		s.worker.Instances = append(s.worker.Instances, in)
		if r != (reports{}) {
			s.reports = append(s.reports, r)
		}
	}
	if o := root.object("edge"); o != nil {
		o.text("listen", &s.edge.listen)
		s.edge.tls = readServerTLS(o.object("tls"))
		o.finish()
	}
	if o := root.object("admin"); o != nil {
		o.text("listen", &s.adminListen)
		o.finish()
	}
	if o := root.object("log"); o != nil {
		var level string
		if o.choice("level", logLevels, &level); level != "" {
			_ = s.setLogLevel(level) // choice has checked it
		}
		o.finish()
	}
	root.finish()
}

// kinds reads a list of kinds of events.
func (o *object) kinds(key string) (kinds []schemas.Kind) {
	var names []string
	o.texts(key, &names)
	for i, name := range names {
		kind := schemas.Kind(name)
		if !slices.Contains(schemas.Kinds, kind) {
			o.found.add(o.at(key)+"["+strconv.Itoa(i)+"]", "must be a kind of event, such as succeeded")
		}
		kinds = append(kinds, kind)
	}
	return kinds
}

// workerSections are the members of the settings that are the worker's alone.
var workerSections = []string{"namespace", "accept", "retain", "redis", "events", "guard", "providers", "edge", "admin", "log"}

// readClient takes in what a client of NATS needs and passes over the sections that are the worker's alone.
func (s *settings) readClient(root *object) {
	s.readPrefix(root)
	if o := root.object("nats"); o != nil {
		s.nats.read(o)
		o.used["replicas"] = true
		o.finish()
	}
	for _, key := range workerSections {
		root.used[key] = true
	}
	root.finish()
}

func (s *settings) readPrefix(root *object) {
	if root.text("prefix", &s.worker.Prefix) && !prefixForm.MatchString(s.worker.Prefix) {
		root.found.add("prefix", "must be subject tokens of a-z A-Z 0-9 _ -, joined by dots")
	}
}

func (n *natsSettings) read(o *object) {
	var reference string
	if o.text("url", &reference) && reference != "" {
		n.readURL(o, reference)
	}
	o.secret("credentials", &n.Credentials)
	n.TLS = readTLS(o.object("tls"))
}

func (n *natsSettings) readURL(o *object, reference string) {
	address := providers.Secret(reference)
	n.URL = address // also when it is refused: it is not missing
	if environmentReference.MatchString(reference) {
		var err error
		if address, err = o.secrets.resolve(reference); err != nil {
			o.found.add(o.at("url"), "%v", err)
			return
		}
	} else if strings.Contains(reference, "@") {
		o.found.add(o.at("url"), "must not hold a user or password; give the whole URL as ${NAME}, or use credentials")
		return
	}
	if err := checkNATSURL(address.Reveal()); err != nil {
		o.found.add(o.at("url"), "%v", err)
	}
	n.URL = address
}

// checkNATSURL judges a list of NATS URLs without ever showing it.
func checkNATSURL(list string) error {
	for _, text := range strings.Split(list, ",") {
		u, err := url.Parse(strings.TrimSpace(text))
		if err != nil || u.Hostname() == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) {
			return errors.New("must be URLs such as nats://host:4222 or tls://host:4222, separated by commas")
		}
	}
	return nil
}

// hosts are the servers of a list of NATS URLs, without users and passwords.
func (n natsSettings) hosts() []string {
	var hosts []string
	for _, text := range strings.Split(n.URL.Reveal(), ",") {
		if u, err := url.Parse(strings.TrimSpace(text)); err == nil {
			hosts = append(hosts, u.Host)
		}
	}
	return hosts
}

func (r *redisSettings) read(o *object) {
	o.texts("addresses", &r.Addresses)
	for i, address := range r.Addresses {
		if host, _, err := net.SplitHostPort(address); err != nil || host == "" || strings.Contains(address, "@") {
			o.found.add(o.at("addresses")+"["+strconv.Itoa(i)+"]", "must be host:port")
		}
	}
	o.text("masterName", &r.MasterName)
	o.text("username", &r.Username)
	o.secret("password", &r.Password)
	r.TLS = readTLS(o.object("tls"))
}

// fromURL takes in redis://user:password@host:port/database; what the URL leaves open stays as it is.
func (r *redisSettings) fromURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.Scheme != "redis" && u.Scheme != "rediss" || u.RawQuery != "" {
		return errors.New("must be a URL such as redis://host:6379 or rediss://user:password@host:6379/0")
	}
	port := u.Port()
	if port == "" {
		port = "6379"
	}
	if path := strings.Trim(u.Path, "/"); path != "" {
		if r.Database, err = strconv.Atoi(path); err != nil || r.Database < 0 {
			return errors.New("must end in a database number, if in anything, such as redis://host:6379/0")
		}
	}
	r.Addresses, r.MasterName = []string{net.JoinHostPort(u.Hostname(), port)}, ""
	if password, ok := u.User.Password(); ok {
		r.Username, r.Password = u.User.Username(), providers.Secret(password)
	}
	if u.Scheme == "rediss" && r.TLS == nil {
		r.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return nil
}

// readTLS reads {"ca","cert","key"}: PEM files, given as PATH, file:PATH or ${NAME}. "ca" may be "system". Nothing
// given means no TLS, unless the URL's scheme asks for it.
func readTLS(o *object) *tls.Config {
	if o == nil {
		return nil
	}
	defer o.finish()
	ca, cert, key := o.pem("ca"), o.pem("cert"), o.pem("key")
	if ca == "" && cert == "" && key == "" {
		return nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" && ca != systemTrust {
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM([]byte(ca.Reveal())) {
			o.found.add(o.at("ca"), "must hold PEM certificates")
		}
	}
	if cert == "" && key == "" {
		return cfg
	}
	pair, err := tls.X509KeyPair([]byte(cert.Reveal()), []byte(key.Reveal()))
	if err != nil {
		o.found.add(o.path, "cert and key must be a PEM certificate and its key")
	}
	cfg.Certificates = []tls.Certificate{pair}
	return cfg
}

// readServerTLS reads {"cert","key"}. Nothing given means plain HTTP.
func readServerTLS(o *object) *tls.Config {
	if o == nil {
		return nil
	}
	defer o.finish()
	cert, key := o.pem("cert"), o.pem("key")
	if cert == "" && key == "" {
		return nil
	}
	pair, err := tls.X509KeyPair([]byte(cert.Reveal()), []byte(key.Reveal()))
	if err != nil {
		o.found.add(o.path, "cert and key must be a PEM certificate and its key")
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
}

// systemTrust, as the ca, means the certificates that the system trusts.
const systemTrust = "system"

func (o *object) pem(key string) providers.Secret {
	var reference string
	if !o.text(key, &reference) || reference == "" {
		return ""
	}
	if key == "ca" && reference == systemTrust {
		return systemTrust
	}
	value, err := o.secrets.resolveFile(reference)
	if err != nil {
		o.found.add(o.at(key), "%v", err)
	}
	return value
}

// readInstance reads one provider. What is not given has its default, because the adapter's HTTP pool is shaped
// by concurrency and timeout.
func readInstance(o *object) (consumer.Instance, reports) {
	defaults := consumer.Config{Instances: []consumer.Instance{{}}}.WithDefaults()
	in := defaults.Instances[0]
	var name, kind string
	o.text("name", &name)
	in.Name = schemas.ProviderName(name)
	o.text("type", &kind)
	o.integer("concurrency", &in.Concurrency)
	o.duration("timeout", &in.Timeout)
	o.integer("maxAttempts", &in.MaxAttempts)
	o.duration("giveUpAfter", &in.GiveUpAfter)
	if b := o.object("backoff"); b != nil {
		b.duration("initial", &in.Backoff.Initial)
		b.duration("max", &in.Backoff.Max)
		b.number("multiplier", &in.Backoff.Multiplier)
		b.number("jitter", &in.Backoff.Jitter)
		b.finish()
	}
	readBrakes(o, &in)
	a := readAdapter(o, kind, providers.HTTPConfig{Timeout: in.Timeout, Concurrency: in.Concurrency})
	in.Provider = a.provider
	o.finish()
	return in, a.reports.named(in.Name)
}

// readLatency reads a duration that may be 0.
func readLatency(o *object, key string, into *time.Duration) {
	var text string
	if !o.text(key, &text) {
		return
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		o.found.add(o.at(key), `must be a duration such as "5ms"`)
		return
	}
	*into = d
}

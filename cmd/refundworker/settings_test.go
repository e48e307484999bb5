package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"refundworker/consumer"
	"refundworker/consumer/brakes"
)

// documented is the settings example of the documentation, with values where that has an ellipsis.
const documented = `{"prefix":"refunds","namespace":"refunds","accept":"720h","retain":"2160h",
 "nats":{"url":"nats://nats-1:4222,nats://nats-2:4222","credentials":"file:worker.creds","tls":{},"replicas":3},
 "redis":{"addresses":["redis-1:6379"],"masterName":"","username":"","password":"${REDIS_PASSWORD}","tls":{},"partitions":1},
 "providers":[{"name":"bbmsl-hk","type":"bbmsl","concurrency":64,"timeout":"20s","maxAttempts":12,
   "backoff":{"initial":"1s","max":"15m","multiplier":2,"jitter":0.5},"rate":{"perSecond":50},"breaker":{},"velocity":[],
   "bbmsl":{"baseURL":"https://payapi.sit.bbmsl.com","merchantId":"700123","privateKey":"file:merchant.pem","model":"hosted","voidUnsettled":true}}],
 "edge":{"listen":":8080","tls":{}},"admin":{"listen":"127.0.0.1:8081"},"log":{"level":"info"}}`

// load reads settings from a file beside worker.creds and merchant.pem.
func load(t *testing.T, text string, env map[string]string, o overrides) (*settings, []string) {
	t.Helper()
	dir := t.TempDir()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"settings.json": text, "worker.creds": "creds-s3cret\n",
		"merchant.pem": encodePEM("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key))}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if o.natsListen == "" {
		o.natsListen = defaultNATSListen
	}
	o.config = filepath.Join(dir, "settings.json")
	s, err := o.load(func(name string) string { return env[name] })
	var list *settingsError
	if err != nil && !errors.As(err, &list) {
		t.Fatalf("load: %v", err)
	}
	if list == nil {
		return s, nil
	}
	return s, list.problems
}

func TestSettingsAsDocumented(t *testing.T) {
	env := map[string]string{"REDIS_PASSWORD": "redis-s3cret"}
	s, got := load(t, documented, env, overrides{})
	if got != nil {
		t.Fatalf("problems are %q, want none", got)
	}
	in := s.worker.Instances[0]
	if in.Provider == nil || in.Provider.Capabilities().DayEnd == nil {
		t.Error("the provider is not a BBMSL adapter")
	}
	in.Provider = nil
	wantIn := consumer.Instance{Name: "bbmsl-hk", Concurrency: 64, Timeout: 20 * time.Second, MaxAttempts: 12, GiveUpAfter: 72 * time.Hour,
		Backoff: consumer.Backoff{Initial: time.Second, Max: 15 * time.Minute, Multiplier: 2, Jitter: 0.5}, PerSecond: 50}
	wantIn.RetryAfterMax = time.Minute
	wantIn.Breaker = brakes.Breaker{Consecutive: 20, Percent: 75, Calls: 20, Interval: 30 * time.Second, Open: 5 * time.Second, Probes: 3}
	if !reflect.DeepEqual(in, wantIn) {
		t.Errorf("provider is %+v, want %+v", in, wantIn)
	}
	if s.nats.Credentials.Reveal() != "creds-s3cret" || s.redis.Password.Reveal() != "redis-s3cret" ||
		s.worker.Replicas != 3 || s.store.Partitions != 1 || s.store.Retain != 2160*time.Hour || s.worker.Accept != 720*time.Hour ||
		s.nats.TLS != nil || s.redis.TLS != nil || s.logLevel != slog.LevelInfo || s.embedded() {
		t.Errorf("settings are %+v", s)
	}
}

func TestSettingsTellEveryProblem(t *testing.T) {
	const text = `{"prefix":"twice","namespace":"{x}","retain":"1h","accept":3,"unknown":1,"prefix":"a b",
"nats":{"url":"http://h","credentials":"s3cret-written-out","tls":{"ca":"missing.pem","cipher":1},"replicas":0},
"redis":{"addresses":["noport"],"password":"${NOT_SET}","partitions":"1"},
"providers":[{"name":"UPPER","type":"bbmsl","timeout":"soon","concurrency":1,"velocity":[{"max":1}],"rate":{"perSecond":0,"perMinute":1},"breaker":{"failures":5},
  "bbmsl":{"baseURL":"http://far.example","privateKey":"file:missing.pem","model":"odd","voidUnsettled":"yes"}},
 {"name":"a","type":"craftgate","craftgate":{"apiKey":"x"}},{"name":"b","type":"other"},{"name":"c","type":"scripted"},
 {"name":"c","type":"scripted","scripted":{"latency":"-1s","outcomes":["odd"]}},
 {"name":"d","type":"cardfop","cardfop":{"baseURL":"https://pay.example.com","account":"A"}},
 {"name":"e","type":"redirectfop","redirectfop":{"baseURL":"https://pay.example.com","account":"A","seal":{"mode":"wax","signingKeys":["s3cret"]}}},
 {"name":"f","type":"cardfop","cardfop":{"baseURL":"http://127.0.0.1:1","account":"B","seal":{"mode":"plain"}}},
 {"name":"h","type":"cardfop","cardfop":{"baseURL":"http://far.example","account":"a/b","seal":{"mode":"plain"}}},
 {"name":"i","type":"cardfop","cardfop":{"baseURL":"http://127.0.0.1:1","account":"C","seal":{"mode":"plain","algorithms":["RS256"]}}},
 {"name":"j","type":"cardfop","cardfop":{"baseURL":"http://127.0.0.1:1","account":"D","seal":{"mode":"jose","algorithms":["none"]}}},
 {"name":"g","type":"cardfop","cardfop":{"baseURL":"http://127.0.0.1:1","account":"B","seal":{"mode":"plain"}}}],
"edge":{"listen":"nowhere","tls":{"cert":"x"}},"admin":{"listen":"nowhere"},"log":{"level":"loud"},"events":{"kinds":["succeeded","paid"]}}`
	_, got := load(t, text, nil, overrides{natsListen: "0.0.0.0:4222"})
	want := []string{"prefix: is given twice", "prefix: must be subject tokens", "namespace: must be 1 to 64",
		"accept: must be a duration", "unknown: unknown key", "retain is 1h0m0s, want more than accept", "retain is 1h0m0s, want at least",
		"nats.url: must be URLs", "nats.credentials: a secret must be given as", "nats.tls.ca: the file cannot be read",
		"nats.tls.cipher: unknown key", "nats.replicas: must be at least 1", "redis.addresses[0]: must be host:port",
		"redis.password: environment variable NOT_SET is not set", "redis.partitions: must be a whole number",
		"providers[0].timeout: must be a positive duration", "providers[0].velocity[0].max: unknown key", "providers[0].breaker.failures: unknown key",
		"providers[0].rate.perSecond: must be at least 1", "providers[0].rate.perMinute: unknown key",
		"providers[0].bbmsl.baseURL: https is needed", "providers[0].bbmsl.merchantId: ", "providers[0].bbmsl.privateKey: the file",
		"providers[0].bbmsl.model: must be one of hosted, direct", "providers[0].bbmsl.voidUnsettled: must be true or false",
		"providers[1].craftgate.apiKey: a secret must be given as", "providers[1].craftgate.baseURL: ", "providers[1].craftgate.secretKey: ",
		"providers[2].type: must be one of bbmsl, craftgate, redirectfop, cardfop, scripted",
		"providers[5].cardfop.seal: is needed", "providers[6].redirectfop.seal.mode: must be one of plain, pgp, jose",
		"providers[6].redirectfop.seal.signingKeys[0]: a secret must be given as",
		`provider "g": account B: another instance`,
		"providers[8].cardfop.baseURL: https is needed", "providers[8].cardfop.account: 1 to 100 letters",
		"providers[9].cardfop.seal.algorithms: must not be given",
		`providers[10].cardfop.seal.algorithms: "none" is not supported`, "providers[10].cardfop.seal.signingKeys: no key for signatures",
		"providers[10].cardfop.seal.peerKeys: no key for signatures",
		"providers[3].scripted: is needed", "providers[4].scripted.latency: must be a duration",
		"providers[4].scripted.outcomes[0]: ", `provider "UPPER": name must be`, `provider "UPPER": concurrency is 1`,
		`provider "c" is configured twice`, "edge.listen: must be host:port", "edge.tls.cert: the file",
		"admin.listen: must be host:port", "events.kinds[1]: must be a kind of event", "log.level: must be one of", "--nats-listen: must be host:port on a loopback"}
	for _, w := range want {
		if !slices.ContainsFunc(got, func(p string) bool { return strings.HasPrefix(p, w) }) {
			t.Errorf("no problem %q", w)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d problems, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
	}
	if all := strings.Join(got, "\n"); strings.Contains(all, "s3cret") {
		t.Errorf("a secret is shown:\n%s", all)
	}
}

func TestSettingsFlagsOverEnvironmentOverFile(t *testing.T) {
	const file = `{"nats":{"url":"nats://file:1"},"redis":{"addresses":["file:1"]},"admin":{"listen":"127.0.0.1:1"},
"log":{"level":"debug"},"providers":[{"name":"try","type":"scripted","scripted":{}}]}`
	env := map[string]string{"REFUND_NATS_URL": "nats://env:2", "REFUND_REDIS_URL": "redis://env:2",
		"REFUND_ADMIN_LISTEN": "127.0.0.1:2", "REFUND_LOG_LEVEL": "warn", "REFUND_DATA_DIR": "/env"}
	flags := overrides{natsURL: "nats://flag:3", redisURL: "redis://flag:3", adminListen: "127.0.0.1:3", logLevel: "error",
		dataDir: "/flag"}
	show := func(s *settings) string {
		return fmt.Sprintf("%s %v %s %s %s", s.nats.URL.Reveal(), s.redis.Addresses, s.adminListen, s.logLevel, s.dataDir)
	}
	for _, row := range []struct {
		name  string
		env   map[string]string
		flags overrides
		want  string
	}{
		{"file", nil, overrides{}, "nats://file:1 [file:1] 127.0.0.1:1 DEBUG refund-data"},
		{"environment", env, overrides{}, "nats://env:2 [env:2] 127.0.0.1:2 WARN /env"},
		{"flags", env, flags, "nats://flag:3 [flag:3] 127.0.0.1:3 ERROR /flag"},
	} {
		s, problems := load(t, file, row.env, row.flags)
		if got := show(s); got != row.want || problems != nil {
			t.Errorf("%s: got %s (problems %q), want %s", row.name, got, problems, row.want)
		}
	}
}

func TestSettingsFileFromEnvironment(t *testing.T) {
	path := writeFile(t, "settings.json", scriptedSettings)
	s, err := overrides{natsListen: defaultNATSListen}.load(func(name string) string {
		return map[string]string{"REFUND_CONFIG": path}[name]
	})
	if err != nil || len(s.worker.Instances) != 1 || !s.embedded() {
		t.Errorf("got %+v, %v, want one provider, embedded", s, err)
	}
}

// An in-memory Redis beside a shared NATS would be a second projection; the other way round it is no better.
func TestSettingsWantBothServersOrNone(t *testing.T) {
	for _, row := range []struct {
		o    overrides
		want string
	}{
		{overrides{natsURL: "nats://h:4222"}, "redis: a Redis is needed beside a shared NATS"},
		{overrides{redisURL: "redis://h"}, "nats: a NATS is needed beside a shared Redis"},
		{overrides{natsURL: "nats://h:4222", redisURL: "redis://h"}, ""},
		{overrides{}, ""},
	} {
		_, problems := load(t, scriptedSettings, nil, row.o)
		if got := strings.Join(problems, "\n"); !strings.HasPrefix(got, row.want) || (row.want == "") != (got == "") {
			t.Errorf("%+v: got %q, want %q", row.o, got, row.want)
		}
	}
}

func TestSettingsRedisURL(t *testing.T) {
	for _, row := range []struct {
		url, want string
	}{
		{"redis://h", "[h:6379]  0 tls:false"},
		{"redis://h:7/3", "[h:7]  3 tls:false"},
		{"rediss://u:p@h:7", "[h:7] u p 0 tls:true"},
		{"redis://:p@[::1]:7/", "[[::1]:7]  p 0 tls:false"},
		{"http://h:6379", "error"},
		{"redis://", "error"},
		{"redis://h:6379/x", "error"},
		{"redis://h:6379?db=3", "error"},
		{"h:6379", "error"},
	} {
		var r redisSettings
		got := "error"
		if err := r.fromURL(row.url); err == nil {
			got = strings.TrimSpace(fmt.Sprintf("%v %s %s %d tls:%t", r.Addresses, r.Username, r.Password.Reveal(), r.Database, r.TLS != nil))
			got = strings.ReplaceAll(got, "   ", "  ")
		}
		if got != row.want {
			t.Errorf("%s: got %q, want %q", row.url, got, row.want)
		}
	}
}

func TestSettingsOfSentinelAndTLS(t *testing.T) {
	text := strings.Replace(scriptedSettings, "{", `{"nats":{"url":"tls://h:4222","tls":{"ca":"system"}},
"redis":{"addresses":["s1:26379","s2:26379"],"masterName":"refunds","username":"worker","password":"file:worker.creds",
"tls":{"ca":"system"},"partitions":16},`, 1)
	s, problems := load(t, text, nil, overrides{})
	if problems != nil {
		t.Fatalf("problems are %q, want none", problems)
	}
	r := s.redis
	if !slices.Equal(r.Addresses, []string{"s1:26379", "s2:26379"}) || r.MasterName != "refunds" || r.Username != "worker" ||
		r.Password.Reveal() != "creds-s3cret" || r.TLS == nil || s.nats.TLS == nil || s.store.Partitions != 16 {
		t.Errorf("redis is %+v, nats %+v, partitions %d", r, s.nats, s.store.Partitions)
	}
}

// Whatever is done with settings, their secrets do not show.
func TestSettingsPrintSecretsRedacted(t *testing.T) {
	env := map[string]string{"REDIS_PASSWORD": "redis-s3cret", "REFUND_NATS_URL": "nats://u:nats-s3cret@h:4222"}
	text := strings.Replace(documented, `"listen":":8080",`, "", 1)
	s, problems := load(t, text, env, overrides{})
	if problems != nil {
		t.Fatalf("problems are %q, want none", problems)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		for _, printed := range []any{s, *s, s.nats, s.redis, []any{s, s.nats, s.redis}} {
			if got := fmt.Sprintf(verb, printed); strings.Contains(got, "s3cret") || strings.Contains(got, "PRIVATE KEY") {
				t.Errorf("%s of %T shows a secret: %s", verb, printed, got)
			}
		}
	}
	if got := s.nats.hosts(); !slices.Equal(got, []string{"h:4222"}) {
		t.Errorf("hosts are %v, want h:4222 without the user", got)
	}
}

func TestSettingsFileThatIsNotJSON(t *testing.T) {
	for text, want := range map[string]string{
		"{\n\"prefix\": \"a\",\n}": "is not JSON: line 3",
		"":                         "is not JSON",
		"[]":                       "must be a JSON object",
		`{"a":1} {}`:               "is not JSON",
	} {
		_, problems := load(t, text, nil, overrides{})
		if got := strings.Join(problems, "\n"); !strings.Contains(got, want) {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	if _, err := (overrides{config: filepath.Join(t.TempDir(), "missing.json")}).load(os.Getenv); err == nil {
		t.Error("a missing settings file is accepted")
	}
}

func TestSettingsFileHoldsNoPasswordInAURL(t *testing.T) {
	const text = `{"nats":{"url":"nats://u:s3cret@h:4222"},"redis":{"addresses":["u:s3cret@h:6379"]},` +
		`"providers":[{"name":"try","type":"scripted","scripted":{}}]}`
	_, got := load(t, text, nil, overrides{})
	if all := strings.Join(got, "\n"); len(got) != 2 || !strings.HasPrefix(got[0], "nats.url: must not hold a user") ||
		!strings.HasPrefix(got[1], "redis.addresses[0]: must be host:port") || strings.Contains(all, "s3cret") {
		t.Errorf("problems are %q, want the URL and the address refused, without the password", got)
	}
	s, got := load(t, strings.Replace(text, "nats://u:s3cret@h:4222", "${URL}", 1), map[string]string{"URL": "nats://u:s3cret@h:4222"}, overrides{})
	if len(got) != 1 || s.nats.URL.Reveal() != "nats://u:s3cret@h:4222" {
		t.Errorf("problems are %q, want only that of the address", got)
	}
}

// A publisher's machine has neither the worker's secrets nor its provider settings.
func TestClientsReadOnlyTheirPart(t *testing.T) {
	path := writeFile(t, "settings.json", strings.Replace(documented, `"credentials":"file:worker.creds",`, "", 1))
	none := func(string) string { return "" }
	s, err := overrides{config: path}.loadClient(none)
	if err != nil || s.worker.Prefix != "refunds" || len(s.nats.hosts()) != 2 {
		t.Errorf("got %+v, %v, want prefix and URL of the file", s, err)
	}
	path = writeFile(t, "settings.json", `{"prefix":"a..b","nats":{"urls":"x"},"provider":[]}`)
	_, err = overrides{config: path}.loadClient(none)
	for _, want := range []string{"prefix: must", "nats.urls: unknown key", "provider: unknown key"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
}

// A client of NATS reads the worker's settings file, and passes over all that is the worker's alone.
func TestSettingsOfTheWorkerAreNoneOfAClients(t *testing.T) {
	used := func(read func(*settings, *object)) map[string]bool {
		root := newObject("", []byte("{}"), secrets{}, &problems{})
		read(&settings{}, root)
		return root.used
	}
	if worker, client := used((*settings).read), used((*settings).readClient); !maps.Equal(worker, client) {
		t.Errorf("the worker knows %v, and a client %v", worker, client)
	}
}

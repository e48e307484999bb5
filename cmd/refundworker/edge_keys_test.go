package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"refundworker/providers"
	"refundworker/providers/google/host"
	"refundworker/providers/google/seal"
)

// diary is a log handler that keeps what is said of keys, and on which day.
type diary struct {
	slog.Handler
	begin time.Time
	lines []string
}

func (d *diary) Enabled(context.Context, slog.Level) bool { return true }

func (d *diary) Handle(_ context.Context, r slog.Record) error {
	attrs := map[string]string{}
	r.Attrs(func(a slog.Attr) bool {
		attrs[a.Key] = a.Value.String()
		return true
	})
	d.lines = append(d.lines, fmt.Sprintf("day %d: %s %s %s to %s, %s days", r.Time.Sub(d.begin)/day, r.Level, attrs["provider"], attrs["key"],
		attrs["use"], attrs["days"]))
	return nil
}

// jwks are two private keys as a set, of which the one for signatures ends.
func jwks(t *testing.T, name string, end time.Time) (private, public string) {
	t.Helper()
	signing, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	decrypting, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	set := func(sig, enc any) string {
		text, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
			{Key: sig, KeyID: name + "-sig", Algorithm: "ES256"}, {Key: enc, KeyID: name + "-enc", Algorithm: "RSA-OAEP-256"}}})
		if err != nil {
			t.Fatal(err)
		}
		if end.IsZero() {
			return string(text)
		}
		return strings.Replace(string(text), `"alg":"ES256"`, fmt.Sprintf(`"alg":"ES256","exp":%d`, end.Unix()), 1)
	}
	return set(signing, decrypting), set(&signing.PublicKey, &decrypting.PublicKey)
}

// diaryOf watches the keys of an account for some days; one of them ends after end days.
func diaryOf(t *testing.T, end, days int) []string {
	t.Helper()
	d := &diary{}
	synctest.Test(t, func(t *testing.T) {
		d.begin = time.Now()
		ours, _ := jwks(t, "ours", time.Time{})
		_, theirs := jwks(t, "theirs", d.begin.Add(time.Duration(end)*day))
		s, err := seal.New(seal.Config{Mode: seal.JOSE, SigningKeys: []providers.Secret{providers.Secret(ours)}, PeerKeys: []string{theirs}})
		if err != nil {
			t.Fatal(err)
		}
		all := []reports{{}, {account: &host.Account{Provider: "card-cad", API: host.CardFOP, ID: "A", Seal: s}}}
		ctx, stop := context.WithTimeout(t.Context(), time.Duration(days)*day+time.Hour)
		defer stop()
		var watch sync.WaitGroup
		watch.Go(func() { keyWatch{reports: all, log: slog.New(d), told: map[watchedKey]time.Duration{}}.run(ctx) })
		watch.Wait()
	})
	return d.lines
}

// The end of a key is told 60, 30 and 7 days before it, and daily in its last week and after it: from then on somebody
// should look today.
func TestEndsOfKeysAreTold(t *testing.T) {
	line := func(on int, level string, left int) string {
		return fmt.Sprintf("day %d: %s card-cad theirs-sig to verify, %d days", on, level, left)
	}
	tests := []struct {
		name      string
		end, days int
		want      []string
	}{
		{"in 61 days", 61, 56, []string{line(1, "WARN", 60), line(31, "WARN", 30), line(54, "ERROR", 7), line(55, "ERROR", 6), line(56, "ERROR", 5)}},
		{"in 40 days, seen first", 40, 9, []string{line(0, "WARN", 40)}},
		{"in 30 days, seen first", 30, 9, []string{line(0, "WARN", 30)}},
		{"tomorrow, and ended", 1, 3, []string{line(0, "ERROR", 1), line(1, "ERROR", 0), line(2, "ERROR", -1), line(3, "ERROR", -2)}},
		{"in a year", 365, 300, nil},
	}
	for _, tt := range tests {
		if got := diaryOf(t, tt.end, tt.days); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got\n%s\nwant\n%s", tt.name, strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
		}
	}
}

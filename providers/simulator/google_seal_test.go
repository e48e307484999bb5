package simulator_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"

	pgp "github.com/ProtonMail/gopenpgp/v3/crypto"
	"github.com/go-jose/go-jose/v4"

	"refundworker/providers/simulator"
)

var googleModes = []simulator.GoogleMode{simulator.GooglePlain, simulator.GooglePGP, simulator.GoogleJOSE}

// In every mode a call, its refusal and its notice travel sealed, and the answer to the notice is read.
func TestGoogleSpeaksEveryMode(t *testing.T) {
	for _, mode := range googleModes {
		t.Run(string(mode), func(t *testing.T) {
			w, caller := sealedWorld(t, mode)
			e := startEdge(t)
			e.open, e.seal = caller.open, caller.seal
			w.rules(e, simulator.Notice{API: simulator.GoogleCardFOP, Reversals: []simulator.Reversal{
				{RawResult: simulator.RawResult{Code: "62"}}}})
			if a := w.ask(caller, redirectPath, w.redirect("r-1", "pay-7f20:0001", "10000000")); a.result() != "acknowledged" {
				t.Errorf("redirect: %d %s, want acknowledged", a.status, a.body)
			}
			if a := w.ask(caller, cardPath, w.card("c-1", "cap_Q9xL-31", "10000000")); a.result() != "ACKNOWLEDGED" {
				t.Errorf("card: %d %s, want ACKNOWLEDGED", a.status, a.body)
			}
			if a := w.ask(caller, cardPath, w.card("c-2", "cap_Q9xL-31", "129990000")); a.status != 400 || a.code() != "PRECONDITION_VIOLATION" {
				t.Errorf("too much: %d %s, want 400 PRECONDITION_VIOLATION", a.status, a.body)
			}
			if a := w.ask(caller, echoPath, []byte(strings.Replace(string(w.redirect("e-1", "x", "1")),
				`"captureRequestId"`, `"clientMessage":"hello","captureRequestId"`, 1))); a.document["clientMessage"] != "hello" {
				t.Errorf("echo: %d %s, want hello", a.status, a.body)
			}
			if a := w.ask(caller, redirectPath, []byte("{")); a.status != 400 || a.code() != "invalidDecryptedRequest" {
				t.Errorf("no JSON: %d %s, want 400 invalidDecryptedRequest", a.status, a.body)
			}
			arrivals := w.said(e, "SUCCESS", "10000000")
			if arrivals[0].contentType != caller.contentType {
				t.Errorf("notice is %q, want %q", arrivals[0].contentType, caller.contentType)
			}
			w.lines("pay-7f20:0001 REFUND 10000000 r-1", "cap_Q9xL-31 REFUND 10000000 c-1", "cap_Q9xL-31 REVERSAL 10000000 c-1")
		})
	}
}

// An answer to a notice that is not sealed by the edge's own keys is as good as none.
func TestGoogleNoticeAnswersMustBeSealed(t *testing.T) {
	for _, mode := range googleModes[1:] {
		w, caller := sealedWorld(t, mode)
		e := startEdge(t)
		e.open = caller.open
		e.seal = func(accepted []byte) []byte {
			if len(e.arrivals()) == 1 {
				return accepted
			}
			return caller.seal(accepted)
		}
		w.rules(e, simulator.Notice{})
		w.ask(caller, redirectPath, w.redirect("r-1", "pay-7f20:0001", "10000000"))
		w.said(e, "success", "success")
	}
}

// Whoever is not known gets the same empty answer, whatever is wrong with the message, and nothing moves.
func TestGoogleStrangersAreToldNothing(t *testing.T) {
	k, j := pgpTestKeys(), joseKeys()
	integrator, caller := k.integrator[:1], k.caller[:1]
	const pgpType, joseType, jsonType = "application/octet-stream", "application/jose", "application/json"
	for _, row := range []struct {
		name        string
		mode        simulator.GoogleMode
		contentType string
		message     func(document []byte) []byte
	}{
		{"pgp unknown signer", simulator.GooglePGP, pgpType, func(d []byte) []byte { return pgpMessage(d, integrator, []*pgp.Key{k.stranger}) }},
		{"pgp unknown recipient", simulator.GooglePGP, pgpType, func(d []byte) []byte { return pgpMessage(d, []*pgp.Key{k.stranger}, caller) }},
		{"pgp unsigned", simulator.GooglePGP, pgpType, func(d []byte) []byte { return pgpMessage(d, integrator, nil) }},
		{"pgp signed by the integrator itself", simulator.GooglePGP, pgpType, func(d []byte) []byte { return pgpMessage(d, integrator, integrator) }},
		{"pgp with the caller's signature of another document", simulator.GooglePGP, pgpType, func(d []byte) []byte {
			other := must(must(pgp.PGP().Sign().SigningKeys(pgpRing(false, caller...)).Detached().New()).Sign([]byte("other"), pgp.Bytes))
			message := must(must(pgp.PGP().Encryption().Recipients(pgpRing(true, integrator...)).IncludeExternalSignature(other).New()).Encrypt(d))
			return []byte(base64.URLEncoding.EncodeToString(message.Bytes()))
		}},
		{"pgp in the other alphabet", simulator.GooglePGP, pgpType, func(d []byte) []byte {
			return []byte(base64.StdEncoding.EncodeToString(must(base64.URLEncoding.DecodeString(string(pgpMessage(d, integrator, caller))))))
		}},
		{"pgp on two lines", simulator.GooglePGP, pgpType, func(d []byte) []byte {
			m := pgpMessage(d, integrator, caller)
			return append(append(m[:8:8], '\n'), m[8:]...)
		}},
		{"pgp changed on the way", simulator.GooglePGP, pgpType, func(d []byte) []byte {
			m := must(base64.URLEncoding.DecodeString(string(pgpMessage(d, integrator, caller))))
			m[len(m)-30] ^= 1
			return []byte(base64.URLEncoding.EncodeToString(m))
		}},
		{"pgp under the wrong content type", simulator.GooglePGP, joseType, func(d []byte) []byte { return pgpMessage(d, integrator, caller) }},
		{"plain to a sealed account", simulator.GooglePGP, jsonType, func(d []byte) []byte { return d }},
		{"no content type", simulator.GooglePGP, "", func(d []byte) []byte { return pgpMessage(d, integrator, caller) }},
		{"noise", simulator.GooglePGP, pgpType, func([]byte) []byte { return []byte("bm9pc2U") }},
		{"jose unknown signer", simulator.GoogleJOSE, joseType, func(d []byte) []byte { return joseMessage(d, j.integrator, j.stranger) }},
		{"jose unknown recipient", simulator.GoogleJOSE, joseType, func(d []byte) []byte { return joseMessage(d, j.stranger, j.caller) }},
		{"jose signed by another under a known kid", simulator.GoogleJOSE, joseType, func(d []byte) []byte {
			return joseMessage(d, j.integrator, jose.JSONWebKey{Key: j.stranger.Key, KeyID: j.caller.KeyID})
		}},
		{"jose unsigned", simulator.GoogleJOSE, joseType, func(d []byte) []byte {
			return joseEncrypted(d, jose.RSA_OAEP_256, j.integrator.Public())
		}},
		{"jose signed by nobody", simulator.GoogleJOSE, joseType, func(d []byte) []byte {
			none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"caller"}`)) + "." + base64.RawURLEncoding.EncodeToString(d) + "."
			return joseEncrypted([]byte(none), jose.RSA_OAEP_256, j.integrator.Public())
		}},
		{"jose with an algorithm that is not allowed", simulator.GoogleJOSE, joseType, func(d []byte) []byte {
			signer := must(jose.NewSigner(jose.SigningKey{Algorithm: jose.RS512, Key: j.caller}, nil))
			return joseEncrypted([]byte(must(must(signer.Sign(d)).CompactSerialize())), jose.RSA_OAEP_256, j.integrator.Public())
		}},
		{"plain from an unknown account", simulator.GooglePlain, jsonType, func(d []byte) []byte {
			return []byte(strings.Replace(string(d), euroAccount, "Nobody", 1))
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			w, _ := sealedWorld(t, row.mode)
			a, err := w.send(redirectPath, row.contentType, row.message(w.redirect("r-1", "pay-7f20:0001", "10000000")))
			w.must(err)
			if a.status != http.StatusNotFound || len(a.body) != 0 {
				t.Errorf("answer %d %q, want 404 and nothing", a.status, a.body)
			}
			w.lines()
		})
	}
}

// A caller that is known under one account cannot speak for another.
func TestGoogleKeysAreBoundToTheirAccount(t *testing.T) {
	w := startGoogle(t)
	k := pgpTestKeys()
	w.must(w.sim.Google.SetKeys([]simulator.GoogleKeys{
		{Account: euroAccount, Mode: simulator.GooglePGP, PublicKeys: publicOf(k.caller[0]), PrivateKeys: privateOf(k.integrator[0])},
		{Account: cardAccount, Mode: simulator.GooglePGP, PublicKeys: publicOf(k.caller[1]), PrivateKeys: privateOf(k.integrator[0])}}))
	w.must(w.sim.Google.SetPayments(vectorPayments))
	for i, want := range []int{http.StatusOK, http.StatusNotFound} {
		body := pgpMessage(w.redirect("r-1", "pay-7f20:0001", "10000000"), k.integrator[:1], k.caller[i:i+1])
		a, err := w.send(redirectPath, "application/octet-stream", body)
		w.must(err)
		if a.status != want {
			t.Errorf("signed by key %d: status %d, want %d", i, a.status, want)
		}
	}
	w.lines("pay-7f20:0001 REFUND 10000000 r-1")
}

// During a rotation old and new keys work on both sides: any of ours opens, one known signature is enough, padded
// or not, and the answer can be read with either of the caller's keys and verified with either of ours.
func TestGoogleRotatesPGPKeys(t *testing.T) {
	k := pgpTestKeys()
	for i, row := range []struct{ to, by []*pgp.Key }{
		{k.integrator[:1], k.caller[:1]}, {k.integrator[1:], k.caller[1:]}, {k.integrator[:], k.caller[:]},
		{k.integrator[:1], []*pgp.Key{k.stranger, k.caller[1]}}, {[]*pgp.Key{k.stranger, k.integrator[1]}, k.caller[:1]},
	} {
		w, _ := sealedWorld(t, simulator.GooglePGP)
		id := fmt.Sprintf("r-%d", i)
		body := pgpMessage(w.redirect(id, "pay-7f20:0001", "10000000"), row.to, row.by)
		if i%2 == 0 {
			body = []byte(strings.TrimRight(string(body), "="))
		}
		a, err := w.send(redirectPath, "application/octet-stream", body)
		w.must(err)
		for _, own := range k.caller {
			for _, theirs := range k.integrator {
				if document, err := pgpOpen(a.body, own, theirs); err != nil || !strings.Contains(string(document), "acknowledged") {
					t.Errorf("row %d: %d %s, %v, want acknowledged for either key", i, a.status, document, err)
				}
			}
		}
	}
}

// A caller of JOSE changes its key while both are known; answers go to the first.
func TestGoogleRotatesJOSEKeys(t *testing.T) {
	w, _ := sealedWorld(t, simulator.GoogleJOSE)
	j := joseKeys()
	for _, key := range []jose.JSONWebKey{j.caller, j.next} {
		a, err := w.send(redirectPath, "application/jose", joseMessage(w.redirect(key.KeyID, "pay-7f20:0001", "10000000"), j.integrator, key))
		w.must(err)
		if document, err := joseOpen(a.body, j.caller, j.integrator); err != nil || !strings.Contains(string(document), "acknowledged") {
			t.Errorf("%s: %d %s, %v, want acknowledged", key.KeyID, a.status, document, err)
		}
	}
}

func TestGoogleKeyDocuments(t *testing.T) {
	k, j := pgpTestKeys(), joseKeys()
	locked := must(pgp.PGP().LockKey(k.caller[0], []byte("secret")))
	signOnly := j.caller
	signOnly.Use = "sig"
	for _, row := range []struct {
		name     string
		list     []simulator.GoogleKeys
		pointers string
	}{
		{"nothing", []simulator.GoogleKeys{{}}, "/0/account /0/mode"},
		{"plain with keys", []simulator.GoogleKeys{{Account: "a", Mode: "plain", PublicKeys: []string{"x"}}}, "/0"},
		{"listed twice", []simulator.GoogleKeys{{Account: "a", Mode: "plain"}, {Account: "a", Mode: "plain"}}, "/1/account"},
		{"pgp without keys", []simulator.GoogleKeys{{Account: "a", Mode: "pgp"}}, "/0/publicKeys /0/privateKeys"},
		{"pgp", []simulator.GoogleKeys{{Account: "a", Mode: "pgp", PublicKeys: publicOf(k.caller[0]), PrivateKeys: privateOf(k.integrator[0])}}, ""},
		{"pgp halves exchanged", []simulator.GoogleKeys{{Account: "a", Mode: "pgp", PublicKeys: privateOf(k.caller[0]), PrivateKeys: publicOf(k.integrator[0])}},
			"/0/publicKeys/0 /0/privateKeys/0"},
		{"pgp locked", []simulator.GoogleKeys{{Account: "a", Mode: "pgp", PublicKeys: publicOf(k.caller[0]), PrivateKeys: privateOf(locked)}}, "/0/privateKeys/0"},
		{"pgp noise", []simulator.GoogleKeys{{Account: "a", Mode: "pgp", PublicKeys: []string{"x"}, PrivateKeys: []string{"y"}}}, "/0/publicKeys/0 /0/privateKeys/0"},
		{"jose", []simulator.GoogleKeys{{Account: "a", Mode: "jose", PublicKeys: jwk(j.caller.Public()), PrivateKeys: jwk(j.integrator)}}, ""},
		{"jose halves exchanged", []simulator.GoogleKeys{{Account: "a", Mode: "jose", PublicKeys: jwk(j.caller), PrivateKeys: jwk(j.integrator.Public())}},
			"/0/publicKeys/0 /0/privateKeys/0"},
		{"jose symmetric", []simulator.GoogleKeys{{Account: "a", Mode: "jose", PublicKeys: []string{`{"kty":"oct","k":"c2VjcmV0","kid":"x"}`}, PrivateKeys: jwk(j.integrator)}}, "/0/publicKeys/0"},
		{"jose without kid", []simulator.GoogleKeys{{Account: "a", Mode: "jose", PublicKeys: jwk(jose.JSONWebKey{Key: j.caller.Public().Key}), PrivateKeys: jwk(j.integrator)}}, "/0/publicKeys/0"},
		{"jose for signing only", []simulator.GoogleKeys{{Account: "a", Mode: "jose", PublicKeys: jwk(signOnly.Public()), PrivateKeys: jwk(signOnly)}}, "/0/publicKeys /0/privateKeys"},
	} {
		w := startGoogle(t)
		list := must(marshalKeys(row.list))
		_, text := w.control(http.MethodPut, "/_control/keys/google", list)
		if got := pointersOf(text); got != row.pointers {
			t.Errorf("%s: problems at %q (%s), want %q", row.name, got, text, row.pointers)
		}
	}
}

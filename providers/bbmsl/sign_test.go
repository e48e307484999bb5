package bbmsl

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"

	"refundworker/providers"
)

func vectorKey(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	key, err := parseKey(readVector[vectorKeys](t, "keys.json").Merchant.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

type signatureVectors struct {
	Cases []struct {
		Name              string `json:"name"`
		RequestString     string `json:"requestString"`
		ExpectedSignature string `json:"expectedSignature"`
		ExpectedHTTPBody  string `json:"expectedHttpBody"`
	} `json:"cases"`
	NegativeCases []struct {
		Name          string `json:"name"`
		RequestString string `json:"requestString"`
		Signature     string `json:"signature"`
	} `json:"negativeCases"`
}

func TestSignatureVectors(t *testing.T) {
	key := vectorKey(t)
	all := readVector[signatureVectors](t, "request-signature.json")
	if len(all.Cases) == 0 || len(all.NegativeCases) == 0 {
		t.Fatal("no cases")
	}
	for _, c := range all.Cases {
		t.Run(c.Name, func(t *testing.T) {
			got, err := sign(key, []byte(c.RequestString))
			if err != nil || got != c.ExpectedSignature {
				t.Errorf("signature: got %s, %v, want %s", got, err, c.ExpectedSignature)
			}
			body, err := encode(envelope{Request: c.RequestString, Signature: got})
			if err != nil || string(body) != c.ExpectedHTTPBody {
				t.Errorf("body: got %s, %v, want %s", body, err, c.ExpectedHTTPBody)
			}
		})
	}
	for _, c := range all.NegativeCases {
		t.Run(c.Name, func(t *testing.T) {
			raw, err := base64.StdEncoding.DecodeString(c.Signature)
			if err != nil {
				t.Fatal(err)
			}
			sum := sha256.Sum256([]byte(c.RequestString))
			if rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, sum[:], raw) == nil {
				t.Error("a tampered request verifies")
			}
			if got, err := sign(key, []byte(c.RequestString)); err != nil || got == c.Signature {
				t.Errorf("got the signature of another request, %v", err)
			}
		})
	}
}

// TestInnerRequest holds the bytes that are signed: key order, types and amounts as in BBMSL's samples.
func TestInnerRequest(t *testing.T) {
	key := vectorKey(t)
	tests := []struct {
		in   inner
		want string
	}{
		{inner{MerchantID: "700123", OrderID: "88001", Amount: "12.50"}, `{"merchantId":"700123","orderId":88001,"amount":12.50}`},
		{inner{MerchantID: "700123", MerchantReference: "ord-1", Amount: "40.00"}, `{"merchantId":"700123","merchantReference":"ord-1","amount":40.00}`},
		{inner{MerchantID: "700123", MerchantReference: "訂單-42"}, `{"merchantId":"700123","merchantReference":"訂單-42"}`},
		{inner{MerchantID: "700123", MerchantReference: `<a&b>"\`}, `{"merchantId":"700123","merchantReference":"<a&b>\"\\"}`},
	}
	for _, tt := range tests {
		body, err := seal(key, tt.in)
		if err != nil {
			t.Fatal(err)
		}
		var e envelope
		if err := json.Unmarshal(body, &e); err != nil {
			t.Fatal(err)
		}
		if e.Request != tt.want {
			t.Errorf("request: got %s, want %s", e.Request, tt.want)
		}
		if want, err := sign(key, []byte(tt.want)); err != nil || e.Signature != want {
			t.Errorf("the signature of %s does not cover its bytes (%v)", tt.want, err)
		}
	}
}

func pemOf(kind string, der []byte) providers.Secret {
	return providers.Secret(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func TestParseKey(t *testing.T) {
	good := vectorKey(t)
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	curveDER, err := x509.MarshalPKCS8PrivateKey(curve)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		text providers.Secret
		want string
	}{
		{"pkcs1", pemOf("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(good)), ""},
		{"pkcs8", readVector[vectorKeys](t, "keys.json").Merchant.PrivateKey, ""},
		{"empty", "", "not a PEM text"},
		{"no pem", "MIIEvgIBADANBg", "not a PEM text"},
		{"short", pemOf("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(small)), "2048 bits"},
		{"curve", pemOf("PRIVATE KEY", curveDER), "not an RSA key"},
		{"public", pemOf("PUBLIC KEY", x509.MarshalPKCS1PublicKey(&good.PublicKey)), "not an unencrypted RSA private key"},
		{"encrypted", pemOf("ENCRYPTED PRIVATE KEY", []byte("x")), "not an unencrypted RSA private key"},
		{"damaged pkcs1", pemOf("RSA PRIVATE KEY", []byte("MIIEvgIBADANBg")), "not a readable PKCS#1 key"},
		{"damaged pkcs8", pemOf("PRIVATE KEY", []byte("MIIEvgIBADANBg")), "not a readable PKCS#8 key"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			key, err := parseKey(tt.text)
			if tt.want == "" {
				if err != nil || !key.Equal(good) {
					t.Errorf("got %v, want the key", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "MIIE") {
				t.Errorf("got %v, want an error with %q and nothing of the key", err, tt.want)
			}
		})
	}
}

func TestConfigHidesTheKey(t *testing.T) {
	cfg := Config{PrivateKey: "very-secret"}
	asJSON, err := json.Marshal(cfg.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []string{fmt.Sprintf("%v %+v %#v %s", cfg, cfg, cfg, cfg.PrivateKey), string(asJSON)} {
		if strings.Contains(got, "very-secret") {
			t.Errorf("the key is printed: %s", got)
		}
	}
}

func TestProviderHidesTheKey(t *testing.T) {
	key := readVector[vectorKeys](t, "keys.json").Merchant.PrivateKey.Reveal()
	p, err := New(Config{BaseURL: "https://localhost", MerchantID: "1", PrivateKey: providers.Secret(key)})
	if err != nil {
		t.Fatal(err)
	}
	body := strings.Split(key, "\n")[1]
	for _, got := range []string{fmt.Sprintf("%v", p), fmt.Sprintf("%+v", p), fmt.Sprintf("%#v", p)} {
		if strings.Contains(got, body) {
			t.Error("the provider prints the merchant's key")
		}
	}
}

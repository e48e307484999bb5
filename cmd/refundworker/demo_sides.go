package main

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"io"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"refundworker/providers"
	"refundworker/providers/bbmsl"
	"refundworker/providers/craftgate"
	"refundworker/providers/google/fop"
	"refundworker/providers/google/host"
	"refundworker/providers/google/seal"
	"refundworker/providers/simulator"
	"refundworker/schemas"
)

// The provider instances of the demo, named after their types.
const (
	demoBBMSL     = schemas.ProviderName("bbmsl")
	demoCraftgate = schemas.ProviderName("craftgate")
	demoRedirect  = schemas.ProviderName("redirectfop")
	demoCard      = schemas.ProviderName("cardfop")
)

// Accounts of the demo.
const (
	demoMerchant        = "700123"
	demoRedirectAccount = "NorthQuayRedirect_EUR"
	demoCardAccount     = "LanternCards_CAD"
)

// demoSide is one provider of the demo.
type demoSide struct {
	name schemas.ProviderName
	// kind is its type in the simulator: in base URLs and in the ledger.
	kind string
	// connect makes keys up on the spot and returns the adapter with one half of them and a scene with the other.
	connect func(baseURL string, pool providers.HTTPConfig) (adapted, scene, error)
}

var demoSides = []demoSide{
	{demoBBMSL, simulator.TypeBBMSL, connectBBMSL},
	{demoCraftgate, simulator.TypeCraftgate, connectCraftgate},
	{demoRedirect, simulator.TypeGoogle, connectRedirect},
	{demoCard, simulator.TypeGoogle, connectCard},
}

// simulatedAs is an instance's type in the simulator.
func simulatedAs(name schemas.ProviderName) string {
	for _, side := range demoSides {
		if side.name == name {
			return side.kind
		}
	}
	return ""
}

func connectBBMSL(baseURL string, pool providers.HTTPConfig) (adapted, scene, error) {
	private, public, err := rsaPair()
	if err != nil {
		return adapted{}, scene{}, err
	}
	p, err := bbmsl.New(bbmsl.Config{BaseURL: baseURL, MerchantID: demoMerchant, VoidUnsettled: true, PrivateKey: private,
		LookupDelay: time.Second, HTTP: pool})
	return adapted{provider: p}, scene{bbmslKeys: []simulator.BBMSLKey{{MerchantID: demoMerchant, PublicKey: public}}}, err
}

func connectCraftgate(baseURL string, pool providers.HTTPConfig) (adapted, scene, error) {
	keys := simulator.CraftgateKey{APIKey: rand.Text(), SecretKey: rand.Text(), WebhookKey: rand.Text()}
	p, err := craftgate.New(craftgate.Config{BaseURL: baseURL, APIKey: providers.Secret(keys.APIKey),
		SecretKey: providers.Secret(keys.SecretKey), LookupDelay: time.Second, HTTP: pool})
	if err != nil {
		return adapted{}, scene{}, err
	}
	hook := &craftgate.WebhookConfig{Key: providers.Secret(keys.WebhookKey), Resolve: p.Resolve}
	return adapted{p, reports{webhook: hook}}, scene{craftgateKeys: []simulator.CraftgateKey{keys}}, nil
}

func connectRedirect(baseURL string, pool providers.HTTPConfig) (adapted, scene, error) {
	theirs := simulator.GoogleKeys{Account: demoRedirectAccount, Mode: simulator.GooglePlain}
	return connectGoogle(fop.Config{API: fop.RedirectFOP, BaseURL: baseURL, HTTP: pool}, seal.Config{Mode: seal.Plain}, theirs)
}

func connectCard(baseURL string, pool providers.HTTPConfig) (adapted, scene, error) {
	ourPrivate, ourPublic, err := pgpPair("worker")
	if err != nil {
		return adapted{}, scene{}, err
	}
	theirPrivate, theirPublic, err := pgpPair("integrator")
	if err != nil {
		return adapted{}, scene{}, err
	}
	ours := seal.Config{Mode: seal.PGP, SigningKeys: []providers.Secret{providers.Secret(ourPrivate)}, PeerKeys: []string{theirPublic}}
	theirs := simulator.GoogleKeys{Account: demoCardAccount, Mode: simulator.GooglePGP, PublicKeys: []string{ourPublic},
		PrivateKeys: []string{theirPrivate}}
	return connectGoogle(fop.Config{API: fop.CardFOP, BaseURL: baseURL, HTTP: pool}, ours, theirs)
}

// connectGoogle completes the settings of an integrator's account.
func connectGoogle(cfg fop.Config, ours seal.Config, theirs simulator.GoogleKeys) (adapted, scene, error) {
	s, err := seal.New(ours)
	if err != nil {
		return adapted{}, scene{}, err
	}
	cfg.Account, cfg.Seal = theirs.Account, s
	p, err := fop.New(cfg)
	account := &host.Account{API: string(cfg.API), ID: theirs.Account, Seal: s}
	return adapted{p, reports{account: account}}, scene{googleKeys: []simulator.GoogleKeys{theirs}}, err
}

// rsaPair makes a merchant's key.
func rsaPair() (private providers.Secret, public string, err error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return "", "", err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", "", err
	}
	open, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	return providers.Secret(encodePEM("PRIVATE KEY", secret)), encodePEM("PUBLIC KEY", open), err
}

func encodePEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// pgpPair makes an OpenPGP key, of a kind that takes no time to make.
func pgpPair(name string) (private, public string, err error) {
	key, err := openpgp.NewEntity(name, "", "", &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA})
	if err != nil {
		return "", "", err
	}
	private, err = armored(openpgp.PrivateKeyType, func(w io.Writer) error { return key.SerializePrivateWithoutSigning(w, nil) })
	if err != nil {
		return "", "", err
	}
	public, err = armored(openpgp.PublicKeyType, key.Serialize)
	return private, public, err
}

func armored(kind string, write func(io.Writer) error) (string, error) {
	var text bytes.Buffer
	w, err := armor.Encode(&text, kind, nil)
	if err != nil {
		return "", err
	}
	if err := write(w); err != nil {
		return "", err
	}
	err = w.Close()
	return text.String(), err
}

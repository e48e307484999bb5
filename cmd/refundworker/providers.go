package main

import (
	"errors"
	"strings"

	"refundworker/providers"
	"refundworker/providers/bbmsl"
	"refundworker/providers/craftgate"
	"refundworker/providers/google/fop"
	"refundworker/providers/google/host"
	"refundworker/providers/scripted"
)

// adapted is an adapter, and how its provider reports by itself.
type adapted struct {
	provider providers.Provider
	reports  reports
}

// adapter builds the provider of one type from its own section of the settings.
type adapter func(section *object, pool providers.HTTPConfig) (adapted, error)

// adapterOf is where a type of provider becomes known to the program.
func adapterOf(kind string) adapter {
	switch kind {
	case "bbmsl":
		return newBBMSL
	case "craftgate":
		return newCraftgate
	case string(fop.RedirectFOP), string(fop.CardFOP):
		return func(section *object, pool providers.HTTPConfig) (adapted, error) {
			return newGoogle(fop.API(kind), section, pool)
		}
	case "scripted":
		return newScripted
	}
	return nil
}

var adapterTypes = []string{"bbmsl", "craftgate", string(fop.RedirectFOP), string(fop.CardFOP), "scripted"}

// readAdapter reads the type's section. A provider whose section has problems gets a stand-in that is never
// called, so that the rest of its settings is checked in the same go.
func readAdapter(o *object, kind string, pool providers.HTTPConfig) adapted {
	standIn := adapted{provider: &scripted.Provider{}}
	build := adapterOf(kind)
	if build == nil {
		o.found.add(o.at("type"), "must be one of %s", strings.Join(adapterTypes, ", "))
		return standIn
	}
	section := o.object(kind)
	if section == nil {
		o.found.add(o.at(kind), "is needed: the settings of this type")
		return standIn
	}
	a, err := build(section, pool)
	section.finish()
	if err != nil {
		section.found.addUnder(section.path, err)
		return standIn
	}
	return a
}

func newBBMSL(o *object, pool providers.HTTPConfig) (adapted, error) {
	cfg := bbmsl.Config{HTTP: pool}
	o.text("baseURL", &cfg.BaseURL)
	o.text("merchantId", &cfg.MerchantID)
	o.secret("privateKey", &cfg.PrivateKey)
	var model string
	o.choice("model", []string{string(bbmsl.Hosted), string(bbmsl.Direct)}, &model)
	cfg.Model = bbmsl.Model(model)
	o.flag("voidUnsettled", &cfg.VoidUnsettled)
	if err := cfg.WithDefaults().Validate(); err != nil {
		return adapted{}, err
	}
	p, err := bbmsl.New(cfg)
	return adapted{provider: p}, err
}

func newCraftgate(o *object, pool providers.HTTPConfig) (adapted, error) {
	cfg := craftgate.Config{HTTP: pool}
	o.text("baseURL", &cfg.BaseURL)
	o.secret("apiKey", &cfg.APIKey)
	o.secret("secretKey", &cfg.SecretKey)
	o.secret("webhookKey", &cfg.WebhookKey)
	if err := cfg.WithDefaults().Validate(); err != nil {
		return adapted{}, err
	}
	p, err := craftgate.New(cfg)
	if err != nil {
		return adapted{}, err
	}
	a := adapted{provider: p}
	if cfg.WebhookKey != "" {
		a.reports.webhook = &craftgate.WebhookConfig{Key: cfg.WebhookKey, Resolve: p.Resolve}
	}
	return a, nil
}

func newGoogle(api fop.API, o *object, pool providers.HTTPConfig) (adapted, error) {
	cfg := fop.Config{API: api, HTTP: pool}
	o.text("baseURL", &cfg.BaseURL)
	o.text("account", &cfg.Account)
	section := o.object("seal")
	if section == nil {
		return adapted{}, errors.New("seal: is needed: how messages are signed and encrypted")
	}
	s := readSeal(section)
	if s == nil { // its problems are told
		return adapted{provider: &scripted.Provider{}}, nil
	}
	cfg.Seal = s
	if err := cfg.WithDefaults().Validate(); err != nil {
		return adapted{}, err
	}
	p, err := fop.New(cfg)
	return adapted{provider: p, reports: reports{account: &host.Account{API: string(api), ID: cfg.Account, Seal: s}}}, err
}

func newScripted(o *object, _ providers.HTTPConfig) (adapted, error) {
	var cfg scripted.Config
	readLatency(o, "latency", &cfg.Latency)
	o.texts("outcomes", &cfg.Outcomes)
	if err := cfg.Validate(); err != nil {
		return adapted{}, err
	}
	p, err := scripted.New(cfg)
	return adapted{provider: p}, err
}

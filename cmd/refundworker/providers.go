package main

import (
	"slices"
	"strings"

	"refundworker/providers"
	"refundworker/providers/bbmsl"
	"refundworker/providers/scripted"
)

// adapter builds the provider of one type from its own section of the settings.
type adapter func(section *object, pool providers.HTTPConfig) (providers.Provider, error)

// adapterOf is where a type of provider becomes known to the program.
func adapterOf(kind string) adapter {
	switch kind {
	case "bbmsl":
		return newBBMSL
	case "scripted":
		return newScripted
	}
	return nil
}

var (
	adapterTypes = []string{"bbmsl", "scripted"}
	laterTypes   = []string{"craftgate", "redirectfop", "cardfop"}
)

// readAdapter reads the type's section. A provider whose section has problems gets a stand-in that is never
// called, so that the rest of its settings is checked in the same go.
func readAdapter(o *object, kind string, pool providers.HTTPConfig) providers.Provider {
	standIn := &scripted.Provider{}
	build := adapterOf(kind)
	switch {
	case slices.Contains(laterTypes, kind):
		o.used[kind] = true
		o.found.add(o.at("type"), "%s is not supported by this version", kind)
		return standIn
	case build == nil:
		o.found.add(o.at("type"), "must be one of %s", strings.Join(adapterTypes, ", "))
		return standIn
	}
	section := o.object(kind)
	if section == nil {
		o.found.add(o.at(kind), "is needed: the settings of this type")
		return standIn
	}
	p, err := build(section, pool)
	section.finish()
	if err != nil {
		section.found.addUnder(section.path, err)
		return standIn
	}
	return p
}

func newBBMSL(o *object, pool providers.HTTPConfig) (providers.Provider, error) {
	cfg := bbmsl.Config{HTTP: pool}
	o.text("baseURL", &cfg.BaseURL)
	o.text("merchantId", &cfg.MerchantID)
	o.secret("privateKey", &cfg.PrivateKey)
	var model string
	o.choice("model", []string{string(bbmsl.Hosted), string(bbmsl.Direct)}, &model)
	cfg.Model = bbmsl.Model(model)
	o.flag("voidUnsettled", &cfg.VoidUnsettled)
	if err := cfg.WithDefaults().Validate(); err != nil {
		return nil, err
	}
	return bbmsl.New(cfg)
}

func newScripted(o *object, _ providers.HTTPConfig) (providers.Provider, error) {
	var cfg scripted.Config
	readLatency(o, "latency", &cfg.Latency)
	o.texts("outcomes", &cfg.Outcomes)
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return scripted.New(cfg)
}

package main

import (
	"errors"
	"slices"

	"refundworker/providers/simulator"
)

// scene is what the simulator is told before the cases are played.
type scene struct {
	bbmslKeys     []simulator.BBMSLKey
	craftgateKeys []simulator.CraftgateKey
	googleKeys    []simulator.GoogleKeys

	bbmsl     []simulator.BBMSLPayment
	craftgate []simulator.CraftgatePayment
	google    []simulator.GooglePayment

	faults []simulator.Fault
	// notices have as target the path alone until report completes it.
	notices []simulator.Notice
}

// and returns a scene with all of both.
func (s scene) and(other scene) scene {
	return scene{
		bbmslKeys:     slices.Concat(s.bbmslKeys, other.bbmslKeys),
		craftgateKeys: slices.Concat(s.craftgateKeys, other.craftgateKeys),
		googleKeys:    slices.Concat(s.googleKeys, other.googleKeys),
		bbmsl:         slices.Concat(s.bbmsl, other.bbmsl),
		craftgate:     slices.Concat(s.craftgate, other.craftgate),
		google:        slices.Concat(s.google, other.google),
		faults:        slices.Concat(s.faults, other.faults),
		notices:       slices.Concat(s.notices, other.notices),
	}
}

// tell sets everything but what is reported.
func (s scene) tell(sim *simulator.Server) error {
	return errors.Join(
		sim.BBMSL.SetKeys(s.bbmslKeys), sim.BBMSL.SetPayments(s.bbmsl),
		sim.Craftgate.SetKeys(s.craftgateKeys), sim.Craftgate.SetPayments(s.craftgate),
		sim.Google.SetKeys(s.googleKeys), sim.Google.SetPayments(s.google),
		sim.SetFaults(s.faults))
}

// report has the simulator report to an edge, whose address is known only once the worker has started.
func (s scene) report(sim *simulator.Server, edge string) error {
	list := slices.Clone(s.notices)
	for i := range list {
		list[i].Target = edge + list[i].Target
	}
	return sim.SetNotices(list)
}

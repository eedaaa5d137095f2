package harness

import (
	"github.com/kmemgate/kmemgate/initramfs/wire"
	"github.com/kmemgate/kmemgate/reports"
)

// canary finds the canary's load and the addresses it printed, in what the
// guest said before it had a job (package wire sees to that): later words are
// those of a kernel that the module under test owns.
func (a *answer) canary() reports.Canary {
	var c reports.Canary
	for _, l := range a.loads {
		if l.Canary {
			c.PID, c.Begin, c.End = l.PID, l.Begin, l.End
		}
	}
	c.Addresses = reports.CanaryAddresses(a.reader.Partial(wire.StreamCanary))
	return c
}

package leaktest

import (
	"fmt"
	"path/filepath"

	"github.com/kmemgate/kmemgate/reports"
	"github.com/kmemgate/kmemgate/scenarios"
)

// Differences are what a run has otherwise than its scenario's kmemgate.yml
// expects of the kernel: what fails the subtest of Run. It is for tests of the
// scenarios themselves, which want it to have some. out is the gate's folder.
func Differences(s *scenarios.Scenario, run reports.Run, out string) ([]string, error) {
	want, ok := s.ExpectFor(run.Kernel, run.Arch)
	if !ok {
		return nil, fmt.Errorf("%s: nothing is expected on %s/%s", filepath.Join(s.Dir, scenarios.FileName), run.Kernel, run.Arch)
	}
	return want.Check(observed(run, filepath.Join(out, run.Dir))), nil
}

package harness

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/kmemgate/kmemgate/reports"
	"github.com/kmemgate/kmemgate/scenarios"
)

// baselineName is the file of known leaks where kmemgate.yml names none.
const baselineName = "kmemgate-baseline.json"

// BaselinePath is where the known leaks of a scenario stand.
func BaselinePath(s *scenarios.Scenario) string {
	if s.Baseline != "" {
		return filepath.Join(s.Dir, s.Baseline)
	}
	return filepath.Join(s.Dir, baselineName)
}

// ReadBaseline reads the known leaks; none are known where there is no file
// and none was asked for.
func ReadBaseline(path string, wanted bool) (*reports.Baseline, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) && !wanted {
		return nil, nil
	}
	if err != nil {
		return nil, Usagef("baseline: %w", err)
	}
	defer f.Close()
	b, err := reports.ReadBaseline(f)
	if err != nil {
		return nil, Usagef("%s: %w", path, err)
	}
	return &b, nil
}

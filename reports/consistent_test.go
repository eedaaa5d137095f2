package reports

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestCheckRefusesWhatContradictsItself(t *testing.T) {
	fresh, known := []Leak{{Title: "memory leak in f", Status: New}}, []Leak{{Title: "memory leak in f", Status: Known}}
	walk := &WalkResult{Findings: []Finding{{Kind: "oops"}}}
	for name, c := range map[string]struct {
		run  Run
		want string // part of the error; empty: fine
	}{
		"clean":                   {Run{Verdict: Clean}, ""},
		"clean, known leak":       {Run{Verdict: Clean, Leaks: known}, ""},
		"leaks":                   {Run{Verdict: Leaks, Leaks: fresh}, ""},
		"known leak, fail-on any": {Run{Verdict: Leaks, Leaks: known}, ""},
		"finding":                 {Run{Verdict: Leaks, Walk: walk}, ""},
		"none with leaks":         {Run{Verdict: None, Leaks: fresh}, ""},
		"clean with a new leak":   {Run{Verdict: Clean, Leaks: fresh}, `the verdict is "clean", and "memory leak in f" is new`},
		"skipped with a new leak": {Run{Verdict: Skipped, Leaks: fresh}, "is new"},
		"clean with a finding":    {Run{Verdict: Clean, Walk: walk}, "its walk has findings"},
		"leaks without any":       {Run{Verdict: Leaks}, "there is no leak"},
		"a verdict nobody knows":  {Run{Verdict: "green"}, "there is no such verdict"},
	} {
		err := NewReport([]Run{c.run}).Check()
		if c.want == "" {
			assert.NoError(t, err, name)
		} else {
			assert.ErrorContains(t, err, c.want, name)
		}
	}
	assert.ErrorContains(t, Report{Verdict: Clean, Runs: []Run{{Verdict: None}}}.Check(), `the verdict is "clean", and that of its runs "none"`)
	assert.ErrorContains(t, Report{Verdict: Clean}.Check(), "none", "a report of nothing passed nothing")
}

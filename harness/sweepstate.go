package harness

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/google/renameio/v2"

	"github.com/kmemgate/kmemgate/reports"
)

// sweepState is the file of what a sweep has judged. It is replaced as a whole
// at every group, so that a sweep may be killed at any moment: what is in the
// file counts, what is not is done again.
type sweepState struct {
	mu   sync.Mutex
	path string
	file sweepFile
}

const sweepSchema = "kmemgate.sweep/v1"

// sweepFile is sweep.json.
type sweepFile struct {
	Schema string                 `json:"schema"`
	Done   map[string]sweptModule `json:"done"` // by sweptKernel.key
}

// sweptModule is what is known of one module.
type sweptModule struct {
	Run reports.Run `json:"run"`
	// Walked says that the run has the walk of its error paths.
	Walked bool `json:"walked,omitempty"`
}

func openSweepState(path string) (*sweepState, error) {
	s := &sweepState{path: path, file: sweepFile{sweepSchema, map[string]sweptModule{}}}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, hostError("", "sweep: %w", err)
	}
	if err := json.Unmarshal(text, &s.file); err != nil {
		return nil, Usagef("sweep: %s: %w: remove it to begin anew", path, err)
	}
	if s.file.Schema != sweepSchema || s.file.Done == nil {
		return nil, Usagef("sweep: %s: schema %q, want %q: remove it to begin anew", path, s.file.Schema, sweepSchema)
	}
	return s, nil
}

func (s *sweepState) get(key string) (sweptModule, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, ok := s.file.Done[key]
	return m, ok
}

// groups are the runs of groups, whose keys have this end.
func (s *sweepState) groups(suffix string) []reports.Run {
	s.mu.Lock()
	defer s.mu.Unlock()
	var runs []reports.Run
	for _, key := range slices.Sorted(maps.Keys(s.file.Done)) {
		if strings.HasSuffix(key, suffix) {
			runs = append(runs, s.file.Done[key].Run)
		}
	}
	return runs
}

// put adds results and writes the file.
func (s *sweepState) put(done map[string]sweptModule) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, m := range done {
		s.file.Done[key] = m
	}
	text, err := json.Marshal(s.file)
	if err == nil {
		err = renameio.WriteFile(s.path, text, 0o644)
	}
	if err != nil {
		return hostError("free some space", "sweep: %w", err)
	}
	return nil
}

func (s *sweepState) remove() error {
	if err := os.Remove(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return hostError("", "sweep: %w", err)
	}
	return nil
}

// key names a module's result: another kernel, another build of the module or
// other guests make another one. Paths of modules are content-addressed.
func (k *sweptKernel) key(t turn) string {
	s := k.Scenario
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %q %q %q %q %v %v %v", k.cell.kernel.Key, k.cell.arch, s.Clock, s.Memory, s.Cmdline, s.Stack, s.Timeout, s.FailOn, s.AllowWarn)
	for _, m := range t.modules() {
		fmt.Fprintf(h, " %q", m.Path)
	}
	return fmt.Sprintf("%s %x", t.name(), h.Sum(nil)[:8])
}

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

const sweepSchema = "kmemgate.sweep/v2"

// sweepFile is sweep.json.
type sweepFile struct {
	Schema string                 `json:"schema"`
	Done   map[string]sweptModule `json:"done"` // by sweptKernel.key
	// Pending are groups that are being split: what they showed must be found
	// again in their parts, or it is theirs.
	Pending map[string]sweptGroup `json:"pending,omitempty"`
	// Groups are those of which something was found in none of their parts.
	Groups map[string]sweptGroup `json:"groups,omitempty"`
}

// sweptModule is what is known of one module.
type sweptModule struct {
	Run reports.Run `json:"run"`
	// Walked says that the run has the walk of its error paths.
	Walked bool `json:"walked,omitempty"`
}

// sweptGroup is what the guest of a group showed as a whole.
type sweptGroup struct {
	Run   reports.Run `json:"run"`
	Turns []string    `json:"turns"` // their keys
}

func newSweepFile() sweepFile {
	return sweepFile{sweepSchema, map[string]sweptModule{}, map[string]sweptGroup{}, map[string]sweptGroup{}}
}

func openSweepState(path string) (*sweepState, error) {
	s := &sweepState{path: path, file: newSweepFile()}
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
	if s.file.Schema != sweepSchema || s.file.Done == nil || s.file.Pending == nil || s.file.Groups == nil {
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

// groupsOf are those of the list whose turns are all among the keys, the
// smallest first. Of a group of which only a part is chosen, the part was judged
// for itself.
func groupsOf(list map[string]sweptGroup, keys map[string]bool) []sweptGroup {
	var found []sweptGroup
	for _, name := range slices.Sorted(maps.Keys(list)) {
		g := list[name]
		if !slices.ContainsFunc(g.Turns, func(key string) bool { return !keys[key] }) {
			found = append(found, g)
		}
	}
	slices.SortStableFunc(found, func(a, b sweptGroup) int { return len(a.Turns) - len(b.Turns) })
	return found
}

// pending are the groups of these turns that were split and not accounted for.
func (s *sweepState) pending(keys map[string]bool) []sweptGroup {
	s.mu.Lock()
	defer s.mu.Unlock()
	return groupsOf(s.file.Pending, keys)
}

// groups are those of these turns of which something is left.
func (s *sweepState) groups(keys map[string]bool) []sweptGroup {
	s.mu.Lock()
	defer s.mu.Unlock()
	return groupsOf(s.file.Groups, keys)
}

// put adds results and writes the file.
func (s *sweepState) put(done map[string]sweptModule) error {
	return s.write(func(f *sweepFile) { maps.Copy(f.Done, done) })
}

// postpone keeps what a group showed until its parts are judged.
func (s *sweepState) postpone(g sweptGroup) error {
	return s.write(func(f *sweepFile) { f.Pending[g.id()] = g })
}

// settle ends what postpone began: the rest, where there is one, is the group's.
func (s *sweepState) settle(g sweptGroup, rest *reports.Run) error {
	return s.write(func(f *sweepFile) {
		delete(f.Pending, g.id())
		if rest != nil {
			f.Groups[g.id()] = sweptGroup{*rest, g.Turns}
		}
	})
}

func (s *sweepState) write(change func(*sweepFile)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.file)
	text, err := json.Marshal(s.file)
	if err == nil {
		err = renameio.WriteFile(s.path, text, 0o644)
	}
	if err != nil {
		return hostError("free some space", "sweep: %w", err)
	}
	return nil
}

func (g sweptGroup) id() string {
	sum := sha256.Sum256([]byte(strings.Join(g.Turns, "\n")))
	return fmt.Sprintf("%x", sum[:8])
}

func (s *sweepState) remove() error {
	if err := os.Remove(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return hostError("", "sweep: %w", err)
	}
	return nil
}

// conditions are all that a result depends on besides the module: the kernel,
// the guests, the baseline, every flag of the scenario, and kmemgate itself, whose
// agent and judgement change with it.
func (s *Sweep) conditions(c cell) (string, error) {
	tool, err := ownHash()
	if err != nil {
		return "", hostError("", "sweep: %w", err)
	}
	scenario := *s.Scenario
	scenario.Name, scenario.Dir, scenario.Baseline, scenario.Kernels, scenario.Arches = "", "", "", nil, nil
	text, err := json.Marshal([]any{tool, c.kernel.Key, c.arch, scenario, s.Gate.Baseline})
	if err != nil {
		return "", fmt.Errorf("sweep: %w", err)
	}
	return string(text), nil
}

// ownHash is the hash of the program that runs.
var ownHash = sync.OnceValues(func() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", err
	}
	return hashFiles(path)
})

// key names a module's result: another build of the module or other conditions
// make another one. Paths of modules are content-addressed.
func (k *sweptKernel) key(t turn) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s", k.conditions)
	for _, m := range t.modules() {
		fmt.Fprintf(h, " %q", m.Path)
	}
	return fmt.Sprintf("%s %x", t.name(), h.Sum(nil)[:8])
}

func (k *sweptKernel) keys(turns []turn) []string {
	keys := make([]string, len(turns))
	for i, t := range turns {
		keys[i] = k.key(t)
	}
	return keys
}

// keySet is keys, to look up in.
func (k *sweptKernel) keySet(turns []turn) map[string]bool {
	set := map[string]bool{}
	for _, key := range k.keys(turns) {
		set[key] = true
	}
	return set
}

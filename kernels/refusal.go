package kernels

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// refusedJSON is in the entry of a search that found nothing, in place of growJSON.
const refusedJSON = "refused.json"

// refusal is what is kept of a driver that names what the kernel's source has
// nowhere: the two contents prove it, and the entry's key has both, so that no
// other run can end otherwise. Whatever else fails (a compiler that was killed, a
// full disk, a script of the driver's) may not fail the next time, and is not kept.
type refusal struct {
	Text string `json:"text"`
	Cure string `json:"cure"`
	Log  string `json:"log"` // of the build, beside the cache's entry
}

// refuse keeps an outcome of the search if it is a refusal, and returns it if not.
func (g *growth) refuse(ctx context.Context, k *Kernel, entry string, failed error) error {
	var told *Error
	if !errors.As(failed, &told) || !told.proven {
		return failed
	}
	if e, err := g.b.planExternal(ctx, k, g.dir, g.opts); err != nil || !e.runsNothing() {
		return failed
	}
	return writeJSON(filepath.Join(entry, refusedJSON), refusal{told.Err.Error(), told.Cure, told.Log})
}

// refusedAgain is the outcome of an entry that holds a refusal. Where the log that
// it tells the user to read was removed, the search makes both anew.
func (g *growth) refusedAgain(ctx context.Context, k *Kernel, entry string) (*Driver, error) {
	var r refusal
	text, err := os.ReadFile(filepath.Join(entry, refusedJSON))
	if err != nil {
		return nil, hostErr(err, "driver %s", g.dir)
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(entry, refusedJSON), err)
	}
	if _, err := os.Stat(r.Log); r.Log != "" && err != nil {
		return g.search(ctx, k)
	}
	return nil, &Error{Fault: FaultDriver, Err: errors.New(r.Text), Cure: r.Cure, Log: r.Log, proven: true}
}

// runsNothing tells whether compiler and modpost alone build the driver: what
// other programs of this machine do is in no key.
func (e *externalBuild) runsNothing() bool {
	for _, p := range e.parts {
		if p.kind != kindKbuild {
			return false
		}
	}
	for _, file := range e.files {
		if name := filepath.Base(file); !isMakefile(name) && filepath.Ext(name) != ".mk" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(e.root, file))
		if err != nil || makeRuns(string(text)) {
			return false
		}
	}
	return true
}

// makeRuns tells whether a Makefile may run programs while kbuild reads it, or
// have kbuild make and run some.
func makeRuns(text string) bool {
	for _, sign := range []string{"$(shell", "${shell", "!=", "`", "hostprogs", "userprogs", "include "} {
		if strings.Contains(text, sign) {
			return true
		}
	}
	return false
}

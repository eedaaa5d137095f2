package kernels

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kmemgate/kmemgate/kconfig"
)

// pulledInfo is pulled.json, in the entry of a kernel that came from a registry.
type pulledInfo struct {
	From string `json:"from"` // REGISTRY/REPO@sha256:…
	Twin string `json:"twin"`
}

const pulledJSON = "pulled.json"

func readPulled(entry string) (info pulledInfo, err error) {
	text, err := os.ReadFile(filepath.Join(entry, pulledJSON))
	if err != nil {
		return info, err
	}
	return info, json.Unmarshal(text, &info)
}

// pulledTwin looks for a pulled kernel that is what is wanted but for the
// compiler, which is another machine's. It is used as it is, and that is told:
// to build it again here is what pulling it was to save.
func (b *Builder) pulledTwin(k *kernelBuild) (key, compiler string) {
	entries, err := b.cache().List() // the last used comes last
	if err != nil {
		return "", ""
	}
	twin := k.twin()
	for _, e := range slices.Backward(entries) {
		if e.Kind != KindKernels || !e.Complete {
			continue
		}
		if p, err := readPulled(e.Path); err != nil || p.Twin != twin {
			continue
		}
		if info, err := readKernelInfo(e.Path); err == nil {
			return e.Key, info.Compiler
		}
	}
	return "", ""
}

// takePulled has a build that is not there replaced by its pulled twin.
func (k *kernelBuild) takePulled() {
	key, compiler := k.b.pulledTwin(k)
	if key == "" {
		return
	}
	dir, err := k.b.cache().Path(KindKernels, key)
	if err != nil {
		return
	}
	if k.key, k.dir, k.pulled = key, dir, true; k.b.first("pulled " + key) {
		k.b.logf("kernel %s %s: pulled, and used as it is: built with %s; drivers are built with %s", k.src.version, k.arch, compiler, k.chain.version)
	}
}

// usePulled takes it into use. A damaged one cannot be made again here: this
// machine has another compiler.
func (k *kernelBuild) usePulled(ctx context.Context) (release func(), err error) {
	release, ok := k.b.cache().open(ctx, k.dir, recipe{})
	if ok {
		return release, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return nil, &Error{
		Fault: FaultHost, Err: fmt.Errorf("kernel %s: it was pulled, and is damaged", k.key),
		Cure: "kmemgate kernel pull it again, which mends it",
	}
}

// tellPulled says what stands between a pulled kernel and its use here: another
// compiler, other options, a newer source of the series.
func (b *Builder) tellPulled(ctx context.Context, p *provenance, src *source) error {
	chain, err := b.toolchain(ctx, p.Arch, p.LLVM)
	if err != nil {
		b.logf("kernel %s: pulled, but it cannot be used here yet: %v", p, err)
		return ctx.Err()
	}
	spec := Spec{Source: p.Name, Arch: p.Arch, LLVM: p.LLVM}
	if len(p.Own) > 0 {
		own, err := kconfig.Parse(strings.NewReader(strings.Join(p.Own, "\n")), "the options it was pushed with")
		if err != nil {
			return err
		}
		spec.Config = []kconfig.Fragment{own}
	}
	k, err := b.plan(chain, src, spec)
	if err != nil {
		return err
	}
	if k.key != p.Key {
		b.logf("kernel %s: pulled, but this kmemgate asks for other options (%s): a run builds its own; push with the same kmemgate",
			p, differing(p.Options, optionLines(k.want)))
	}
	b.tellNewer(ctx, p)
	return ctx.Err()
}

func (b *Builder) tellNewer(ctx context.Context, p *provenance) {
	if !versionPattern.MatchString(strings.TrimPrefix(p.Name, "debian:")) {
		return
	}
	s, err := b.resolveCached(ctx, p.Name)
	if err != nil || s == nil {
		return
	}
	defer s.release()
	if s.key != p.Source.Key {
		b.logf("kernel %s: pulled, but --kernel %s means %s here, whose source is in the cache: name --kernel %s", p, p.Name, s.version, p.Source.Version)
	}
}

// differing names the options that only one side has, at most a few.
func differing(a, b []string) string {
	var only []string
	for _, side := range [][2][]string{{a, b}, {b, a}} {
		for _, o := range side[0] {
			if !slices.Contains(side[1], o) {
				only = append(only, o)
			}
		}
	}
	if len(only) > 6 {
		only = append(only[:6], "…")
	}
	return strings.Join(only, ", ")
}

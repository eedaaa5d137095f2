package kernels

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path/filepath"
	"sort"
	"strings"

	"github.com/kmemgate/kmemgate/kconfig"
	"github.com/kmemgate/kmemgate/kernels/layer"
)

// A kernel travels as an OCI artifact: a manifest whose config is its provenance
// and whose layers are its files as zstd tar streams. A tag names an index of
// such manifests.
// https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md#guidelines-for-artifact-usage
const (
	typeKernel     = "application/vnd.kmemgate.kernel.v1"
	typeKernels    = "application/vnd.kmemgate.kernels.v1" // the index
	typeProvenance = "application/vnd.kmemgate.kernel.provenance.v1+json"

	annotationName     = "io.github.kmemgate.name"     // what --kernel named it: "6.12"
	annotationArch     = "io.github.kmemgate.arch"     // "x86_64"
	annotationKey      = "io.github.kmemgate.key"      // of the cache
	annotationOwn      = "io.github.kmemgate.config"   // sum of the options on top of the base; empty: none
	annotationSource   = "io.github.kmemgate.source"   // key of the source
	annotationFiles    = "io.github.kmemgate.files"    // of a layer, unpacked
	annotationUnpacked = "io.github.kmemgate.unpacked" // its bytes
)

// The layers, in the order in which they are unpacked. The source comes first,
// and once for all kernels that are made of it: it is most of the bytes.
const (
	layerSource  = "source"  // linux/: to make keys, drivers and larger kernels from
	layerConfig  = "config"  // build/.config
	layerImage   = "image"   // what QEMU boots
	layerModules = "modules" // *.ko as built, and stripped/
	layerBuild   = "build"   // what else a driver's build needs
	layerObjects = "objects" // what the next kernel of this source is built from
)

var kernelLayers = []string{layerConfig, layerImage, layerModules, layerBuild, layerObjects}

func layerType(name string) string { return "application/vnd.kmemgate.kernel." + name + ".v1.tar+zstd" }

// layerOf tells which layer a file of a kernel's cache entry goes to; "" means
// none: what the puller writes itself.
func layerOf(name, image string) string {
	base := filepath.Base(name)
	switch {
	case name == "build/.config":
		return layerConfig
	case name == "build/"+image:
		return layerImage
	case strings.HasPrefix(name, "stripped/"), hasSuffix(name, ".ko"):
		return layerModules
	case hasSuffix(name, ".o", ".a") || strings.HasPrefix(base, ".tmp_"):
		return layerObjects
	case strings.HasPrefix(name, "build/"):
		return layerBuild
	}
	return ""
}

// places are the paths that stand in a kernel's build tree.
func places(build, source string) layer.Places {
	return layer.Places{"@KMEMGATE-BUILD@": build, "@KMEMGATE-SOURCE@": source}
}

// provenanceSchema is the first word of a provenance.
const provenanceSchema = "kmemgate.kernel/v1"

// provenance is the artifact's config: how a kernel came about. No paths of the
// machine that built it.
type provenance struct {
	Schema   string `json:"schema"`
	Key      string `json:"key"`
	Name     string `json:"name"` // what --kernel named it
	Release  string `json:"release"`
	Arch     string `json:"arch"`
	Compiler string `json:"compiler"`
	LLVM     bool   `json:"llvm,omitempty"`
	Objects  int    `json:"objects"`
	Recipe   string `json:"recipe"` // recipeVersion

	// Options are all that were asked for on top of tinyconfig, sorted; Own
	// those of them that are not of the base.
	Options []string `json:"options"`
	Own     []string `json:"own,omitempty"`

	Source provenanceSource `json:"source"`
}

type provenanceSource struct {
	Key     string `json:"key"`
	Version string `json:"version"`
	Origin  string `json:"origin"`
}

func (k *kernelBuild) provenance(info kernelInfo) (*provenance, error) {
	own, err := kconfig.Merge(k.spec.Config...)
	if err != nil {
		return nil, err
	}
	return &provenance{
		Schema: provenanceSchema, Key: k.key, Name: k.spec.Source, Release: info.Release, Arch: k.arch,
		Compiler: info.Compiler, LLVM: info.LLVM, Objects: info.Objects, Recipe: recipeVersion,
		Options: optionLines(k.want), Own: optionLines(own),
		Source: provenanceSource{Key: k.src.key, Version: k.src.version, Origin: k.src.origin},
	}, nil
}

// optionLines are a fragment's options, sorted: the order says nothing.
func optionLines(f kconfig.Fragment) []string {
	lines := make([]string, len(f.Options))
	for i, o := range f.Options {
		lines[i] = o.String()
	}
	sort.Strings(lines)
	return lines
}

// parseProvenance reads a provenance and checks that what names files or goes
// into a key is what this kmemgate would have written.
func parseProvenance(text []byte) (*provenance, error) {
	var p provenance
	if err := json.Unmarshal(text, &p); err != nil {
		return nil, fmt.Errorf("provenance: %w", err)
	}
	if p.Schema != provenanceSchema {
		return nil, fmt.Errorf("provenance: schema %.40q, want %q: use the kmemgate that pushed it", p.Schema, provenanceSchema)
	}
	if _, ok := archs[p.Arch]; !ok {
		return nil, fmt.Errorf("provenance: architecture %.40q is not known", p.Arch)
	}
	if strings.HasPrefix(p.Source.Key, "dir-") || !safeKey.MatchString(p.Source.Key) || !safeKey.MatchString(p.Release) {
		return nil, fmt.Errorf("provenance: source %.40q, release %.40q cannot name one", p.Source.Key, p.Release)
	}
	if want := p.key(); p.Key != want {
		return nil, fmt.Errorf("provenance: the key %.60q does not follow from it: that is %s", p.Key, want)
	}
	return &p, nil
}

func (p *provenance) key() string {
	return keyOf(p.Recipe, &source{key: p.Source.Key, version: p.Source.Version}, p.Arch, p.Compiler, p.LLVM, p.Options)
}

// twin is the same for kernels that differ by nothing but their compiler.
func (p *provenance) twin() string {
	return keyOf(p.Recipe, &source{key: p.Source.Key, version: p.Source.Version}, p.Arch, "", p.LLVM, p.Options)
}

// twin is the provenance's of a kernel that is planned.
func (k *kernelBuild) twin() string {
	return keyOf(recipeVersion, k.src, k.arch, "", k.chain.llvm, optionLines(k.want))
}

// ownSum tells apart kernels of one name and architecture; empty for the base.
func ownSum(options []string) string {
	if len(options) == 0 {
		return ""
	}
	sum := sha256.Sum256([]byte(strings.Join(options, "\n")))
	return hex.EncodeToString(sum[:])[:12]
}

// refersTo reports whether the kernel is one that a spec asks for: by the name
// that it was pushed under, or by a series that it belongs to.
func (p *provenance) refersTo(spec Spec) bool {
	own, err := kconfig.Merge(spec.Config...)
	if err != nil || p.Arch != spec.Arch || p.LLVM != spec.LLVM || ownSum(p.Own) != ownSum(optionLines(own)) {
		return false
	}
	if p.Name == spec.Source {
		return true
	}
	series, err := parseVersion(strings.TrimPrefix(spec.Source, "debian:"))
	v, errV := parseVersion(p.Source.Version)
	return err == nil && errV == nil && v.in(series) &&
		(!strings.HasPrefix(spec.Source, "debian:") || strings.HasPrefix(p.Source.Origin, "Debian"))
}

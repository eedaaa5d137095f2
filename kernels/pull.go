package kernels

import (
	"context"
	"fmt"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"
)

// Pull brings kernels from a registry into the cache: those that specs ask for,
// or all that the tag has. A kernel is there as a whole, every byte as its digest
// says, or not at all; one that is in the cache already is left as it is.
func (b *Builder) Pull(ctx context.Context, r Registry, specs []Spec) ([]*Kernel, error) {
	repo, err := r.open()
	if err != nil {
		return nil, err
	}
	p := &puller{b: b, repo: repo}
	pulled, err := p.pull(ctx, specs)
	if err != nil {
		return nil, registryErr(because(ctx, err), repo.Reference, "pull from")
	}
	return pulled, nil
}

type puller struct {
	b    *Builder
	repo *remote.Repository
}

// offer is a kernel that a tag has.
type offer struct {
	desc   ocispec.Descriptor
	prov   *provenance
	layers map[string]ocispec.Descriptor // by name
}

func (p *puller) pull(ctx context.Context, specs []Spec) ([]*Kernel, error) {
	offers, err := p.offers(ctx, specs)
	if err != nil {
		return nil, err
	}
	chosen, err := choose(offers, specs)
	if err != nil {
		return nil, err
	}
	var pulled []*Kernel
	for _, o := range chosen {
		k, err := p.kernel(ctx, o)
		if err != nil {
			return nil, err
		}
		pulled = append(pulled, k)
	}
	return pulled, nil
}

// offers reads the kernels of the tag or digest, of the architectures asked for.
func (p *puller) offers(ctx context.Context, specs []Spec) ([]*offer, error) {
	desc, err := p.repo.Resolve(ctx, p.repo.Reference.Reference)
	if err != nil {
		return nil, err
	}
	entries := []ocispec.Descriptor{desc}
	if desc.MediaType == ocispec.MediaTypeImageIndex {
		var index ocispec.Index
		if err := fetchJSON(ctx, p.repo, desc, &index); err != nil {
			return nil, err
		}
		entries = index.Manifests
	}
	var offers []*offer
	for _, entry := range entries {
		arch := entry.Annotations[annotationArch]
		if arch != "" && len(specs) > 0 && !slices.ContainsFunc(specs, func(s Spec) bool { return s.Arch == arch }) {
			continue
		}
		o, err := p.offer(ctx, entry)
		if err != nil {
			return nil, err
		}
		offers = append(offers, o)
	}
	return offers, nil
}

func (p *puller) offer(ctx context.Context, desc ocispec.Descriptor) (*offer, error) {
	if desc.MediaType != ocispec.MediaTypeImageManifest {
		return nil, fmt.Errorf("%s is a %s, no kernel", desc.Digest, desc.MediaType)
	}
	var m ocispec.Manifest
	if err := fetchJSON(ctx, p.repo, desc, &m); err != nil {
		return nil, err
	}
	if m.ArtifactType != typeKernel || m.Config.MediaType != typeProvenance {
		return nil, fmt.Errorf("%s is a %q, no kernel of this kmemgate", desc.Digest, m.ArtifactType)
	}
	text, err := fetchSmall(ctx, p.repo.Blobs(), m.Config)
	if err != nil {
		return nil, err
	}
	prov, err := parseProvenance(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", desc.Digest, err)
	}
	layers, err := namedLayers(m.Layers)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", desc.Digest, err)
	}
	return &offer{desc: desc, prov: prov, layers: layers}, nil
}

// namedLayers makes sure that each layer is there, once, and no other.
func namedLayers(layers []ocispec.Descriptor) (map[string]ocispec.Descriptor, error) {
	want := append([]string{layerSource}, kernelLayers...)
	byType := map[string]string{}
	for _, name := range want {
		byType[layerType(name)] = name
	}
	named := map[string]ocispec.Descriptor{}
	for _, l := range layers {
		name, ok := byType[l.MediaType]
		if _, twice := named[name]; !ok || twice {
			return nil, fmt.Errorf("unexpected layer %s (%.60s)", l.Digest, l.MediaType)
		}
		named[name] = l
	}
	if len(named) != len(want) {
		return nil, fmt.Errorf("it has %d layers, not %d: %s", len(named), len(want), strings.Join(want, ", "))
	}
	return named, nil
}

// choose takes the newest kernel for each spec, or all.
func choose(offers []*offer, specs []Spec) ([]*offer, error) {
	if len(specs) == 0 {
		return offers, nil
	}
	var chosen []*offer
	for _, spec := range specs {
		var best *offer
		for _, o := range offers {
			if o.prov.refersTo(spec) && (best == nil || best.prov.older(o.prov)) {
				best = o
			}
		}
		if best == nil {
			return nil, notOffered(offers, spec)
		}
		chosen = append(chosen, best)
	}
	return chosen, nil
}

func (p *provenance) older(q *provenance) bool {
	v, errV := parseVersion(p.Source.Version)
	w, errW := parseVersion(q.Source.Version)
	return errV == nil && errW == nil && v.less(w)
}

func notOffered(offers []*offer, spec Spec) error {
	var has []string
	for _, o := range offers {
		has = append(has, o.prov.String())
	}
	config := ""
	for _, f := range spec.Config {
		config += " with " + f.Name
	}
	return &Error{
		Fault: FaultHost, Err: fmt.Errorf("it has no kernel %s/%s%s, but [%s]", spec.Source, spec.Arch, config, strings.Join(has, ", ")),
		Cure: "name one of these, with the --config that it was pushed with; or push it first",
	}
}

// String is what a kernel was pushed as: "6.12/arm64 (6.12.117, 61 options of its own)".
func (p *provenance) String() string {
	s := fmt.Sprintf("%s/%s (%s", p.Name, p.Arch, p.Source.Version)
	if n := len(p.Own); n > 0 {
		s += fmt.Sprintf(", %d options of its own", n)
	}
	return s + ")"
}

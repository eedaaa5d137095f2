package kernels

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote"
)

// Push brings built kernels into a registry and returns REGISTRY/REPO@DIGEST of
// the index that the tag names from then on. The tag is set when all is there: a
// push that was cut short leaves the tag as it was. What the tag had stays in it,
// but for the kernels of the same name, architecture and options.
func (b *Builder) Push(ctx context.Context, r Registry, specs []Spec) (string, error) {
	repo, err := r.open()
	if err != nil {
		return "", err
	}
	if err := repo.Reference.ValidateReferenceAsTag(); err != nil {
		return "", usageErr("name a tag, or none", "push to %q: %w", r.Reference, err)
	}
	p := &pusher{b: b, repo: repo, sources: map[string]ocispec.Descriptor{}}
	index, err := p.push(ctx, specs)
	if err != nil {
		return "", registryErr(because(ctx, err), repo.Reference, "push to")
	}
	return repo.Reference.Registry + "/" + repo.Reference.Repository + "@" + index.Digest.String(), nil
}

type pusher struct {
	b    *Builder
	repo *remote.Repository
	// sources are the layers that are in the repository, by the source's key.
	sources map[string]ocispec.Descriptor
	index   []ocispec.Descriptor
}

func (p *pusher) push(ctx context.Context, specs []Spec) (ocispec.Descriptor, error) {
	var builds []*kernelBuild
	for _, spec := range specs { // before the first byte: all must be there
		k, err := p.b.built(ctx, spec)
		if err != nil {
			return ocispec.Descriptor{}, err
		}
		if k.src.local {
			return ocispec.Descriptor{}, usageErr("pack it, and name the tarball's URL with #sha256=…",
				"push %s: the kernel of a directory stays on its machine", spec.Source)
		}
		if err := k.check(ctx); err != nil {
			return ocispec.Descriptor{}, err
		}
		builds = append(builds, k)
	}
	if err := p.readIndex(ctx); err != nil {
		return ocispec.Descriptor{}, err
	}
	for _, k := range builds {
		desc, err := p.kernel(ctx, k)
		if err != nil {
			return desc, err
		}
		p.put(desc)
	}
	return p.tag(ctx)
}

// check takes the kernel into use and makes sure that kernel and source are
// undamaged: what is pushed goes to forty machines.
func (k *kernelBuild) check(ctx context.Context) error {
	if _, err := k.kernel(ctx); err != nil {
		return err
	}
	if err := checkManifest(k.src.entry, false); err != nil {
		return &Error{
			Fault: FaultHost, Err: fmt.Errorf("push %s: its source is damaged: %w", k.key, err),
			Cure: Quote([]string{"rm", okFile(k.src.entry)}) + ", and build the kernel again",
		}
	}
	return nil
}

// readIndex reads what the tag has. A tag that is not there yet has nothing.
func (p *pusher) readIndex(ctx context.Context) error {
	desc, err := p.repo.Resolve(ctx, p.repo.Reference.Reference)
	if errors.Is(err, errdef.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	var index ocispec.Index
	if desc.MediaType != ocispec.MediaTypeImageIndex {
		return fmt.Errorf("the tag is %s, not kmemgate's: push to another one", desc.MediaType)
	}
	if err := fetchJSON(ctx, p.repo, desc, &index); err != nil {
		return err
	}
	if index.ArtifactType != typeKernels {
		return fmt.Errorf("the tag is %q, not kmemgate's: push to another one", index.ArtifactType)
	}
	p.index = index.Manifests
	return nil
}

// put adds a kernel to the index, in place of an older one of its kind.
func (p *pusher) put(desc ocispec.Descriptor) {
	for i, old := range p.index {
		same := true
		for _, key := range []string{annotationName, annotationArch, annotationOwn} {
			same = same && old.Annotations[key] == desc.Annotations[key]
		}
		if same {
			p.index[i] = desc
			return
		}
	}
	p.index = append(p.index, desc)
}

func (p *pusher) tag(ctx context.Context) (ocispec.Descriptor, error) {
	text, err := json.Marshal(ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex,
		ArtifactType: typeKernels, Manifests: p.index,
	})
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return oras.TagBytes(ctx, p.repo.Manifests(), ocispec.MediaTypeImageIndex, text, p.repo.Reference.Reference)
}

// kernel pushes one kernel and returns its entry in the index.
func (p *pusher) kernel(ctx context.Context, k *kernelBuild) (desc ocispec.Descriptor, err error) {
	info, err := readKernelInfo(k.dir)
	if err != nil {
		return desc, hostErr(err, "kernel %s", k.key)
	}
	prov, err := k.provenance(info)
	if err != nil {
		return desc, err
	}
	source, err := p.source(ctx, k)
	if err != nil {
		return desc, err
	}
	layers, err := p.layers(ctx, k)
	if err != nil {
		return desc, err
	}
	text, err := json.MarshalIndent(prov, "", "  ")
	if err != nil {
		return desc, err
	}
	config, err := oras.PushBytes(ctx, p.repo.Blobs(), typeProvenance, text)
	if err != nil && !errors.Is(err, errdef.ErrAlreadyExists) {
		return desc, err
	}
	return p.manifest(ctx, k, prov, config, append([]ocispec.Descriptor{source}, layers...))
}

func (p *pusher) manifest(ctx context.Context, k *kernelBuild, prov *provenance, config ocispec.Descriptor, layers []ocispec.Descriptor) (ocispec.Descriptor, error) {
	built, err := os.Stat(filepath.Join(k.dir, kernelJSON))
	if err != nil {
		return ocispec.Descriptor{}, hostErr(err, "kernel %s", k.key)
	}
	annotations := map[string]string{
		ocispec.AnnotationTitle:   "Linux " + prov.Release + " for " + prov.Arch + ", by kmemgate",
		ocispec.AnnotationVersion: prov.Release,
		// The same kernel makes the same manifest, whenever it is pushed.
		ocispec.AnnotationCreated: built.ModTime().UTC().Format(time.RFC3339),
		annotationName:            prov.Name, annotationArch: prov.Arch, annotationKey: prov.Key,
		annotationOwn: ownSum(prov.Own), annotationSource: prov.Source.Key,
	}
	desc, err := oras.PackManifest(ctx, p.repo, oras.PackManifestVersion1_1, typeKernel, oras.PackManifestOptions{
		ConfigDescriptor: &config, Layers: layers, ManifestAnnotations: annotations,
	})
	desc.Annotations = annotations
	desc.Platform = &ocispec.Platform{OS: "linux", Architecture: archs[prov.Arch].goarch}
	return desc, err
}

// source pushes the layer of a kernel's source, unless the repository has it.
func (p *pusher) source(ctx context.Context, k *kernelBuild) (desc ocispec.Descriptor, err error) {
	if desc, ok := p.sources[k.src.key]; ok {
		return desc, nil
	}
	if desc, ok := p.pushedSource(ctx, k.src.key); ok {
		p.sources[k.src.key] = desc
		return desc, nil
	}
	names, err := treeNames(k.src.entry, sourceTree)
	if err != nil {
		return desc, hostErr(err, "source %s", k.src.key)
	}
	desc, err = p.layer(ctx, packing{what: "source " + k.src.version, layer: layerSource, dir: k.src.entry, names: names})
	p.sources[k.src.key] = desc
	return desc, err
}

// pushedSource finds the layer in what the tag has: to pack 1.6 GB again only to
// learn its digest takes longer than all the rest.
func (p *pusher) pushedSource(ctx context.Context, key string) (desc ocispec.Descriptor, ok bool) {
	for _, entry := range p.index {
		if entry.Annotations[annotationSource] != key {
			continue
		}
		var m ocispec.Manifest
		if err := fetchJSON(ctx, p.repo, entry, &m); err != nil {
			continue
		}
		for _, l := range m.Layers {
			if l.MediaType != layerType(layerSource) {
				continue
			}
			if has, err := p.repo.Blobs().Exists(ctx, l); err == nil && has {
				return l, true
			}
		}
	}
	return desc, false
}

// layers pushes the files of a kernel's entry.
func (p *pusher) layers(ctx context.Context, k *kernelBuild) ([]ocispec.Descriptor, error) {
	byLayer := map[string][]string{}
	for _, top := range []string{"build", "stripped"} {
		names, err := treeNames(k.dir, top)
		if err != nil {
			return nil, hostErr(err, "kernel %s", k.key)
		}
		for _, name := range names {
			l := layerOf(name, k.chain.facts.image)
			byLayer[l] = append(byLayer[l], name)
		}
	}
	var layers []ocispec.Descriptor
	for _, name := range kernelLayers {
		desc, err := p.layer(ctx, packing{
			what: fmt.Sprintf("kernel %s %s", k.src.version, k.arch), layer: name,
			dir: k.dir, names: byLayer[name], places: places(k.build(), k.src.dir),
		})
		if err != nil {
			return nil, err
		}
		layers = append(layers, desc)
	}
	return layers, nil
}

// layer packs a layer into a temporary file and pushes it, unless it is there.
func (p *pusher) layer(ctx context.Context, what packing) (desc ocispec.Descriptor, err error) {
	file, err := os.CreateTemp("", "kmemgate-push-*")
	if err != nil {
		return desc, hostErr(err, "push")
	}
	defer os.Remove(file.Name())
	defer file.Close()
	desc, err = what.pack(ctx, file)
	if err != nil {
		return desc, hostErr(err, "push: %s", what.what)
	}
	has, err := p.repo.Blobs().Exists(ctx, desc)
	if err != nil || has {
		return desc, err
	}
	if _, err := file.Seek(0, 0); err != nil {
		return desc, hostErr(err, "push")
	}
	t, ctx := p.b.newTransfer(ctx, what.what+": pushing "+what.layer, desc.Size)
	defer t.stop()
	return desc, because(ctx, p.repo.Blobs().Push(ctx, desc, t.reader(file)))
}

func annotate(desc *ocispec.Descriptor, layer string, files, bytes int64) {
	desc.Annotations = map[string]string{
		ocispec.AnnotationTitle: layer + ".tar.zst",
		annotationFiles:         strconv.FormatInt(files, 10), annotationUnpacked: strconv.FormatInt(bytes, 10),
	}
}

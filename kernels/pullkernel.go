package kernels

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/klauspost/compress/zstd"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	oras "oras.land/oras-go/v2/content"

	"github.com/kmemgate/kmemgate/kernels/layer"
)

// What a layer may unpack to, whatever it declares: a kernel with all modules
// and their debug information has some 10 GB, a source 90,000 files.
const (
	maxUnpacked = 20 << 30
	maxFiles    = 500_000
)

// kernel pulls one kernel, after the source that it is made of.
func (p *puller) kernel(ctx context.Context, o *offer) (*Kernel, error) {
	src, err := p.source(ctx, o)
	if err != nil {
		return nil, err
	}
	p.b.hold(src.dir, src.release)
	r := recipe{doing: "pulls it", make: func(ctx context.Context, dir string) error { return p.fill(ctx, o, src, dir) }}
	dir, release, err := p.b.cache().entry(ctx, KindKernels, o.prov.Key, r)
	if err != nil {
		return nil, err
	}
	p.b.hold(dir, release)
	info, err := readKernelInfo(dir)
	if err != nil {
		return nil, hostErr(err, "kernel %s", o.prov.Key)
	}
	return p.b.kernelAt(dir, info), p.b.tellPulled(ctx, o.prov, src)
}

func (p *puller) source(ctx context.Context, o *offer) (*source, error) {
	want := o.prov.Source
	r := recipe{sizesOnly: true, doing: "pulls it"}
	r.make = func(ctx context.Context, dir string) error {
		if err := p.unpack(ctx, "source "+want.Version, o, layerSource, dir, nil); err != nil {
			return err
		}
		v, err := treeVersion(filepath.Join(dir, sourceTree))
		if err == nil && v != want.Version {
			err = fmt.Errorf("it is of %s", v)
		}
		if err != nil {
			return fmt.Errorf("source %s: %w", want.Version, err)
		}
		return writeSourceInfo(dir, filepath.Join(dir, sourceTree), want.Origin)
	}
	dir, release, err := p.b.cache().entry(ctx, KindSources, want.Key, r)
	if err != nil {
		return nil, err
	}
	return cacheSource(dir, want.Key, sourceInfo{Version: want.Version, Origin: want.Origin}, release), nil
}

// fill writes a kernel's entry under its temporary name. The paths in it are
// those of the final one.
func (p *puller) fill(ctx context.Context, o *offer, src *source, dir string) error {
	final, err := p.b.cache().Path(KindKernels, o.prov.Key)
	if err != nil {
		return err
	}
	what := fmt.Sprintf("kernel %s %s", o.prov.Source.Version, o.prov.Arch)
	for _, name := range kernelLayers {
		if err := p.unpack(ctx, what, o, name, dir, places(filepath.Join(final, "build"), src.dir)); err != nil {
			return err
		}
	}
	return o.finish(dir, src, p.repo.Reference.Registry+"/"+p.repo.Reference.Repository)
}

// finish checks that what was unpacked is a kernel, and writes what a build
// would have.
func (o *offer) finish(dir string, src *source, from string) error {
	build := filepath.Join(dir, "build")
	release, err := kernelRelease(build)
	if err == nil && release != o.prov.Release {
		err = fmt.Errorf("its release is %.40q, not %s", release, o.prov.Release)
	}
	for _, file := range []string{archs[o.prov.Arch].image, ".config"} {
		if err == nil {
			_, err = os.Stat(filepath.Join(build, file))
		}
	}
	if err != nil {
		return fmt.Errorf("%s is no kernel: %w", o.desc.Digest, err)
	}
	return errors.Join(
		writeJSON(filepath.Join(dir, kernelJSON), kernelInfo{
			Release: release, Arch: o.prov.Arch, Origin: o.prov.Source.Origin, SourceKey: src.key, SourceDir: src.dir,
			Compiler: o.prov.Compiler, LLVM: o.prov.LLVM, Objects: o.prov.Objects,
		}),
		writeJSON(filepath.Join(dir, pulledJSON), pulledInfo{From: from + "@" + o.desc.Digest.String(), Twin: o.prov.twin()}),
	)
}

// under is where a layer may write.
func under(name string) []string {
	switch name {
	case layerSource:
		return []string{sourceTree}
	case layerModules:
		return []string{"build", "stripped"}
	}
	return []string{"build"}
}

// unpack fetches a layer and unpacks it as it comes. What it wrote counts for
// nothing until the last byte is in and the digest is right: the folder is the
// cache's temporary one.
func (p *puller) unpack(ctx context.Context, what string, o *offer, name, dir string, places layer.Places) error {
	desc := o.layers[name]
	limits, err := limitsOf(desc)
	if err != nil {
		return fmt.Errorf("%s %s: %w", name, desc.Digest, err)
	}
	limits.Under = under(name)
	root, err := os.OpenRoot(dir)
	if err != nil {
		return hostErr(err, "pull")
	}
	defer root.Close()
	t, ctx := p.b.newTransfer(ctx, what+": pulling "+name, desc.Size)
	defer t.stop()
	rc, err := p.repo.Blobs().Fetch(ctx, desc)
	if err != nil {
		return because(ctx, fmt.Errorf("%s %s: %w", name, desc.Digest, err))
	}
	defer rc.Close()
	verified := oras.NewVerifyReader(t.reader(rc), desc)
	err = unzstd(verified, limits, func(r io.Reader) error { return layer.Unpack(ctx, r, root, places, limits) })
	if err = verdict(verified, err); err == nil {
		return nil
	}
	if errors.Is(err, io.ErrUnexpectedEOF) && t.count() < desc.Size {
		err = fmt.Errorf("cut off after %d of %d bytes", t.count(), desc.Size)
	}
	return because(ctx, hostErr(err, "%s %s", name, desc.Digest))
}

// verdict reads on to the end of a blob whose unpacking ended, well or not. A
// wrong digest is the reason for all that went wrong with its content.
func verdict(blob *oras.VerifyReader, unpacked error) error {
	_, read := io.Copy(io.Discard, blob)
	if read != nil {
		return read
	}
	if err := blob.Verify(); err != nil {
		return fmt.Errorf("its content is not what the digest says: tampered with, or damaged on the way (%w)", err)
	}
	return unpacked
}

func limitsOf(desc ocispec.Descriptor) (limits layer.Limits, err error) {
	files, errFiles := strconv.ParseInt(desc.Annotations[annotationFiles], 10, 64)
	bytes, errBytes := strconv.ParseInt(desc.Annotations[annotationUnpacked], 10, 64)
	if err := errors.Join(errFiles, errBytes); err != nil {
		return limits, err
	}
	if files < 0 || files > maxFiles || bytes < 0 || bytes > maxUnpacked {
		return limits, fmt.Errorf("%d files of %d MB, more than a kernel may have", files, bytes>>20)
	}
	return layer.Limits{Stats: layer.Stats{Files: files, Bytes: bytes}}, nil
}

// headerSpace bounds what the tar stream has beside content, a file: its name,
// time and padding.
const headerSpace = 4 << 10

// unzstd decompresses a layer and stops one that grows beyond what it declares.
func unzstd(r io.Reader, limits layer.Limits, use func(io.Reader) error) error {
	z, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(64<<20))
	if err != nil {
		return err
	}
	defer z.Close()
	bounded := &io.LimitedReader{R: z, N: limits.Bytes + (limits.Files+8)*headerSpace}
	if err := use(bounded); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, bounded); err != nil {
		return err
	}
	if bounded.N == 0 {
		return errors.New("it unpacks to more than it declares")
	}
	return nil
}

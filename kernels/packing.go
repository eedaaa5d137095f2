package kernels

import (
	"context"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kmemgate/kmemgate/kernels/layer"
)

// packing is files that become a layer.
type packing struct {
	what, layer string
	dir         string
	names       []string
	places      layer.Places
}

// pack writes the layer and describes it. The same files make the same digest.
func (p packing) pack(ctx context.Context, w io.Writer) (desc ocispec.Descriptor, err error) {
	sum := digest.Canonical.Digester()
	size := &countingWriter{w: io.MultiWriter(w, sum.Hash())}
	z, err := zstd.NewWriter(size)
	if err != nil {
		return desc, err
	}
	defer z.Close()
	stats, err := layer.Pack(ctx, z, p.dir, p.names, p.places)
	if err != nil {
		return desc, err
	}
	if err := z.Close(); err != nil {
		return desc, err
	}
	desc = ocispec.Descriptor{MediaType: layerType(p.layer), Digest: sum.Digest(), Size: size.n}
	annotate(&desc, p.layer, stats.Files, stats.Bytes)
	return desc, nil
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// treeNames lists what lies under a folder of dir, itself included, in the order
// of names.
func treeNames(dir, top string) ([]string, error) {
	var names []string
	err := filepath.WalkDir(filepath.Join(dir, top), func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		names = append(names, filepath.ToSlash(rel))
		return err
	})
	return names, err
}

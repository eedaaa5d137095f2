package kernels

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/klauspost/compress/zstd"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"
	oras "oras.land/oras-go/v2"
	oci "oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/registry/remote"
)

// proxy stands before a registry and breaks what passes.
func proxy(t *testing.T, r *testRegistry, through func(next http.Handler) http.HandlerFunc) Registry {
	t.Helper()
	to, err := url.Parse("http://" + r.Host)
	require.NoError(t, err)
	forward := &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
		p.Out.URL.Scheme, p.Out.URL.Host = to.Scheme, to.Host
		p.Out.Host = p.In.Host // so that uploads go on through the proxy
	}}
	server := httptest.NewServer(through(forward))
	t.Cleanup(server.Close)
	return Registry{Reference: strings.TrimPrefix(server.URL, "http://") + "/kernels"}
}

// cutWriter hangs up after so many bytes of a body.
type cutWriter struct {
	http.ResponseWriter
	left int
}

func (w *cutWriter) Write(p []byte) (int, error) {
	if w.left -= len(p); w.left >= 0 {
		return w.ResponseWriter.Write(p)
	}
	_, _ = w.ResponseWriter.Write(p[:w.left+len(p)])
	w.ResponseWriter.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

// A line that breaks in the middle of the n-th blob, for every n, leaves nothing
// of the kernel, and does not stand in the way of the next pull.
func TestPullCutOff(t *testing.T) {
	r, spec := pushed(t)
	for n := range int32(1 + 1 + len(kernelLayers)) { // provenance, source and the rest
		var blobs atomic.Int32
		cutting := proxy(t, r, func(next http.Handler) http.HandlerFunc {
			return func(w http.ResponseWriter, q *http.Request) {
				if q.Method == http.MethodGet && strings.Contains(q.URL.Path, "/blobs/") && blobs.Add(1) == n+1 {
					w = &cutWriter{w, 60}
				}
				next.ServeHTTP(w, q)
			}
		})
		b, _ := testBuilder(t)
		_, err := b.Pull(t.Context(), cutting, nil)
		require.Error(t, err, "cut in blob %d", n)
		if n > 0 {
			require.ErrorContains(t, err, "cut off after 60 of ")
		}
		nothingOf(t, b)
		pullsWell(t, b, r.kernels(), spec)
	}
}

// pullUntilKilled is what TestPullKilled's other process does.
func pullUntilKilled(t *testing.T, from, to string) {
	b := &Builder{Cache: &Cache{Dir: to, Limit: -1}}
	_, err := b.Pull(t.Context(), Registry{Reference: from}, nil)
	t.Fatalf("not killed: %v", err)
}

// A process that is killed in the middle of any blob leaves no kernel that looks
// whole, nor a lock: the next pull works.
func TestPullKilled(t *testing.T) {
	if to := os.Getenv("KMEMGATE_TEST_PULL_TO"); to != "" {
		pullUntilKilled(t, os.Getenv("KMEMGATE_TEST_PULL_FROM"), to)
	}
	r, spec := pushed(t)
	for _, n := range []int32{2, 4, int32(2 + len(kernelLayers))} { // the source, the image, the last
		held, done := make(chan bool), make(chan bool)
		var blobs atomic.Int32
		holding := proxy(t, r, func(next http.Handler) http.HandlerFunc {
			return func(w http.ResponseWriter, q *http.Request) {
				if q.Method == http.MethodGet && strings.Contains(q.URL.Path, "/blobs/") && blobs.Add(1) == n {
					w = &holdingWriter{w, 40, held, done}
				}
				next.ServeHTTP(w, q)
			}
		})
		b, _ := testBuilder(t)
		child := exec.Command(os.Args[0], "-test.run=^TestPullKilled$")
		child.Env = append(os.Environ(), "KMEMGATE_TEST_PULL_TO="+b.Cache.Dir, "KMEMGATE_TEST_PULL_FROM="+holding.Reference)
		require.NoError(t, child.Start())
		<-held
		require.NoError(t, child.Process.Kill())
		_ = child.Wait()
		close(done)
		entries, err := b.cache().List()
		require.NoError(t, err)
		for _, e := range entries {
			require.False(t, e.Complete && e.Kind == KindKernels, "%s", e.Path)
		}
		_, err = b.Path(t.Context(), spec)
		require.ErrorContains(t, err, "is not built")
		pullsWell(t, b, r.kernels(), spec)
		left, err := b.cache().List()
		require.NoError(t, err)
		for _, e := range left {
			require.True(t, e.Complete, "%s is left", e.Path)
		}
	}
}

// holdingWriter lets some bytes through, says so, and then waits.
type holdingWriter struct {
	http.ResponseWriter
	let        int
	held, done chan bool
}

func (w *holdingWriter) Write(p []byte) (int, error) {
	if len(p) <= w.let {
		w.let -= len(p)
		return w.ResponseWriter.Write(p)
	}
	_, _ = w.ResponseWriter.Write(p[:w.let])
	w.ResponseWriter.(http.Flusher).Flush()
	w.held <- true
	<-w.done
	panic(http.ErrAbortHandler)
}

// One flipped byte in the registry's own file, in any blob: refused by the name
// of the blob, and nothing of the kernel is left.
func TestPullTampered(t *testing.T) {
	r, spec := pushed(t)
	m := r.manifests(t)[0]
	for _, desc := range append([]ocispec.Descriptor{m.Config}, m.Layers...) {
		good, err := os.ReadFile(r.Blob(desc.Digest.String()))
		require.NoError(t, err)
		for _, at := range []int{0, len(good) / 2, len(good) - 1} {
			bad := bytes.Clone(good)
			bad[at] ^= 0x20
			require.NoError(t, os.WriteFile(r.Blob(desc.Digest.String()), bad, 0o644))
			b, _ := testBuilder(t)
			_, err = b.Pull(t.Context(), r.kernels(), nil)
			require.ErrorContains(t, err, desc.Digest.String(), "byte %d of %s", at, desc.MediaType)
			require.ErrorContains(t, err, "digest")
			nothingOf(t, b)
		}
		require.NoError(t, os.WriteFile(r.Blob(desc.Digest.String()), good, 0o644))
	}
	b, _ := testBuilder(t)
	pullsWell(t, b, r.kernels(), spec)
}

// handMade is a layer whose digest is right and whose content is not.
func handMade(t *testing.T, name string, heads ...tar.Header) (ocispec.Descriptor, []byte) {
	t.Helper()
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b)
	require.NoError(t, err)
	w := tar.NewWriter(z)
	for _, h := range heads {
		require.NoError(t, w.WriteHeader(&h))
		_, err := io.CopyN(w, zeros{}, h.Size)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	require.NoError(t, z.Close())
	return oci.NewDescriptorFromBytes(layerType(name), b.Bytes()), b.Bytes()
}

func pushManifest(t *testing.T, repo *remote.Repository, m ocispec.Manifest, tag string) {
	t.Helper()
	text, err := json.Marshal(m)
	require.NoError(t, err)
	_, err = oras.TagBytes(t.Context(), repo.Manifests(), ocispec.MediaTypeImageManifest, text, tag)
	require.NoError(t, err)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// An artifact that was made by hand, with every digest right: what would be
// written elsewhere, or is more than it says, is refused.
func TestPullHostile(t *testing.T) {
	r, spec := pushed(t)
	genuine := r.manifests(t)[0]
	repo, err := r.kernels().open()
	require.NoError(t, err)
	for want, head := range map[string]tar.Header{
		"leads out of its folder": {Typeflag: tar.TypeReg, Name: "build/../../../evil", Size: 1},
		"out of its folder":       {Typeflag: tar.TypeSymlink, Name: "build/lib", Linkname: "../../../.."},
		"lies outside of build":   {Typeflag: tar.TypeReg, Name: "pulled.json", Size: 1},
		"more bytes than it may":  {Typeflag: tar.TypeReg, Name: "build/zeros", Size: 64 << 20},
	} {
		desc, text := handMade(t, layerBuild, head)
		annotate(&desc, layerBuild, 10, 1<<20)
		evil := genuine
		evil.Layers = nil
		for _, l := range genuine.Layers {
			if l.MediaType == desc.MediaType {
				l = desc
			}
			evil.Layers = append(evil.Layers, l)
		}
		require.NoError(t, repo.Push(t.Context(), desc, bytes.NewReader(text)))
		pushManifest(t, repo, evil, "evil")
		b, _ := testBuilder(t)
		_, err := b.Pull(t.Context(), Registry{Reference: r.Host + "/kernels:evil"}, nil)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, desc.Digest.String())
		nothingOf(t, b)
		pullsWell(t, b, r.kernels(), spec)
	}
}

// A push that breaks at any of its uploads sets no tag.
func TestPushCutOff(t *testing.T) {
	needTools(t)
	r, spec := startRegistry(t), packedKernel(t)
	b, _ := testBuilder(t)
	_, err := b.Kernel(t.Context(), spec)
	require.NoError(t, err)
	n := 1
	for ; ; n++ {
		cut := int32(n) // a handler may outlive the round
		cutting := proxy(t, r, func(next http.Handler) http.HandlerFunc {
			var puts atomic.Int32
			return func(w http.ResponseWriter, q *http.Request) {
				if q.Method == http.MethodPut && puts.Add(1) == cut {
					_, _ = io.CopyN(io.Discard, q.Body, 50)
					panic(http.ErrAbortHandler)
				}
				next.ServeHTTP(w, q)
			}
		})
		repo := fmt.Sprintf("/kernels%d", n) // where nothing is yet
		cutting.Reference = strings.TrimSuffix(cutting.Reference, "/kernels") + repo
		_, err := b.Push(t.Context(), cutting, []Spec{spec})
		if err == nil {
			break
		}
		require.False(t, r.tagged(t, repo), "after %v", err)
	}
	require.Equal(t, 1+len(kernelLayers)+3, n-1, "source, layers, provenance, manifest and index: each was cut once")
	require.True(t, r.tagged(t, fmt.Sprintf("/kernels%d", n)))
	_, err = b.Push(t.Context(), r.kernels(), []Spec{spec})
	require.NoError(t, err)
	there, _ := testBuilder(t)
	pullsWell(t, there, r.kernels(), spec)
}

// A pull that is interrupted says so, and leaves nothing.
func TestPullInterrupted(t *testing.T) {
	r, spec := pushed(t)
	ctx, cancel := context.WithCancel(t.Context())
	var blobs atomic.Int32
	cancelling := proxy(t, r, func(next http.Handler) http.HandlerFunc {
		return func(w http.ResponseWriter, q *http.Request) {
			if strings.Contains(q.URL.Path, "/blobs/") && blobs.Add(1) == 4 {
				cancel()
				<-q.Context().Done()
			}
			next.ServeHTTP(w, q)
		}
	})
	b, _ := testBuilder(t)
	_, err := b.Pull(ctx, cancelling, nil)
	require.ErrorIs(t, err, context.Canceled)
	nothingOf(t, b)
	pullsWell(t, b, r.kernels(), spec)
}

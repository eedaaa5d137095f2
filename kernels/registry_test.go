package kernels

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/kmemgate/kmemgate/kconfig"
	"github.com/kmemgate/kmemgate/kernels/registrytest"
)

// testRegistry is a real server on this machine.
type testRegistry struct{ *registrytest.Registry }

func startRegistry(t *testing.T) *testRegistry { return &testRegistry{registrytest.Start(t)} }

func (r *testRegistry) kernels() Registry { return Registry{Reference: r.Host + "/kernels"} }

// manifests are those that the tag names.
func (r *testRegistry) manifests(t *testing.T) (all []ocispec.Manifest) {
	t.Helper()
	repo, err := r.kernels().open()
	require.NoError(t, err)
	desc, err := repo.Resolve(t.Context(), "latest")
	require.NoError(t, err)
	var index ocispec.Index
	require.NoError(t, fetchJSON(t.Context(), repo, desc, &index))
	for _, entry := range index.Manifests {
		var m ocispec.Manifest
		require.NoError(t, fetchJSON(t.Context(), repo, entry, &m))
		all = append(all, m)
	}
	return all
}

func (r *testRegistry) tagged(t *testing.T, name string) bool {
	t.Helper()
	repo, err := remote.NewRepository(r.Host + name)
	require.NoError(t, err)
	repo.PlainHTTP = true
	_, err = repo.Resolve(t.Context(), "latest")
	return err == nil
}

// travelling is what a fake kernel needs so that its tree names its place and has
// a module: notes of make, and the link to the source.
const travelling = `
vmlinux Image: notes
notes:
	@echo 'cmd := gcc -I$(CURDIR) -o $(O)/a.o' > $(O)/.a.o.cmd
	@ln -sfn $(CURDIR) $(O)/source
	@gcc -g -c a.c -o $(O)/m.ko
`

// packedKernel serves the source of a fake kernel as a tarball: a directory's
// kernel cannot be pushed.
func packedKernel(t *testing.T) Spec {
	t.Helper()
	dir := fakeKernel(t, t.TempDir(), "6.12.7")
	makefile, err := os.ReadFile(filepath.Join(dir, "Makefile"))
	require.NoError(t, err)
	write(t, dir, "Makefile", string(makefile)+travelling)
	content, sum := tarball(t, dir)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(content) }))
	t.Cleanup(server.Close)
	return Spec{Source: server.URL + "/linux-6.12.7.tar#sha256=" + sum, Arch: hostArch(t)}
}

// pushed is a registry with one kernel, which was built on another machine.
func pushed(t *testing.T) (*testRegistry, Spec) {
	t.Helper()
	needTools(t)
	r, spec := startRegistry(t), packedKernel(t)
	b, _ := testBuilder(t)
	_, err := b.Kernel(t.Context(), spec)
	require.NoError(t, err)
	_, err = b.Push(t.Context(), r.kernels(), []Spec{spec})
	require.NoError(t, err)
	return r, spec
}

// nothingOf makes sure that no kernel, whole or half, is left in a cache.
func nothingOf(t *testing.T, b *Builder) {
	t.Helper()
	entries, err := b.cache().List()
	require.NoError(t, err)
	for _, e := range entries {
		require.NotEqual(t, KindKernels, e.Kind, "%s", e.Path)
	}
}

// pullsWell makes sure that a pull works and that its kernel serves: that is
// what an earlier attempt must not stand in the way of.
func pullsWell(t *testing.T, b *Builder, r Registry, spec Spec) *Kernel {
	t.Helper()
	pulled, err := b.Pull(t.Context(), r, []Spec{spec})
	require.NoError(t, err)
	require.Len(t, pulled, 1)
	k, err := b.Kernel(t.Context(), spec)
	require.NoError(t, err)
	require.Equal(t, pulled[0].Key, k.Key)
	require.Equal(t, "int a;\nint b;\nint c;\n", image(t, k))
	return k
}

func TestPushAndPull(t *testing.T) {
	needTools(t)
	r, spec := startRegistry(t), packedKernel(t)
	more := spec
	option, err := kconfig.FromLines([]string{"CONFIG_TINY=y"}, "kmemgate.yml", []int{1})
	require.NoError(t, err)
	more.Config = []kconfig.Fragment{option}
	here, _ := testBuilder(t)
	for _, s := range []Spec{spec, more} { // two pushes, one tag
		_, err := here.Kernel(t.Context(), s)
		require.NoError(t, err)
		name, err := here.Push(t.Context(), r.kernels(), []Spec{s})
		require.NoError(t, err)
		require.Regexp(t, `^`+regexp.QuoteMeta(r.Host)+`/kernels@sha256:[0-9a-f]{64}$`, name)
	}
	all := r.manifests(t)
	require.Len(t, all, 2)
	require.Equal(t, all[0].Layers[0], all[1].Layers[0], "the source is stored once")
	require.Equal(t, layerType(layerSource), all[0].Layers[0].MediaType)
	require.Equal(t, typeKernel, all[0].ArtifactType)
	blob, err := os.ReadFile(r.Blob(all[0].Config.Digest.String()))
	require.NoError(t, err)
	root, err := here.cache().root()
	require.NoError(t, err)
	require.NotContains(t, string(blob), root, "provenance names no path of the machine")

	there, log := testBuilder(t)
	k := pullsWell(t, there, r.kernels(), spec)
	note, err := os.ReadFile(filepath.Join(k.Build, ".a.o.cmd"))
	require.NoError(t, err)
	require.Equal(t, "cmd := gcc -I"+k.Source+" -o "+k.Build+"/a.o\n", string(note), "paths are those of here")
	link, err := os.Readlink(filepath.Join(k.Build, "source"))
	require.NoError(t, err)
	require.Equal(t, k.Source, link)
	require.FileExists(t, filepath.Join(k.Dir, "stripped/m.ko"))
	require.NoError(t, checkManifest(k.Dir, true))

	_, err = there.Path(t.Context(), more)
	require.ErrorContains(t, err, "is not built", "only what was asked for came")
	_, err = there.Pull(t.Context(), r.kernels(), nil)
	require.NoError(t, err)
	_, err = there.Kernel(t.Context(), more)
	require.NoError(t, err)
	require.NotContains(t, log.String(), "building with")
	require.Equal(t, 1, strings.Count(log.String(), "pulling source"), "%s", log)
	require.NotContains(t, log.String(), "fetching")
}

func TestPullSaysWhatThereIs(t *testing.T) {
	r, spec := pushed(t)
	b, _ := testBuilder(t)
	other := spec
	other.Source = "6.1"
	_, err := b.Pull(t.Context(), r.kernels(), []Spec{other})
	require.ErrorContains(t, err, "no kernel 6.1/"+spec.Arch+", but ["+spec.Source+"/"+spec.Arch+" (6.12.7)]")
	_, err = b.Pull(t.Context(), Registry{Reference: r.Host + "/kernels:nightly"}, nil)
	require.ErrorContains(t, err, "not found")
	require.False(t, IsUsage(err))
	_, err = b.Pull(t.Context(), Registry{Reference: "kernels"}, nil)
	require.True(t, IsUsage(err), "%v", err)
	nothingOf(t, b)
	byDigest := r.Host + "/kernels@" + indexDigest(t, r)
	pullsWell(t, b, Registry{Reference: byDigest}, spec)
	series := spec
	series.Source = "6.12"
	_, err = b.Pull(t.Context(), r.kernels(), []Spec{series})
	require.NoError(t, err, "a series that it belongs to names it too")
}

func indexDigest(t *testing.T, r *testRegistry) string {
	t.Helper()
	repo, err := r.kernels().open()
	require.NoError(t, err)
	desc, err := repo.Resolve(t.Context(), "latest")
	require.NoError(t, err)
	return desc.Digest.String()
}

func TestDirectoryIsNotPushed(t *testing.T) {
	needTools(t)
	b, _ := testBuilder(t)
	spec := Spec{Source: fakeKernel(t, t.TempDir(), "6.12.7"), Arch: hostArch(t)}
	_, err := b.Kernel(t.Context(), spec)
	require.NoError(t, err)
	_, err = b.Push(t.Context(), Registry{Reference: "localhost:1/kernels"}, []Spec{spec})
	require.ErrorContains(t, err, "stays on its machine")
	require.True(t, IsUsage(err))
}

// Where the compiler is another one, the pulled kernel is used all the same, and
// that is told; its modules are another entry than those of its own compiler.
func TestPulledFromAnotherCompiler(t *testing.T) {
	needTools(t)
	r, spec := startRegistry(t), packedKernel(t)
	gcc, err := exec.LookPath("gcc")
	require.NoError(t, err)
	bin, path := t.TempDir(), os.Getenv("PATH")
	write(t, bin, "gcc", "#!/bin/sh\ntest \"$1\" = --version && exec echo 'gcc (Other) 99.1'\nexec "+gcc+" \"$@\"\n")
	require.NoError(t, os.Chmod(filepath.Join(bin, "gcc"), 0o755))
	t.Setenv("PATH", bin+":"+path)
	here, _ := testBuilder(t)
	_, err = here.Kernel(t.Context(), spec)
	require.NoError(t, err)
	_, err = here.Push(t.Context(), r.kernels(), []Spec{spec})
	require.NoError(t, err)

	t.Setenv("PATH", path)
	there, log := testBuilder(t)
	k := pullsWell(t, there, r.kernels(), spec)
	require.Contains(t, k.Compiler, "gcc (Other) 99.1")
	require.Equal(t, 1, strings.Count(log.String(), "used as it is: built with gcc (Other) 99.1"), "%s", log)
	require.NotContains(t, log.String(), "building with")

	require.NoError(t, os.Truncate(k.Image, 3))
	there.Close()
	_, err = there.Kernel(t.Context(), spec)
	require.ErrorContains(t, err, "it was pulled, and is damaged", "not built again in silence")
	_, err = there.Pull(t.Context(), r.kernels(), nil)
	require.NoError(t, err)
	_, err = there.Kernel(t.Context(), spec)
	require.NoError(t, err)
}

func TestLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "localhost:5000": true, "127.0.0.1:1": true, "127.3.2.1": true, "[::1]:5000": true,
		"ghcr.io": false, "10.0.0.1:5000": false, "localhost.example.org": false, "registry:5000": false,
	} {
		require.Equal(t, want, loopback(host), host)
	}
}

// A provenance decides about names in the cache: what does not follow from it is refused.
func TestProvenanceIsChecked(t *testing.T) {
	good := provenance{
		Schema: provenanceSchema, Name: "6.12", Release: "6.12.7", Arch: "arm64", Compiler: "gcc", Recipe: "1",
		Options: []string{"CONFIG_A=y"}, Source: provenanceSource{Key: "6.12.7-org", Version: "6.12.7"},
	}
	good.Key = good.key()
	parse := func(change func(p *provenance)) error {
		p := good
		change(&p)
		text, err := json.Marshal(p)
		require.NoError(t, err)
		_, err = parseProvenance(text)
		return err
	}
	require.NoError(t, parse(func(*provenance) {}))
	for want, change := range map[string]func(p *provenance){
		"does not follow":  func(p *provenance) { p.Options = append(p.Options, "CONFIG_B=y") },
		"schema":           func(p *provenance) { p.Schema = "kmemgate.kernel/v2" },
		"architecture":     func(p *provenance) { p.Arch = "../.." },
		"cannot name one":  func(p *provenance) { p.Source.Key = "../../evil" },
		`source "dir-0123`: func(p *provenance) { p.Source.Key = "dir-0123" },
	} {
		require.ErrorContains(t, parse(change), want)
	}
}

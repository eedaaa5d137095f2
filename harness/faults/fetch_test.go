package faults_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/kernels/kerneltest"
)

var fetchRows = []row{
	{"downloads cut, stalled, redirected for ever, too large, missing, with another content", downloads},
}

// wantKernel gives the desk a kernel to fetch and to build, kerneltest's: the
// bench's own takes five minutes. A part of it is sent at once, the rest when gate is closed.
func (d *desk) wantKernel(t *testing.T, tree string, gate <-chan struct{}) (served *atomic.Int32) {
	t.Helper()
	content, sum := kerneltest.Tarball(t, tree)
	served = &atomic.Int32{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served.Add(1)
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		_, _ = w.Write(content[:1000]) // whoever hangs up, hangs up
		w.(http.Flusher).Flush()
		select {
		case <-gate:
		case <-r.Context().Done():
		}
		_, _ = w.Write(content[1000:])
	}))
	t.Cleanup(server.Close)
	d.job = []string{"kernel", "build", "--arch", "x86_64", server.URL + "/linux-6.12.7.tar#sha256=" + sum}
	return served
}

// open is a gate that nobody waits at.
func open() <-chan struct{} {
	gate := make(chan struct{})
	close(gate)
	return gate
}

func smallKernel(t *testing.T) string {
	t.Helper()
	return kerneltest.Tree(t, t.TempDir(), "6.12.7")
}

// holdFile is one that something waits for to go.
func (d *desk) holdFile(t *testing.T) (file string, free func()) {
	t.Helper()
	file = filepath.Join(d.dir, "hold")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	return file, func() { require.NoError(t, os.Remove(file)) }
}

func stallServer(t *testing.T, d *desk) (free func()) {
	gate := make(chan struct{})
	d.wantKernel(t, smallKernel(t), gate)
	return func() { close(gate) }
}

// fetching sees the part that has come.
func fetching(d *desk, _ *running) bool {
	parts, err := filepath.Glob(filepath.Join(d.xdg, "kmemgate", "sources", "*.tmp", "*.part"))
	if err != nil || len(parts) == 0 {
		return false
	}
	info, err := os.Stat(parts[0])
	return err == nil && info.Size() > 0
}

// stallTar has a tar before the real one that waits.
func stallTar(t *testing.T, d *desk) (free func()) {
	d.wantKernel(t, smallKernel(t), open())
	hold, free := d.holdFile(t)
	tar, err := exec.LookPath("tar")
	require.NoError(t, err)
	d.script(t, "tar", "while test -e "+hold+"; do sleep 0.1; done\nexec "+tar+` "$@"`+"\n")
	return free
}

func stallMake(t *testing.T, d *desk) (free func()) {
	d.wantKernel(t, smallKernel(t), open())
	hold, free := d.holdFile(t)
	d.env = append(d.env, kerneltest.Hold+"="+hold)
	return free
}

// downloads goes wrong in every way at once, through the command.
func downloads(t *testing.T) {
	d := newDesk(t)
	content, _ := kerneltest.Tarball(t, smallKernel(t))
	done := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/cut.tar", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		_, _ = w.Write(content[:len(content)/2])
		panic(http.ErrAbortHandler)
	})
	mux.HandleFunc("/stalled.tar", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(content[:100])
		w.(http.Flusher).Flush()
		<-done
	})
	mux.Handle("/loop.tar", http.RedirectHandler("/loop.tar", http.StatusFound))
	mux.HandleFunc("/large.tar", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "700000000") })
	mux.HandleFunc("/other.tar", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(content) })
	server := httptest.NewServer(mux)
	defer server.Close()
	defer close(done)
	wrong := map[string][]string{
		"/cut.tar":     {"unexpected EOF", "run it again, or name another mirror"},
		"/stalled.tar": {"no data for too long", "run it again, or name another mirror"},
		"/loop.tar":    {"more than five redirects"},
		"/large.tar":   {"667 MB, more than the 600 MB a kernel's source may have"},
		"/missing.tar": {"the server says 404 Not Found", "correct the address"},
		"/other.tar":   {"its sha256 is ", "correct the sum if it is mistyped"},
	}
	var wait sync.WaitGroup
	var mu sync.Mutex
	all := map[string]result{}
	for path := range wrong {
		kernel := fmt.Sprintf("%s%s#sha256=%064x", server.URL, path, len(all)+len(path))
		r := d.start(t, "run", "--kernel", kernel, "--arch", "x86_64", "--out", d.out+path, d.driver)
		wait.Go(func() {
			got := r.wait()
			mu.Lock()
			defer mu.Unlock()
			all[path] = got
		})
	}
	wait.Wait()
	for path, words := range wrong {
		d.wantNone(t, all[path], append(words, "host: fetch "+server.URL+path)...)
	}
	assert.Empty(t, d.entries(t, "sources/tree"))
}

// crowdOfKernels starts builds at once of a kernel that is not there: one fetches it
// while the others wait, one builds it while the others wait.
func crowdOfKernels(t *testing.T, n int) {
	d := newDesk(t)
	gate := make(chan struct{})
	served := d.wantKernel(t, smallKernel(t), gate)
	hold, free := d.holdFile(t)
	d.env = append(d.env, kerneltest.Hold+"="+hold)
	all := make([]*running, n)
	for i := range all {
		all[i] = d.start(t, d.runArgs()...)
	}
	othersWait := func(what string) {
		all[0].until(t, "a crowd that waits for "+what, func() bool {
			waiting := 0
			for _, r := range all {
				waiting += strings.Count(r.stderr.String(), "cache: waiting for "+what+"/")
			}
			return waiting == n-1
		})
	}
	othersWait("sources")
	close(gate)
	othersWait("kernels")
	free()
	built := 0
	for _, r := range all {
		got := r.wait()
		d.wantWell(t, got)
		assert.Contains(t, got.stdout, "6.12.7 x86_64 ")
		built += strings.Count(got.stderr, "building with")
	}
	assert.Equal(t, 1, built)
	assert.EqualValues(t, 1, served.Load())
}

// fullWhileMaking has room for a kernel's source, not for what is made of it.
func fullWhileMaking(t *testing.T) {
	d := newDesk(t, owned...)
	disk := d.onSmallDisk(t, "16m")
	tree := smallKernel(t)
	require.NoError(t, os.WriteFile(filepath.Join(tree, "b.c"), make([]byte, 5<<20), 0o644))
	d.wantKernel(t, tree, open())
	d.wantNone(t, d.run(t), "build 6.12.7 x86_64", full, freeSome)
	require.NoError(t, syscall.Mount("tmpfs", disk, "tmpfs", syscall.MS_REMOUNT, "size=64m"))
	d.wantWell(t, d.run(t))
}

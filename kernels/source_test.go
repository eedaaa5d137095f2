package kernels

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fakeKernelOrg serves releases.json, the sums and one tarball per version,
// all of the same fake kernel but for the version in its Makefile.
func fakeKernelOrg(t *testing.T, versions ...string) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	var releases []string
	sums := map[string]string{} // by folder
	for _, v := range versions {
		folder := "/pub/linux/kernel/v" + v[:1] + ".x/"
		content, sum := tarball(t, fakeKernel(t, t.TempDir(), (v + ".0")[:strings.LastIndexByte(v+".0", '.')+2]))
		name := "linux-" + v + ".tar.xz"
		mux.HandleFunc(folder+name, func(w http.ResponseWriter, _ *http.Request) { w.Write(content) })
		sums[folder] += sum + "  " + name + "\n"
		if v != "6.7.9" { // a series that is maintained no more
			releases = append(releases, fmt.Sprintf(`{"moniker":"stable","version":%q,"source":%q}`, v, server.URL+folder+name))
		}
	}
	for folder, text := range sums {
		mux.HandleFunc(folder+"sha256sums.asc", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, sign(t, text))
		})
	}
	releases = append(releases, `{"moniker":"mainline","version":"7.4-rc1","source":"https://host/torvalds/t/linux-7.4-rc1.tar.gz"}`)
	mux.HandleFunc("/releases.json", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"latest_stable":{"version":"7.3.1"},"releases":[%s]}`, strings.Join(releases, ","))
	})
	return server
}

func TestKernelOrgNewestOfSeries(t *testing.T) {
	server := fakeKernelOrg(t, "6.12.9", "6.12.8", "6.1.5", "6.7.9", "7.3.1")
	for name, want := range map[string]string{"6.12": "6.12.9", "6.12.8": "6.12.8", "6.1": "6.1.5", "6": "6.12.9", "6.7": "6.7.9", "7": "7.3.1"} {
		t.Run(name, func(t *testing.T) {
			b, log := testBuilder(t)
			b.ReleasesURL, b.ReleasesKey = server.URL+"/releases.json", testKey(t)
			s, err := b.resolve(t.Context(), name)
			require.NoError(t, err)
			defer s.release()
			require.Equal(t, want, s.version)
			require.Contains(t, log.String(), "kernel "+name+": "+want+" from kernel.org (linux-"+want+".tar.xz)")
			require.FileExists(t, filepath.Join(s.dir, "Makefile"))
		})
	}
}

func TestCachedSeriesNeedsNoNetwork(t *testing.T) {
	server := fakeKernelOrg(t, "6.12.9")
	b, log := testBuilder(t)
	b.ReleasesURL, b.ReleasesKey = server.URL+"/releases.json", testKey(t)
	first, err := b.resolve(t.Context(), "6.12")
	require.NoError(t, err)
	first.release()
	server.Close()
	again, err := b.resolve(t.Context(), "6.12")
	require.NoError(t, err)
	again.release()
	require.Equal(t, first.dir, again.dir)
	require.Contains(t, log.String(), "kernel 6.12: 6.12.9 from the cache (kernel.org (linux-6.12.9.tar.xz))")
}

func TestDamagedSourceIsFetchedAgain(t *testing.T) {
	server := fakeKernelOrg(t, "6.12.9")
	b, log := testBuilder(t)
	b.ReleasesURL, b.ReleasesKey = server.URL+"/releases.json", testKey(t)
	s, err := b.resolve(t.Context(), "6.12")
	require.NoError(t, err)
	require.NoError(t, os.Truncate(filepath.Join(s.dir, "b.c"), 1))
	s, err = b.recheck(t.Context(), "6.12", s)
	require.NoError(t, err)
	defer s.release()
	require.Contains(t, log.String(), "is damaged")
	text, err := os.ReadFile(filepath.Join(s.dir, "b.c"))
	require.NoError(t, err)
	require.Equal(t, "int b;\n", string(text))
}

func TestKernelOrgThatDoesNotAnswer(t *testing.T) {
	done := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-done:
		}
	}))
	defer server.Close()
	defer close(done)
	b, _ := testBuilder(t)
	b.ReleasesURL, b.ReleasesTimeout = server.URL, 50*time.Millisecond
	_, err := b.kernelOrg().find(t.Context(), version{6, 12})
	require.ErrorContains(t, err, "no answer within 50ms")
}

func TestTarballByURL(t *testing.T) {
	content, sum := tarball(t, fakeKernel(t, t.TempDir(), "6.12.9"))
	stop := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/good.tar", func(w http.ResponseWriter, _ *http.Request) { w.Write(content) })
	mux.Handle("/moved.tar", http.RedirectHandler("/good.tar", http.StatusFound))
	mux.Handle("/loop.tar", http.RedirectHandler("/loop.tar", http.StatusFound))
	mux.HandleFunc("/cut.tar", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		w.Write(content[:len(content)/2])
		panic(http.ErrAbortHandler)
	})
	mux.HandleFunc("/stalled.tar", func(w http.ResponseWriter, r *http.Request) {
		w.Write(content[:100])
		w.(http.Flusher).Flush()
		select {
		case <-r.Context().Done():
		case <-stop:
		}
	})
	mux.HandleFunc("/large.tar", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(maxTarball+1))
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	defer close(stop)

	for _, test := range []struct {
		name, path, sum, want string // want: of the error; empty: none
	}{
		{"good", "/good.tar", sum, ""},
		{"redirect", "/moved.tar", sum, ""},
		{"endless redirect", "/loop.tar", sum, "more than five redirects"},
		{"missing", "/none.tar", sum, "404 Not Found"},
		{"wrong sum", "/good.tar", strings.Repeat("0", 64), "its sha256 is " + sum},
		{"cut", "/cut.tar", sum, "unexpected EOF"},
		{"stalled", "/stalled.tar", sum, "no data for too long"},
		{"too large", "/large.tar", sum, "more than the 600 MB"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b, _ := testBuilder(t)
			b.Stall = 200 * time.Millisecond
			s, err := b.resolve(t.Context(), server.URL+test.path+"#sha256="+test.sum)
			if test.want == "" {
				require.NoError(t, err)
				defer s.release()
				require.Equal(t, "6.12.9", s.version)
				return
			}
			require.ErrorContains(t, err, test.want)
			require.False(t, IsUsage(err))
			entries, err := b.Cache.List()
			require.NoError(t, err)
			require.Empty(t, entries, "the cache must be whole")
		})
	}
}

func TestTarballWithoutEndIsCut(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil { // no Content-Length
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	}))
	defer server.Close()
	d := &downloader{max: 1 << 20}
	err := d.copy(t.Context(), server.URL, &limitedBuffer{})
	require.ErrorContains(t, err, "more bytes than")
}

func TestTarballThatIsNoKernel(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "README", "hello")
	content, sum := tarball(t, dir)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(content) }))
	defer server.Close()
	b, _ := testBuilder(t)
	_, err := b.resolve(t.Context(), server.URL+"/x.tar#sha256="+sum)
	require.ErrorContains(t, err, "no kernel source")
}

func TestNoDowngrade(t *testing.T) {
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("asked over http") }))
	defer plain.Close()
	server := httptest.NewTLSServer(http.RedirectHandler(plain.URL, http.StatusFound))
	defer server.Close()
	client := server.Client()
	client.CheckRedirect = noDowngrade
	err := (&downloader{client: client}).copy(t.Context(), server.URL, &limitedBuffer{})
	require.ErrorContains(t, err, "from https to http")
}

func TestDownloadEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}))
	defer server.Close()
	err := (&downloader{}).copy(ctx, server.URL, &limitedBuffer{})
	require.ErrorIs(t, err, context.Canceled)
}

func TestVersions(t *testing.T) {
	for _, test := range []struct {
		v, series string
		want      bool
	}{
		{"6.12.117", "6.12", true}, {"6.12.117", "6.1", false}, {"6.12.117", "6", true}, {"6.1.12", "6.12", false},
		{"6.12.117", "6.12.117", true}, {"6.12.11", "6.12.117", false}, {"7.3", "7.3", true}, {"7.3", "7.3.0", true}, {"7.3", "7.3.1", false},
	} {
		v, err := parseVersion(test.v)
		require.NoError(t, err)
		series, err := parseVersion(test.series)
		require.NoError(t, err)
		require.Equal(t, test.want, v.in(series), "%s in %s", test.v, test.series)
	}
	require.True(t, version{6, 9}.less(version{6, 12}))
	require.False(t, version{7, 3}.less(version{7, 3, 0}))
}

func TestMakefileVersion(t *testing.T) {
	v, err := makefileVersion(strings.NewReader("# SPDX\nVERSION = 7\nPATCHLEVEL = 4\nSUBLEVEL = 0\nEXTRAVERSION = -rc1\nNAME = x\n"))
	require.NoError(t, err)
	require.Equal(t, "7.4.0-rc1", v)
	_, err = makefileVersion(strings.NewReader("obj-m := foo.o\n"))
	require.ErrorContains(t, err, "no VERSION")
}

func TestParseMadison(t *testing.T) {
	packages, err := parseMadison(strings.NewReader(
		` linux-source-6.12 | 6.12.117-1~deb12u1 | http://host/debian-security bookworm-security/main amd64 Packages
linux-source-6.12 | 6.12.115-2~deb12u1 | http://host/debian-security bookworm-security/main amd64 Packages
linux-source-7.4 | 7.4~rc1-1~exp1 | http://host/debian experimental/main amd64 Packages
 linux-6.12 | 6.12.117-1~deb12u1 | http://host/debian-security bookworm-security/main Sources
`))
	require.NoError(t, err)
	require.Equal(t, []debPackage{
		{"linux-source-6.12", "6.12.117-1~deb12u1", version{6, 12, 117}},
		{"linux-source-6.12", "6.12.115-2~deb12u1", version{6, 12, 115}},
	}, packages)
	require.Equal(t, []string{"linux-source-6.1", "linux-source-6.12"},
		parseNames("linux-source-6.12\nlinux-source\nlinux-source-6.1\n"))
}

func TestMirrorsBeforeTheFirstUpdate(t *testing.T) {
	sites := urisToSites("'http://host/debian/dists/bookworm/InRelease' host_debian_dists_bookworm_InRelease 0 \n" +
		"'http://host/debian/dists/bookworm/main/binary-amd64/Packages.xz' host_debian 0 \n" +
		"'http://host/debian-security/dists/bookworm-security/InRelease' host_sec 0 \n")
	require.Equal(t, "http://host/debian\nhttp://host/debian-security", sites)
}

func TestSourcesListLeavesOutWhatTheMirrorLacks(t *testing.T) {
	list := sourcesList(map[string]string{"debian": "http://host/debian"}, debianSuites[1])
	require.Contains(t, list, "http://host/debian trixie main\n")
	require.NotContains(t, list, "security")
}

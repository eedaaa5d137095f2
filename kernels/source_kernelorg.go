package kernels

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path"
	"regexp"
	"strings"
	"time"
)

// releasesURL lists the newest release of every series that is maintained.
const releasesURL = "https://www.kernel.org/releases.json"

// kernelOrg finds sources at kernel.org.
type kernelOrg struct {
	b       *Builder
	url     string // of releases.json
	key     string // that signs the sums, armored
	timeout time.Duration
}

func (b *Builder) kernelOrg() provider {
	k := &kernelOrg{b: b, url: b.ReleasesURL, key: b.ReleasesKey, timeout: b.ReleasesTimeout}
	if k.url == "" {
		k.url = releasesURL
	}
	if k.key == "" {
		k.key = autosigner
	}
	if k.timeout == 0 {
		k.timeout = 10 * time.Second
	}
	return k
}

func (k *kernelOrg) name() string { return "kernel.org" }

// releases is releases.json, as far as it matters here.
type releases struct {
	Releases []struct {
		Moniker string `json:"moniker"` // "mainline", "stable", "longterm", "linux-next"
		Version string `json:"version"` // "6.12.30", "7.4-rc1", "next-20260101"
		Source  string `json:"source"`  // the tarball's address
	} `json:"releases"`
}

func (k *kernelOrg) find(ctx context.Context, series version) (*candidate, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, k.timeout, fmt.Errorf("no answer within %s", k.timeout))
	defer cancel()
	text, err := k.b.downloader().text(ctx, k.url, 4<<20)
	if err != nil {
		return nil, err
	}
	var list releases
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("%s: %w", k.url, err)
	}
	tarball := list.example()
	if tarball == "" {
		return nil, fmt.Errorf("%s: lists no release", k.url)
	}
	return k.withSum(ctx, list.newest(series), series, folderFor(tarball, series[0]))
}

// newest returns the newest release of a series, nil if it is not maintained.
func (l releases) newest(series version) (best version) {
	for _, r := range l.Releases {
		v, err := parseVersion(r.Version)
		if err != nil || !v.in(series) {
			continue // a release candidate, linux-next, another series
		}
		if best == nil || best.less(v) {
			best = v
		}
	}
	return best
}

// example is the tarball of any release: it shows where the others lie.
func (l releases) example() string {
	for _, r := range l.Releases {
		if v, err := parseVersion(r.Version); err == nil && len(v) > 1 && r.Source != "" {
			return r.Source
		}
	}
	return ""
}

// sumLine is a line of sha256sums.asc:
//
//	0123…  linux-6.12.30.tar.xz
var sumLine = regexp.MustCompile(`(?m)^([0-9a-f]{64})  linux-([0-9.]+)\.tar\.xz\r?$`)

// withSum reads sha256sums.asc, which lies beside the tarballs of one major
// version and lists them all: also series that releases.json has dropped. It is
// signed, so that whoever serves the tarballs (a mirror, a proxy that ends TLS)
// cannot put another one in their place.
func (k *kernelOrg) withSum(ctx context.Context, newest, series version, dir string) (*candidate, error) {
	text, err := k.b.downloader().text(ctx, dir+"sha256sums.asc", 8<<20)
	var said *statusError
	if errors.As(err, &said) && said.code == http.StatusNotFound { // no kernel has this first number
		return nil, &unknownError{series: series, all: true}
	}
	if err != nil {
		return nil, err
	}
	if text, err = signedText(text, k.key); err != nil {
		return nil, &signatureError{dir + "sha256sums.asc", err}
	}
	sums := parseSums(text)
	best := newest
	if best == nil || sums[best.String()] == "" {
		best = newestOf(sums, series)
	}
	if best == nil {
		return nil, &unknownError{series: series, all: true}
	}
	sum := sums[best.String()]
	address := dir + "linux-" + best.String() + ".tar.xz"
	return &candidate{
		version: best,
		key:     best.String() + "-" + sum[:16],
		origin:  "kernel.org (" + path.Base(address) + ")",
		fetch: func(ctx context.Context, tree string) error {
			return k.b.fetchTarball(ctx, address, sum, tree)
		},
	}, nil
}

// parseSums returns the sums of all kernel tarballs by version.
func parseSums(text []byte) map[string]string {
	sums := map[string]string{}
	for _, m := range sumLine.FindAllStringSubmatch(string(text), -1) {
		sums[m[2]] = m[1]
	}
	return sums
}

func newestOf(sums map[string]string, series version) (best version) {
	for s := range sums {
		v, err := parseVersion(s)
		if err == nil && v.in(series) && (best == nil || best.less(v)) {
			best = v
		}
	}
	return best
}

// majorFolder is the folder of one major version's tarballs.
var majorFolder = regexp.MustCompile(`/v[0-9]+\.x/$`)

// folderFor returns where the tarballs of a major version lie, judging by
// where another one does: …/v6.x/linux-6.12.tar.xz.
func folderFor(tarball string, major int) string {
	dir := tarball[:strings.LastIndexByte(tarball, '/')+1]
	return majorFolder.ReplaceAllString(dir, fmt.Sprintf("/v%d.x/", major))
}

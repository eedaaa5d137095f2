package kernels

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

// debian finds Debian's linux-source packages: those of the host's own
// release, else, through private package lists, those of other suites.
type debian struct{ b *Builder }

func (b *Builder) debian() provider { return &debian{b} }

func (d *debian) name() string { return "Debian" }

// debianSuites are looked through after the host's own, a group at a time:
// where the newest kernels are, then where the old ones are kept.
var debianSuites = [][]suite{
	{{"debian", "trixie-backports"}, {"debian", "sid"}},
	{
		{"debian", "bookworm"}, {"debian-security", "bookworm-security"},
		{"debian", "trixie"}, {"debian-security", "trixie-security"},
	},
}

// suite is a suite of one of Debian's archives.
type suite struct{ archive, name string }

func (d *debian) find(ctx context.Context, series version) (*candidate, error) {
	if _, err := lookTool("apt-get"); err != nil {
		return nil, errors.New("no apt on this machine")
	}
	own := &apt{}
	none := &unknownError{series: series}
	if c, err := d.newest(ctx, own, none); err != nil || c != nil {
		return c, err
	}
	mirrors, err := own.mirrors(ctx)
	if err != nil {
		return nil, err
	}
	for n, suites := range debianSuites {
		private, err := d.private(ctx, fmt.Sprintf("debian-%d", n), mirrors, suites)
		if err != nil {
			return nil, err
		}
		if c, err := d.newest(ctx, private, none); err != nil || c != nil {
			return c, err
		}
	}
	return nil, none
}

// newest returns the newest package of a series that apt knows; or nil, and notes
// the newest of all.
func (d *debian) newest(ctx context.Context, a *apt, none *unknownError) (*candidate, error) {
	packages, err := a.packages(ctx)
	if err != nil {
		return nil, err
	}
	var best *debPackage
	for _, p := range packages {
		if none.newest == nil || none.newest.less(p.upstream) {
			none.newest = p.upstream
		}
		if p.upstream.in(none.series) && (best == nil || best.upstream.less(p.upstream)) {
			best = &p
		}
	}
	if best == nil {
		return nil, nil
	}
	pkg := *best
	return &candidate{
		version: pkg.upstream,
		key:     pkg.upstream.String() + "-deb-" + keySafe(pkg.version),
		origin:  fmt.Sprintf("Debian (%s %s)", pkg.name, pkg.version),
		fetch:   func(ctx context.Context, tree string) error { return d.fetch(ctx, a, pkg, tree) },
	}, nil
}

// keySafe keeps what may stand in a key of the cache.
func keySafe(s string) string {
	return regexp.MustCompile(`[^A-Za-z0-9.+~_-]`).ReplaceAllString(s, "_")
}

// fetch downloads the package, which apt checks against its signed lists, and
// unpacks the tarball in it.
func (d *debian) fetch(ctx context.Context, a *apt, p debPackage, tree string) error {
	dir := filepath.Dir(tree)
	d.b.logf("kernel %s: downloading %s=%s (150 MB)", p.upstream, p.name, p.version)
	if a.dir != "" {
		lock, err := sharedLock(ctx, a.dir, func() {})
		if err != nil {
			return hostErr(err, "fetch %s", p.name)
		}
		defer lock.release()
	}
	get := a.command("apt-get", "download", p.name+"="+p.version)
	get.Dir = dir
	if err := get.Run(ctx); err != nil {
		return buildErr(err, FaultHost, "fetch "+p.name)
	}
	debs, err := filepath.Glob(filepath.Join(escapeGlob(dir), "*.deb"))
	if err != nil || len(debs) != 1 {
		return &Error{Fault: FaultHost, Err: fmt.Errorf("fetch %s: apt-get download left %d packages", p.name, len(debs))}
	}
	defer os.Remove(debs[0])
	d.b.logf("kernel %s: unpacking", p.upstream)
	return unpackDeb(ctx, debs[0], tree)
}

// unpackDeb unpacks usr/src/linux-source-X.Y.tar.xz of a package:
// dpkg-deb | pick the member | tar.
func unpackDeb(ctx context.Context, deb, tree string) error {
	outerR, outerW := io.Pipe()
	innerR, innerW := io.Pipe()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		err := (&Command{Args: []string{"dpkg-deb", "--fsys-tarfile", deb}, Stdout: outerW}).Run(ctx)
		outerW.CloseWithError(err)
		return buildErrOrNil(err, "unpack")
	})
	group.Go(func() error {
		err := pickTarball(outerR, innerW)
		innerW.CloseWithError(err)
		outerR.CloseWithError(err)
		return err
	})
	group.Go(func() error {
		err := runTar(ctx, &Command{
			Args:  []string{"tar", "-xJf", "-", "--no-same-owner", "--strip-components=1", "-C", tree},
			Stdin: innerR,
		})
		innerR.CloseWithError(err)
		return err
	})
	return group.Wait()
}

func buildErrOrNil(err error, what string) error {
	if err == nil {
		return nil
	}
	return buildErr(err, FaultHost, what)
}

// pickTarball copies the kernel's tarball out of a package's content, and
// reads on to the end so that dpkg-deb can finish.
func pickTarball(deb io.Reader, to io.Writer) error {
	files := tar.NewReader(deb)
	for found := false; ; {
		head, err := files.Next()
		switch {
		case errors.Is(err, io.EOF) && found:
			_, err = io.Copy(io.Discard, deb)
			return err
		case errors.Is(err, io.EOF):
			return errors.New("the package holds no usr/src/linux-source-*.tar.xz")
		case err != nil:
			return fmt.Errorf("read the package: %w", err)
		}
		if ok, _ := path.Match("usr/src/linux-source-*.tar.xz", path.Clean(head.Name)); !ok || found {
			continue
		}
		found = true
		if _, err := io.Copy(to, files); err != nil {
			return fmt.Errorf("read the package: %w", err)
		}
		if c, ok := to.(io.Closer); ok {
			c.Close()
		}
	}
}

// debPackage is a linux-source package that apt offers.
type debPackage struct {
	name     string // linux-source-6.12
	version  string // 6.12.117-1~deb12u1
	upstream version
}

// Example: linux-source-6.12 | 6.12.117-1~deb12u1 | http://HOST/debian bookworm/main amd64 Packages
func parseMadison(r io.Reader) (packages []debPackage, err error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Split(lines.Text(), "|")
		if len(fields) < 3 || !strings.Contains(fields[2], "Packages") {
			continue // a source package's line
		}
		p := debPackage{name: strings.TrimSpace(fields[0]), version: strings.TrimSpace(fields[1])}
		upstream, _, _ := strings.Cut(p.version, "-")
		if p.upstream, err = parseVersion(upstream); err != nil {
			continue // a release candidate: 7.4~rc1-1~exp1
		}
		packages = append(packages, p)
	}
	return packages, lines.Err()
}

// sourcePackage is the name of a package with a whole kernel source.
var sourcePackage = regexp.MustCompile(`^linux-source-[0-9.]+$`)

// parseNames reads `apt-cache pkgnames`.
func parseNames(out string) []string {
	var names []string
	for name := range strings.FieldsSeq(out) {
		if sourcePackage.MatchString(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

package kernels

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// apt runs apt with the host's configuration (proxies, keys) and, unless it is
// empty, with the package lists under dir. It needs no root and changes
// nothing of the host.
type apt struct{ dir string }

// command builds a call of one of apt's programs.
func (a *apt) command(program string, args ...string) *Command {
	options := []string{program, "-q",
		"-o", "APT::Sandbox::User=", // _apt cannot write to a user's cache
		"-o", "Acquire::http::Timeout=20", "-o", "Acquire::https::Timeout=20", "-o", "Acquire::Retries=2",
		"-o", "APT::Update::Error-Mode=any"} // a list that cannot be had is no empty list
	if a.dir != "" {
		options = append(options, "-o", "Dir::Etc::SourceList="+filepath.Join(a.dir, "sources.list"),
			"-o", "Dir::Etc::SourceParts=/dev/null", "-o", "Dir::Etc::Preferences=/dev/null", "-o", "Dir::Etc::PreferencesParts=/dev/null",
			"-o", "Dir::State::Lists="+filepath.Join(a.dir, "lists"), "-o", "Dir::Cache="+filepath.Join(a.dir, "cache"),
			"-o", "Acquire::Languages=none",
			// AppStream and Contents files, several times the package lists
			"-o", "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
			"-o", "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false")
	}
	return &Command{Args: append(options, args...)}
}

// packages lists the linux-source packages in the package lists.
func (a *apt) packages(ctx context.Context) ([]debPackage, error) {
	out, err := a.command("apt-cache", "pkgnames", "linux-source-").Output(ctx)
	if err != nil {
		return nil, fmt.Errorf("apt: %w", err)
	}
	names := parseNames(out)
	if len(names) == 0 {
		return nil, nil
	}
	out, err = a.command("apt-cache", append([]string{"madison"}, names...)...).Output(ctx)
	if err != nil {
		return nil, fmt.Errorf("apt: %w", err)
	}
	return parseMadison(strings.NewReader(out))
}

// mirrors returns the addresses of Debian's archives by their last element
// ("debian", "debian-security"), as this machine's apt has them configured.
func (a *apt) mirrors(ctx context.Context) (map[string]string, error) {
	sites, err := a.command("apt-get", "indextargets", "--format", "$(SITE)", "Origin: Debian").Output(ctx)
	if err == nil && sites == "" {
		// Before the first `apt-get update` apt knows no origins yet.
		sites, err = a.command("apt-get", "update", "--print-uris").Output(ctx)
		sites = urisToSites(sites)
	}
	if err != nil {
		return nil, fmt.Errorf("apt: %w", err)
	}
	mirrors := map[string]string{}
	for site := range strings.FieldsSeq(sites) {
		site = strings.TrimSuffix(site, "/")
		if name := path.Base(site); mirrors[name] == "" {
			mirrors[name] = site
		}
	}
	if mirrors["debian"] == "" {
		return nil, errors.New("apt has no Debian mirror configured")
	}
	return mirrors, nil
}

// Example: 'http://HOST/debian/dists/bookworm/InRelease' HOST_debian_dists_bookworm_InRelease 0
var inReleaseURI = regexp.MustCompile(`(?m)^'([^' ]+)/dists/[^' ]+/InRelease' `)

func urisToSites(uris string) string {
	var sites []string
	for _, m := range inReleaseURI.FindAllStringSubmatch(uris, -1) {
		sites = append(sites, m[1])
	}
	return strings.Join(sites, "\n")
}

// debianKeyring holds the keys of all of Debian's suites, and nobody else's.
const debianKeyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// private brings package lists of other suites up to date, in the cache.
func (d *debian) private(ctx context.Context, name string, mirrors map[string]string, suites []suite) (*apt, error) {
	if _, err := os.Stat(debianKeyring); err != nil {
		return nil, &Error{Fault: FaultHost, Err: err, Cure: CureOf(debianKeyring)}
	}
	dir, err := d.b.cache().Path(KindLists, name)
	if err != nil {
		return nil, err
	}
	a := &apt{dir: dir}
	for _, sub := range []string{"lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(a.dir, sub), 0o755); err != nil {
			return nil, hostErr(err, "apt")
		}
	}
	lock, err := d.b.cache().lockFor(ctx, dir, "uses it")
	if err != nil {
		return nil, err
	}
	defer lock.release()
	if err := os.WriteFile(filepath.Join(a.dir, "sources.list"), []byte(sourcesList(mirrors, suites)), 0o644); err != nil {
		return nil, hostErr(err, "apt")
	}
	d.b.logf("kernel: looking through Debian's %s", suiteNames(suites))
	if err := a.command("apt-get", "update").Run(ctx); err != nil {
		return nil, fmt.Errorf("apt: %w", err)
	}
	return a, nil
}

func sourcesList(mirrors map[string]string, suites []suite) string {
	var b strings.Builder
	for _, s := range suites {
		site := mirrors[s.archive]
		if site == "" {
			continue // a mirror without the security archive
		}
		fmt.Fprintf(&b, "deb [signed-by=%s] %s %s main\n", debianKeyring, site, s.name)
	}
	return b.String()
}

func suiteNames(suites []suite) string {
	names := make([]string, len(suites))
	for i, s := range suites {
		names[i] = s.name
	}
	return strings.Join(names, ", ")
}

package kernels

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"sort"
	"strings"
)

// exclusive checks the BUILD_EXCLUSIVE_ directives, as dkms does. Where one
// does not hold, the error is a *Skip.
func (c *dkmsConf) exclusive(release, arch, config string) error {
	for _, d := range []struct{ name, value string }{
		{"BUILD_EXCLUSIVE_KERNEL", release}, {"BUILD_EXCLUSIVE_ARCH", arch},
	} {
		pattern := c.vars[d.name]
		ok, err := matches(pattern, d.value)
		if err != nil {
			return usageErr("", "dkms.conf: %s: %w", d.name, err)
		}
		if !ok {
			return &Skip{Reason: fmt.Sprintf("%s=%q, and this is %s", d.name, pattern, d.value), Options: configNames(pattern)}
		}
	}
	if err := c.exclusiveVersion(release); err != nil {
		return err
	}
	return exclusiveConfig(c.vars["BUILD_EXCLUSIVE_CONFIG"], config)
}

func (c *dkmsConf) exclusiveVersion(release string) error {
	least, most := c.vars["BUILD_EXCLUSIVE_KERNEL_MIN"], c.vars["BUILD_EXCLUSIVE_KERNEL_MAX"]
	if least != "" && compareVersions(release, least) < 0 {
		return &Skip{Reason: fmt.Sprintf("BUILD_EXCLUSIVE_KERNEL_MIN=%q, and this is %s", least, release)}
	}
	if most != "" && compareVersions(release, most) > 0 {
		return &Skip{Reason: fmt.Sprintf("BUILD_EXCLUSIVE_KERNEL_MAX=%q, and this is %s", most, release)}
	}
	return nil
}

// exclusiveConfig checks "CONFIG_A CONFIG_B !CONFIG_C" against a .config.
func exclusiveConfig(directive, config string) error {
	var missing []string
	lines := strings.Split(config, "\n")
	for _, want := range strings.Fields(directive) {
		name, negated := strings.CutPrefix(want, "!")
		on := slices.Contains(lines, name+"=y") || slices.Contains(lines, name+"=m") // a name of any bytes: no pattern
		if on && negated {
			return &Skip{Reason: fmt.Sprintf("BUILD_EXCLUSIVE_CONFIG=%q, and the kernel has %s", directive, name)}
		}
		if !on && !negated {
			missing = append(missing, strings.TrimPrefix(name, "CONFIG_"))
		}
	}
	if missing != nil {
		return &Skip{
			Reason:  fmt.Sprintf("BUILD_EXCLUSIVE_CONFIG=%q, and the kernel lacks CONFIG_%s", directive, strings.Join(missing, ", CONFIG_")),
			Options: missing,
		}
	}
	return nil
}

// matches is bash's [[ text =~ pattern ]]; an empty pattern matches all.
func matches(pattern, text string) (bool, error) {
	re, err := regexp.CompilePOSIX(pattern)
	if err != nil {
		return false, fmt.Errorf("%q: %w", pattern, err)
	}
	return re.MatchString(text), nil
}

var number = regexp.MustCompile(`[0-9]+|[^0-9.]+`)

// compareVersions compares number by number, as sort -V does for kernel releases.
func compareVersions(a, b string) int {
	x, y := number.FindAllString(a, -1), number.FindAllString(b, -1)
	for i := range min(len(x), len(y)) {
		p, q := strings.TrimLeft(x[i], "0"), strings.TrimLeft(y[i], "0")
		if len(p) != len(q) {
			return len(p) - len(q)
		}
		if c := strings.Compare(p, q); c != 0 {
			return c
		}
	}
	return len(x) - len(y)
}

// dkmsBuild does what `dkms build` does: patches, PRE_BUILD, MAKE.
func (r *driverRun) dkmsBuild(ctx context.Context, conf *dkmsConf, build string) ([]string, error) {
	r.from, r.to, r.out = build, r.dir, build
	patches, err := conf.patches(r.k.Release)
	if err != nil {
		return nil, r.inConf(err)
	}
	for _, p := range patches {
		if err := r.run(ctx, build, nil, []string{"patch", "-p1", "--batch", "-i", filepath.Join("patches", p)}); err != nil {
			return nil, err
		}
	}
	if err := r.retarget(build); err != nil {
		return nil, err
	}
	env := append(append(r.dkmsEnv(), r.variables()...), "KERNELRELEASE="+r.k.Release)
	if script := conf.vars["PRE_BUILD"]; script != "" {
		if err := r.preBuild(ctx, build, script, env); err != nil {
			return nil, err
		}
	}
	command, err := conf.makeCommand(r.k.Release)
	if err != nil {
		return nil, r.inConf(err)
	}
	command = r.retargetCommand(command)
	// The defaults of dkms(8): its MAKE, with KERNELRELEASE where it is a plain make.
	if command == "" {
		command = "make -C " + Quote([]string{r.k.Build}) + " M=" + Quote([]string{build})
	}
	if rest := strings.TrimPrefix(command, "make"); rest != command && (rest == "" || rest[0] == ' ') {
		args := append([]string{"make", fmt.Sprintf("-j%d", runtime.NumCPU()), "KERNELRELEASE=" + r.k.Release}, r.variables()...)
		if strings.Contains(rest, "-C "+r.k.Build) {
			args = append(args, "PWD="+build) // as kbuild does it here
		} else {
			args = append(args, r.kernelDirs()...) // its own Makefile: what rest says of them comes later, and wins
		}
		args = append(args, r.probing()...)
		command = Quote(args) + rest
	}
	if err := r.run(ctx, build, env[:len(env)-1], []string{"bash", "--norc", "--noprofile", "-c", command}); err != nil {
		return nil, err
	}
	files, err := r.dkmsModules(conf, build)
	if err != nil && len(r.said.Messages) > 0 { // MAKE="make; find": the status is that of find
		return nil, r.failed(ctx, build, err)
	}
	return files, err
}

// preBuild runs PRE_BUILD. One that is not executable is passed over, as dkms does.
func (r *driverRun) preBuild(ctx context.Context, build, script string, env []string) error {
	name, _, _ := strings.Cut(script, " ")
	info, err := os.Stat(filepath.Join(build, name))
	if err != nil || info.Mode()&0o111 == 0 {
		fmt.Fprintf(r.log, "+ # PRE_BUILD=%q is no executable file: passed over, as dkms does\n", script)
		return nil
	}
	return r.run(ctx, build, env, []string{"bash", "--norc", "--noprofile", "-c", "exec ./" + script})
}

// indices are those that are set, in order.
func indices(array map[int]string) []int {
	var all []int
	for i := range array {
		all = append(all, i)
	}
	sort.Ints(all)
	return all
}

// makeCommand is MAKE[i] of the last MAKE_MATCH[i] that matches, else the one
// without a match.
func (c *dkmsConf) makeCommand(release string) (string, error) {
	plain, matched := "", ""
	for _, i := range indices(c.arrays["MAKE"]) {
		command, pattern := c.arrays["MAKE"][i], c.arrays["MAKE_MATCH"][i]
		if pattern == "" {
			plain = command
			continue
		}
		ok, err := matches(pattern, release)
		if err != nil {
			return "", usageErr("", "dkms.conf: MAKE_MATCH[%d]: %w", i, err)
		}
		if ok {
			matched = command
		}
	}
	if matched != "" {
		return matched, nil
	}
	return plain, nil
}

// patches are the names below patches/ that are for a kernel.
func (c *dkmsConf) patches(release string) ([]string, error) {
	var names []string
	for _, i := range indices(c.arrays["PATCH"]) {
		ok, err := matches(c.arrays["PATCH_MATCH"][i], release)
		if err != nil {
			return nil, usageErr("", "dkms.conf: PATCH_MATCH[%d]: %w", i, err)
		}
		if name := c.arrays["PATCH"][i]; ok && name != "" {
			if !filepath.IsLocal(name) {
				return nil, usageErr("", "dkms.conf: PATCH[%d]=%q: want a file below patches/", i, name)
			}
			names = append(names, name)
		}
	}
	return names, nil
}

// dkmsModules finds the modules that dkms.conf promises.
func (r *driverRun) dkmsModules(conf *dkmsConf, build string) ([]string, error) {
	names := conf.arrays["BUILT_MODULE_NAME"]
	if len(names) == 0 { // dkms(8): a package of one module may leave it out
		names = map[int]string{0: conf.vars["PACKAGE_NAME"]}
	}
	var files []string
	for _, i := range indices(names) {
		location := conf.arrays["BUILT_MODULE_LOCATION"][i]
		rel := filepath.Join(strings.TrimLeft(location, "/"), names[i]+".ko")
		if !filepath.IsLocal(rel) {
			return nil, r.inConf(usageErr("name a folder below it", "dkms.conf: BUILT_MODULE_LOCATION[%d]=%q leads out of the build directory", i, location))
		}
		file := filepath.Join(build, rel)
		if info, err := os.Lstat(file); err != nil || !info.Mode().IsRegular() {
			return nil, &Error{Fault: FaultDriver, Log: r.logFile(),
				Err: fmt.Errorf("%s: dkms.conf promises %s, but the build did not make it%s", r.dir, rel, r.made(build))}
		}
		files = append(files, file)
	}
	return files, nil
}

// made says what was built instead.
func (r *driverRun) made(build string) string {
	found, err := findFiles(build, ".ko")
	if err != nil || len(found) == 0 {
		return ""
	}
	return " (but " + strings.Join(found, ", ") + ")"
}

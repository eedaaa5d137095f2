package history

import "strings"

// Line is the kernel line of a release: its first two numbers, "6.12" of
// "6.12.117-rt3". A release of another form is a line of its own.
func Line(release string) string {
	_, rest, ok := number(release)
	if !ok || !strings.HasPrefix(rest, ".") {
		return release
	}
	if _, rest, ok = number(rest[1:]); !ok {
		return release
	}
	return strings.TrimSuffix(release, rest)
}

// versionKey orders releases: 6.12-rc7 < 6.12 < 6.12.9 < 6.12.117 < 7.0. What
// is no version is 0, before all others.
// Bits: 16 major, 16 minor, 16 patch, 1 release (0: -rc), 8 number of the -rc.
func versionKey(release string) int64 {
	var parts [3]int64
	rest := release
	for i := range parts {
		n, r, ok := number(rest)
		if !ok && i < 2 {
			return 0
		}
		parts[i], rest = n, r
		if !strings.HasPrefix(rest, ".") {
			if i == 0 {
				return 0
			}
			break
		}
		rest = rest[1:]
	}
	key := parts[0]<<41 | parts[1]<<25 | parts[2]<<9
	if _, rc, ok := strings.Cut(release, "-rc"); ok {
		n, _, _ := number(rc)
		return key | min(n, 255)
	}
	return key | 1<<8
}

// number reads the decimal number at the start of s, at most 5 digits.
func number(s string) (n int64, rest string, ok bool) {
	i := 0
	for i < len(s) && i < 5 && s[i] >= '0' && s[i] <= '9' {
		n = n*10 + int64(s[i]-'0')
		i++
	}
	return min(n, 1<<16-1), s[i:], i > 0
}

package history

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/kmemgate/kmemgate/reports"
)

// KCIDB is a night in the format that KernelCI takes in, version 5.3
// (https://github.com/kernelci/kcidb-io, schema/v05_03.py).
type KCIDB struct {
	Version   kcidbVersion    `json:"version"`
	Checkouts []kcidbCheckout `json:"checkouts"`
	Builds    []kcidbBuild    `json:"builds"`
	Tests     []kcidbTest     `json:"tests"`
	Issues    []kcidbIssue    `json:"issues"`
	Incidents []kcidbIncident `json:"incidents"`
}

type kcidbVersion struct {
	Major int `json:"major"`
	Minor int `json:"minor"`
}

type kcidbCheckout struct {
	ID         string `json:"id"`
	Origin     string `json:"origin"`
	CommitHash string `json:"git_commit_hash,omitempty"`
	Comment    string `json:"comment"`
	Valid      bool   `json:"valid"`
}

type kcidbBuild struct {
	CheckoutID   string         `json:"checkout_id"`
	ID           string         `json:"id"`
	Origin       string         `json:"origin"`
	Architecture string         `json:"architecture"`
	Compiler     string         `json:"compiler,omitempty"`
	Status       string         `json:"status"`
	Misc         map[string]any `json:"misc,omitempty"`
}

type kcidbTest struct {
	BuildID    string         `json:"build_id"`
	ID         string         `json:"id"`
	Origin     string         `json:"origin"`
	Path       string         `json:"path"`
	Comment    string         `json:"comment"`
	Status     string         `json:"status"`
	StartTime  time.Time      `json:"start_time"`
	Duration   float64        `json:"duration"`
	LogExcerpt string         `json:"log_excerpt,omitempty"`
	Misc       map[string]any `json:"misc,omitempty"`
}

type kcidbIssue struct {
	ID      string          `json:"id"`
	Version int             `json:"version"`
	Origin  string          `json:"origin"`
	Subject string          `json:"report_subject"`
	Culprit map[string]bool `json:"culprit"`
	Comment string          `json:"comment"`
	Misc    map[string]any  `json:"misc,omitempty"`
}

type kcidbIncident struct {
	ID           string `json:"id"`
	Origin       string `json:"origin"`
	IssueID      string `json:"issue_id"`
	IssueVersion int    `json:"issue_version"`
	TestID       string `json:"test_id"`
	Present      bool   `json:"present"`
}

var originForm = regexp.MustCompile(`^[a-z0-9_]+$`)

// ErrOrigin refuses an origin that KCIDB would.
var ErrOrigin = fmt.Errorf("want letters a-z, digits and _")

// KCIDB gives the night of that label ("": the last). origin is the name under
// which the submitter is known to KernelCI.
func (h *History) KCIDB(ctx context.Context, label, origin string) (KCIDB, error) {
	k := KCIDB{Version: kcidbVersion{5, 3}, Checkouts: []kcidbCheckout{}, Builds: []kcidbBuild{}, Tests: []kcidbTest{}, Issues: []kcidbIssue{}, Incidents: []kcidbIncident{}}
	if !originForm.MatchString(origin) {
		return k, fmt.Errorf("origin %q: %w", origin, ErrOrigin)
	}
	night, err := h.night(ctx, label)
	if err != nil {
		return k, err
	}
	s := submission{k: &k, origin: origin, seen: map[string]bool{}}
	runs, err := h.kcidbRuns(ctx, night)
	if err != nil {
		return k, err
	}
	for _, r := range runs {
		s.run(r)
	}
	leaks, err := h.kcidbLeaks(ctx, night)
	for _, l := range leaks {
		s.leak(l)
	}
	return k, err
}

type kcidbRun struct {
	hash                                               []byte
	at                                                 int64
	scenario, verdict, reason, detail, reproduce       string
	kernel, arch, revision, config, toolchain, content string
	seconds                                            float64
	orphans, bytes                                     int64
}

func (h *History) kcidbRuns(ctx context.Context, n Night) ([]kcidbRun, error) {
	return list(ctx, h.db, func(rows *sql.Rows) (r kcidbRun, err error) {
		return r, rows.Scan(&r.hash, &r.at, &r.scenario, &r.verdict, &r.reason, &r.detail, &r.reproduce, &r.kernel, &r.arch,
			&r.revision, &r.config, &r.toolchain, &r.content, &r.seconds, &r.orphans, &r.bytes)
	}, `SELECT r.hash, r.at, c.scenario, r.verdict, r.reason, r.detail, r.reproduce, b.kernel, b.arch,
		b.revision, b.config, b.toolchain, b.content, r.seconds, r.orphans, r.bytes
		FROM runs r JOIN cells c ON c.id = r.cell JOIN builds b ON b.id = r.build WHERE r.night = ? ORDER BY r.at, r.id`, n.id)
}

type kcidbLeak struct {
	hash                     []byte
	signature, title, record string
	function, status         string
}

func (h *History) kcidbLeaks(ctx context.Context, n Night) ([]kcidbLeak, error) {
	return list(ctx, h.db, func(rows *sql.Rows) (l kcidbLeak, err error) {
		return l, rows.Scan(&l.hash, &l.signature, &l.title, &l.record, &l.function, &l.status)
	}, `SELECT r.hash, g.signature, g.title, g.record, g.function, s.status FROM runs r JOIN sightings s ON s.run = r.id
		JOIN signatures g ON g.id = s.signature WHERE r.night = ? AND r.verdict IN ('clean', 'leaks') ORDER BY g.id, r.at, r.id`, n.id)
}

// submission collects objects, each once.
type submission struct {
	k      *KCIDB
	origin string
	seen   map[string]bool
}

func (s *submission) id(parts ...string) (id string, fresh bool) {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", parts))
	id = s.origin + ":" + hex.EncodeToString(sum[:16])
	fresh = !s.seen[id]
	s.seen[id] = true
	return id, fresh
}

var commitForm = regexp.MustCompile(`^[0-9a-f]{40}$`)

func (s *submission) run(r kcidbRun) {
	checkout, fresh := s.id("checkout", r.kernel, r.revision)
	if fresh {
		c := kcidbCheckout{ID: checkout, Origin: s.origin, Comment: "Linux " + r.kernel, Valid: true}
		if commitForm.MatchString(r.revision) {
			c.CommitHash = r.revision
		}
		s.k.Checkouts = append(s.k.Checkouts, c)
	}
	build, fresh := s.id("build", r.kernel, r.arch, r.revision, r.config, r.toolchain, r.content)
	if fresh {
		s.k.Builds = append(s.k.Builds, kcidbBuild{CheckoutID: checkout, ID: build, Origin: s.origin, Architecture: kcidbArch(r.arch),
			Compiler: r.toolchain, Status: "PASS", Misc: words("config_sha256", r.config, "content", r.content)})
	}
	s.k.Tests = append(s.k.Tests, kcidbTest{BuildID: build, ID: s.test(r.hash), Origin: s.origin, Path: "kmemgate." + kcidbPath(r.scenario),
		Comment: "kmemleak: " + r.scenario, Status: kcidbStatus(r.verdict, r.reason), StartTime: fromMillis(r.at), Duration: r.seconds,
		LogExcerpt: r.detail, Misc: test(r)})
}

func test(r kcidbRun) map[string]any {
	m := words("reason", r.reason, "reproduce", r.reproduce)
	m["orphans"], m["bytes"] = r.orphans, r.bytes
	return m
}

func (s *submission) test(hash []byte) string { return s.origin + ":" + hex.EncodeToString(hash[:16]) }

// leak makes the issue of a signature and the incident of one run.
func (s *submission) leak(l kcidbLeak) {
	if !present(reports.Status(l.status)) {
		return
	}
	issue, fresh := s.id("issue", l.signature)
	if fresh {
		s.k.Issues = append(s.k.Issues, kcidbIssue{ID: issue, Version: 1, Origin: s.origin, Subject: l.title, Culprit: map[string]bool{"code": true},
			Comment: l.title, Misc: words("signature", l.signature, "function", l.function, "record", l.record)})
	}
	incident, _ := s.id("incident", l.signature, hex.EncodeToString(l.hash))
	s.k.Incidents = append(s.k.Incidents, kcidbIncident{ID: incident, Origin: s.origin, IssueID: issue, IssueVersion: 1, TestID: s.test(l.hash), Present: true})
}

// hostFault are the reasons for which the harness is to blame: MISS. For the
// others it is the test that broke off: ERROR.
var hostFault = map[string]bool{
	reports.ReasonHost: true, reports.ReasonInterrupted: true, reports.ReasonQEMU: true,
	reports.ReasonBuild: true, reports.ReasonKernel: true, reports.ReasonParse: true,
}

func kcidbStatus(verdict, reason string) string {
	switch reports.Verdict(verdict) {
	case reports.Clean:
		return "PASS"
	case reports.Leaks:
		return "FAIL"
	case reports.Skipped:
		return "SKIP"
	}
	if hostFault[reason] {
		return "MISS"
	}
	return "ERROR"
}

func kcidbArch(arch string) string { return kcidbWord.ReplaceAllString(strings.ToLower(arch), "_") }

var (
	kcidbWord = regexp.MustCompile(`[^a-z0-9_]`)
	pathWord  = regexp.MustCompile(`[^a-zA-Z0-9_-]+`)
)

// kcidbPath makes one element of a path: dots would be levels.
func kcidbPath(scenario string) string { return cmp.Or(pathWord.ReplaceAllString(scenario, "_"), "_") }

// words makes a map of pairs, without the empty ones.
func words(pairs ...string) map[string]any {
	m := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			m[pairs[i]] = pairs[i+1]
		}
	}
	return m
}

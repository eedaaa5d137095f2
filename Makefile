# Every target works on a bare Debian 12 machine with Go 1.26; deps is the one place for packages.
SHELL := /bin/bash

PACKAGES := bc binutils bison ccache cpio dpkg-dev flex gcc gcc-aarch64-linux-gnu git kmod libc6-dev libc6-dev-arm64-cross libelf-dev libssl-dev \
	make patch qemu-system-arm qemu-system-x86 rsync util-linux xz-utils zstd
# What only tests need: a browser of 290 MB for the HTML report, a registry for kernels, jq for the action.
TEST_PACKAGES := chromium docker-registry jq
SUDO     := $(if $(filter 0,$(shell id -u)),,sudo)
TOOL     := go tool -modfile=.github/tools/go.mod
KMEMGATE := bin/kmemgate
TEST_VM  := go test -timeout 50m -count=1 -v

# What gate runs on: the default kernel, whatever kmemgate.yml lists.
HERE := --kernel 6.12 --arch $(patsubst aarch64,arm64,$(shell uname -m))

# The pairs that `make test` runs on; test-all takes every pair.
PAIRS     := 6.12/x86_64 6.12/arm64 6.1/arm64 7/x86_64
ALL_PAIRS := $(PAIRS) 6.1/x86_64 7/arm64

.PHONY: suite all print-packages deps test-deps build gate test test-all kernel unit shots vm drivers bisect soak scenarios test-actions test-readme test-release test-faults test-planted mutate mutate-scenarios lint fuzz corpus bench clean

all: build

deps: ## install the Debian packages that are missing
	$(call install,$(PACKAGES))

print-packages: # for the test that compares with other lists of them
	@echo $(PACKAGES)

test-deps: deps ## and those that only tests need
	$(call install,$(TEST_PACKAGES))

define install
@missing=$$(dpkg-query -W -f '$${Package} $${db:Status-Status}\n' $(1) 2>/dev/null | awk '$$2=="installed"{print $$1}' | sort | comm -13 - <(printf '%s\n' $(1) | sort)); \
if [ -n "$$missing" ]; then echo "installing:" $$missing; \
$(SUDO) apt-get update -qq && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; fi
endef

build: ## bin/kmemgate
	go build -o $(KMEMGATE) .

gate: deps build ## the main job: a leak is found, and the repaired module passes
	$(KMEMGATE) run $(HERE) scenarios/leak-on-exit; test $$? -eq 1
	$(KMEMGATE) run $(HERE) scenarios/clean

test: test-deps build lint kernel unit scenarios test-actions test-readme ## everything that CI runs
	go test -count=1 -timeout 10m -v -run '^TestFaults(Red|Green)$$|^TestDocs$$' ./harness/faults
	go test -count=1 -timeout 10m -v -run '^Test(Walk(Three|Forty)|NoScan)$$' ./harness
	$(TREES) go test -count=1 -timeout 10m -v -run '^Test($(TEMPLATES))$$' ./harness

test-all: test-deps build lint kernel unit vm drivers bisect test-actions test-readme test-faults test-planted test-release ## every pair of kernel and architecture
	KMEMGATE_PAIRS="$(ALL_PAIRS)" $(TEST_VM) ./scenarios -skip '$(PROVING)'

kernel: build ## 6.12/x86_64, whose source has the reader that unit checks KTAP with
	$(KMEMGATE) kernel build 6.12/x86_64

# -short leaves out the tests of harness that boot VMs of their own; test-all runs them (vm).
unit:
	go test -race -short -timeout 20m -skip '^TestScenarios$$' ./...

# The trees of the kernels that the VM layer's own tests boot, and those of its tests that every change is tested by.
TREES      = KMEMGATE_TEST_TREE_X86_64=$$($(KMEMGATE) kernel path --what build 6.12/x86_64) KMEMGATE_TEST_TREE_ARM64=$$($(KMEMGATE) kernel path --what build 6.12/arm64)
TEMPLATES := Template|TemplateIsShared|DamagedTemplate|Unrestorable|UnrestorableAgain|TemplateCancelled|GuestsAtOnce|Keep|KeepIsForAVerdict|RealClock|ShellIdles

vm: build ## the VM layer's own tests, on real guests
	$(KMEMGATE) kernel build $(ALL_PAIRS)
	$(KMEMGATE) kernel build --config sweep 6.12/x86_64 6.12/arm64
	$(KMEMGATE) kernel build --config harness/testdata/dwarf.config 6.12/x86_64
	$(TREES) go test -timeout 30m -count=1 ./harness ./harness/cli ./harness/leaktest

drivers: build ## four of Debian's drivers as they are, and with a free taken out, on the kernels they are written for
	KMEMGATE_PAIRS="$(or $(DRIVER_PAIRS),6.12/x86_64 6.12/arm64 6.1/x86_64 6.1/arm64)" go test -timeout 120m -count=1 -v ./harness -run '^TestDrivers$$'

bisect: build ## a leak planted in the kernel is named among 16 commits: a kernel is built six times, the first from nothing
	KMEMGATE_TEST_BISECT_KERNEL=yes go test -timeout 120m -count=1 -v -run '^TestBisectNamesThePlantedCommitOf16OfAKernel$$' ./harness

soak: build ## the wrong and the right driver on both architectures, REPEATS times each, four at a time
	KMEMGATE_REPEATS=$(or $(REPEATS),200) go test -timeout 120m -count=1 -v -run '^TestRepeatedRuns$$' ./harness

# The whole suite on the default kernel, but for the scenarios that want a kernel of their own (boot-*), and the spine on
# the other pairs. test-all leaves nothing out.
SPINE := clean|leak-on-exit|kmemleak-test|where-(init|exit|work|inlined)|algo-orphan-list
scenarios: build
	$(KMEMGATE) kernel build $(PAIRS)
	KMEMGATE_PAIRS="6.12/x86_64" $(TEST_VM) ./scenarios -run '^TestScenarios$$' -skip '^TestScenarios$$/././boot-(auto-scan|default-off.*|first-scan|small-pool)$$'
	KMEMGATE_PAIRS="6.12/arm64 6.1/arm64 7/x86_64" $(TEST_VM) ./scenarios -run '^TestScenarios$$/././^($(SPINE))$$'
	go test -timeout 20m -count=1 ./harness/leaktest

suite: build ## every scenario on every pair, ROUNDS times (default 10): no outcome may change
	$(KMEMGATE) kernel build $(ALL_PAIRS)
	.ci/suite $(or $(ROUNDS),10) $(ALL_PAIRS)

test-actions: ## the action and the reusable workflow, run by act; needs 6.12 in the cache
	go test -count=1 -timeout 20m -v -skip '^TestRelease$$' ./.github/test

test-release: ## a release, made as a snapshot into dist/, unpacked, and run without Go; needs 6.12 in the cache
	go test -count=1 -timeout 60m -v -run '^TestRelease$$' ./.github/test

test-readme: ## README's session is what happens, and so are the pages' commands
	go test -count=1 -timeout 20m -run '^Test(README|Docs|LeaksDay|Example)' ./harness/cli

test-faults: ## what breaks under a run, brought about for real: docs/faults.md; some of it only as root
	$(call install,locales)
	go test -count=1 -timeout 60m -v ./harness/faults

# The tests that want scenarios to fail, not to pass: the next targets run them.
PROVING := ^Test(PlantedFaults|MutatedScenarios)$$

test-planted: build ## faults planted in the kernel's kmemleak turn red the scenarios that a list names, and no other
	$(KMEMGATE) kernel build 6.12/x86_64
	KMEMGATE_PAIRS=6.12/x86_64 $(TEST_VM) ./scenarios -run '^TestScenarios$$/././^boot-' # builds the kernels of their own
	CI=true go test -timeout 120m -count=1 -v -run '^TestPlantedFaults$$' ./scenarios

mutate: build mutate-scenarios ## each check taken out of a copy: its test must fail then; needs 6.12/x86_64
	$(KMEMGATE) kernel build 6.12/x86_64
	.ci/mutate

mutate-scenarios: build ## each leak repaired, each clean driver broken in a copy: its scenario must fail then
	$(KMEMGATE) kernel build 6.12/x86_64
	CI=true go test -timeout 120m -count=1 -v -run '^TestMutatedScenarios$$' ./scenarios

lint:
	$(TOOL) golangci-lint run ./... ./.github/test ./.github/prebuild
	go tool -modfile=.github/tools/actionlint/go.mod actionlint
	test -z "$$(gofmt -l .)"
	go mod tidy -diff

shots: ## pictures of the HTML page (wide, phone, dark, print) into shots/, to be looked at
	mkdir -p shots
	KMEMGATE_SHOTS=$(CURDIR)/shots go test -count=1 -run '^TestPage' ./reports/render

# A target with goroutines, or with a folder of its own, reaches other code each time: minimising what it found takes for ever.
fuzz: ## every fuzz target for FUZZTIME (default 1m)
	@for f in $$(grep -rlE '^func Fuzz' --include='*_test.go' .); do \
	for t in $$(grep -oE '^func Fuzz[A-Za-z0-9]+' $$f | cut -c6-); do \
	go test -run '^$$' -fuzz "^$$t$$" -fuzztime $(or $(FUZZTIME),1m) -fuzzminimizetime 10x $(if $(FUZZWORKERS),-parallel=$(FUZZWORKERS)) ./$$(dirname $$f) || exit 1; done; done

corpus: ## what fuzz found on this machine, the smallest of it, into testdata/fuzz
	.ci/corpus

bench: build ## how much faster than the plain way, in one run
	$(KMEMGATE) kernel build 6.12/x86_64 6.12/arm64
	go test -run '^$$' -bench '^BenchmarkVerdict$$' -benchtime 5x -timeout 30m ./harness

clean:
	rm -rf bin

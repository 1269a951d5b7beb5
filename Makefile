# The everyday commands. CONTRIBUTING.md says what each is for.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL:

TARGET := $(shell uname -m)-unknown-linux-gnu
YADO := target/$(TARGET)/release/yado
# The budget of the static binary: 22 MiB.
BUDGET := 23068672
STEPS := setup lint unit bench-budget fuzz it release demo
# yado optimised in the profile of the tests, so that nothing else is compiled anew.
OPTIMISED := $(addprefix --config profile.dev.package.yado.,opt-level=3 overflow-checks=false \
  debug-assertions=false)
# How long each fuzz target runs.
SECONDS := 30

.PHONY: test $(STEPS) install bench bench-patch help

help:
	@echo 'make demo   build, push and run an example on this machine'
	@echo 'make test   everything that CI runs: $(STEPS)'
	@echo 'make bench  what builds take here, with yado, buildah and podman side by side, as root;'
	@echo '            CASES="a d" RUNS=5 WORK=DIR, see benches/builders.py --help'
	@echo 'make bench-budget  hold what parts of a build cost against benches/budget.txt;'
	@echo '            UPDATE=1 writes it'

# Everything that CI runs, with the time of each step.
test:
	@times=; for step in $(STEPS); do \
	  echo "== $$step"; from=$$SECONDS; \
	  $(MAKE) --no-print-directory $$step || { echo "== $$step failed"; exit 1; }; \
	  times+=$$(printf '\n%6ds  %s' $$((SECONDS - from)) $$step); \
	done; echo "== all passed$$times"

# Debian's packages; root is needed only when one is missing.
install:
	docker/install.sh

setup: install
	cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt
	cargo clippy --version >/dev/null 2>&1 || rustup component add clippy

lint:
	cargo fmt --check
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	cargo clippy --all-targets --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --no-deps --locked
	shellcheck .ci/run fuzz/*.sh docker/*.sh tests/*.sh
	benches/builders.py --help >/dev/null

unit:
	cargo test --lib --bins --locked
	cargo test --doc --locked

# The parser, expansion and changes of YAML on any input; `make fuzz SECONDS=600` before a release.
fuzz: install
	fuzz/run.sh $(SECONDS)

# The integration tests: as root, as a user with subordinate ids, as a user with one id.
it:
	tests/identities.sh

# The static binary. The flag is not in .cargo/config.toml: without --target it would hold for
# procedural macros too, which cannot be static.
release:
	RUSTFLAGS='-C target-feature=+crt-static' cargo build --release --locked --target $(TARGET)
	file --brief $(YADO) | grep -E 'static(-pie|ally) linked'
	! ldd $(YADO) 2>/dev/null | grep -F '=>'
	size=$$(stat --format=%s $(YADO)); echo "$$size of $(BUDGET) bytes"; test $$size -lt $(BUDGET)

# As root the second build is made by the user of the integration tests, if `make it` has made it.
demo: install release
	AGAIN=$$(if test $$UID -eq 0; then id -un yado-test 2>/dev/null || true; fi) \
	  YADO=$(YADO) docker/demo.sh

# The parts of a build, in instructions and system calls.
bench-budget: install
	cargo bench --locked --profile dev $(OPTIMISED) --bench micro -- $(if $(UPDATE),--update) $(PARTS)

# git-patch in a repository of 24,000 files, beside clone, commit and push.
bench-patch: install release
	benches/git_patch.py $(YADO)

# Whole builds: yado, buildah, podman and the floor, side by side. About a quarter of an hour.
bench: install release
	benches/builders.py --yado $(YADO) --runs $(or $(RUNS),3) $(if $(WORK),--work "$(WORK)") $(CASES)

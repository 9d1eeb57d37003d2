# The commands of this project. Each does all that it needs by itself.

.DEFAULT_GOAL := build
.PHONY: bench bench-smoke build check-targets deb demo fuzz fuzz-smoke model package-test sandbox screenshot storm test units

# Optimised programs in target/release.
build:
	@tools/packages.sh build
	cargo build --release --workspace --bins --exclude berth-puppets --exclude berth-bench

# Whether the client compiles for macOS, FreeBSD and other kinds of Linux: a minute for each. Needs rustup.
check-targets:
	@tools/check-targets.sh

# Debian packages of server and client, in target/debian.
deb:
	@tools/deb.sh

# These packages on a clean root: installed, used, upgraded, removed, purged. Takes minutes, and root.
package-test: deb
	@tools/test-package.sh

# A real server with two users, a large file there and back, killed half way and resumed.
demo:
	@tools/demo.sh

# Everything that can fail: unit tests, and tests with real processes.
test:
	@tools/test.sh

# Berth beside the peers that can be installed; writes docs/performance. In small: make bench ARGS=--short
bench:
	@tools/bench.sh $(ARGS)

# The micro-benchmarks in a short form, which prints and judges nothing.
bench-smoke:
	@tools/bench-smoke.sh

# The quota protocol's model, searched exhaustively.
model:
	@tools/model.sh

# The systemd units: valid, shut in as far as is claimed, and their user and directories.
units:
	@tools/packages.sh test
	@tools/check-units.sh

# The programs of a release under the sandbox: no system call is missing in its tables.
sandbox:
	@tools/sandbox.sh

# Random operations while random processes are killed: make storm KILLS=10000 SEED=7
# docs/TESTING.md says what STORM_DIR and STORM_WITHOUT do.
storm:
	@tools/storm.sh

# The terminal in README.md, drawn of a real one. Look at it before it is committed.
screenshot:
	cargo build --workspace --bins
	cargo run --package berth-tests --example screenshot docs/images/terminal.svg

# One fuzz target, by the nightly compiler: make fuzz TARGET=frames SECONDS=3600
fuzz:
	@FUZZ_FOR=$(SECONDS) tools/fuzz.sh run $(TARGET)

# Each fuzz target for FUZZ_SECONDS (60).
fuzz-smoke:
	@tools/fuzz.sh smoke

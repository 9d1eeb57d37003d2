# The commands of this project. Each does all that it needs by itself.

.DEFAULT_GOAL := build
.PHONY: build demo fuzz fuzz-smoke model storm test

# Optimised programs in target/release.
build:
	@tools/packages.sh build
	cargo build --release --workspace --bins

# A real server with two users, a large file there and back, killed half way and resumed.
demo:
	@tools/demo.sh

# Everything that can fail: unit tests, and tests with real processes.
test:
	@tools/test.sh

# The quota protocol's model, searched exhaustively.
model:
	@tools/model.sh

# Random operations while random processes are killed: make storm KILLS=10000 SEED=7
# docs/TESTING.md says what STORM_DIR and STORM_WITHOUT do.
storm:
	@tools/storm.sh

# One fuzz target, by the nightly compiler: make fuzz TARGET=frames SECONDS=3600
fuzz:
	@FUZZ_FOR=$(SECONDS) tools/fuzz.sh run $(TARGET)

# Each fuzz target for FUZZ_SECONDS (60).
fuzz-smoke:
	@tools/fuzz.sh smoke

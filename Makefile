# The everyday commands.

.PHONY: test

# Everything that CI runs.
test:
	cargo fmt --check
	cargo test --locked

#!/usr/bin/env bash
# Fuzzes the pure parts with libFuzzer: fuzz/run.sh SECONDS [TARGET…], each target for so long.
#
# Stable Rust does: what cargo-fuzz asks of a nightly compiler is coverage, and that comes from
# the compiler's flags below. A finding ends the run; its input is in target/fuzz/findings and
# belongs into testdata when it is mended. What was reached is kept in target/fuzz/corpus.
set -euo pipefail
cd "$(dirname "$0")/.."

[ $# -ge 1 ] || { echo "usage: fuzz/run.sh SECONDS [TARGET...]" >&2; exit 64; }
seconds=$1
shift
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(parse expand splice)

export CARGO_TARGET_DIR=target/fuzz
machine=$(uname -m)-unknown-linux-gnu
RUSTFLAGS="--cfg fuzzing -Ccodegen-units=1 -Cpasses=sancov-module \
  -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
  -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares" \
  cargo build --quiet --release --locked --target "$machine" --manifest-path fuzz/Cargo.toml

work=target/fuzz
mkdir -p $work/findings $work/seeds/{parse,expand,splice}
for case in testdata/dockerfile/* testdata/plan/*; do
  cp "$case/Dockerfile" "$work/seeds/parse/$(basename "$(dirname "$case")")-$(basename "$case")"
done
# A row `WORD => RESULT ; A=x B=y` as the word, then a line for each variable.
row=0
while IFS= read -r line; do
  variables=${line##*; }
  row=$((row + 1))
  printf '%s\n%s\n' "${line%% => *}" "${variables// /$'\n'}" >"$work/seeds/expand/$row"
done < <(grep ' => ' testdata/expand.txt)

# A path and a value on the first line, the text below.
printf 'a[0].b=x\n%s\n' 'a:' "- b: 'c' # d" '  e: &f |+' '    g' '- *f' >"$work/seeds/splice/block"
printf 'a.b=1.10\n%s\n' '{"a": {"b": "c", "d": [1, true]}}' >"$work/seeds/splice/json"

for target in "${targets[@]}"; do
  mkdir -p "$work/corpus/$target"
  echo "fuzz: $target for $seconds s"
  # A file of 4 KiB may take half a gigabyte at the very most. The limit of time is for hangs: it
  # is the clock's, and this machine may have other things to do.
  if ! "$work/$machine/release/$target" -max_total_time="$seconds" -print_final_stats=1 \
    -timeout=25 -rss_limit_mb=512 -malloc_limit_mb=256 -max_len=4096 -dict=fuzz/dictionary.txt \
    -artifact_prefix="$work/findings/$target-" \
    "$work/corpus/$target" "$work/seeds/$target" 2>"$work/$target.log"; then
    tail -n 60 "$work/$target.log" >&2
    exit 1
  fi
  grep -aE '^(#[0-9]+ DONE|stat::(number_of_executed_units|peak_rss_mb|slowest_unit_time_sec))' \
    <(tr '\t' ' ' <"$work/$target.log")
done

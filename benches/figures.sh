#!/usr/bin/env bash
# Prints what a build costs here: memory, time to a step, size of the binary.
# The tests hold the counts (tests/it/figures.rs); times depend on the machine.
#
# YADO  the binary (default: yado from PATH)
# RUNS  how often each time is taken (default: 21; the median is printed)
set -euo pipefail

yado=$(command -v "${YADO:-yado}") || { echo "no yado: name the binary with YADO=" >&2; exit 1; }
runs=${RUNS:-21}
work=$(mktemp -d)
trap 'rm -rf --one-file-system -- "$work"' EXIT
export YADO_ROOT=$work/store
mkdir "$work/context"
cd "$work/context"
cp /bin/busybox .

file() { # NAME, then the Dockerfile's lines
  local name=$1
  shift
  printf '%s\n' "$@" >"$name"
}
file base 'FROM scratch' 'COPY busybox /bin/busybox' 'RUN ["/bin/busybox", "--install", "-s", "/bin"]'
file trivial 'FROM localhost:1/base' 'RUN ["/bin/busybox", "true"]'
file random 'FROM localhost:1/base' 'RUN dd if=/dev/urandom of=/large bs=1M count=200 2>/dev/null'
file text 'FROM localhost:1/base' 'RUN yes "a line of text" | head -c 209715200 >/large'

build() { "$yado" build --quiet "$@" . >/dev/null; }
# Milliseconds of wall time, the median of all runs.
median() {
  for ((i = 0; i < runs; i++)); do
    local from=$EPOCHREALTIME
    "$@"
    local to=$EPOCHREALTIME
    echo $(((${to/./} - ${from/./}) / 10))
  done | sort -n | sed -n "$((runs / 2 + 1))p" | sed -E 's/^(.*)(..)$/0\1.\2/; s/^0+([0-9])/\1/'
}
peak() { command time --format=%M --output="$work/peak" "$yado" build --quiet --no-cache -f "$1" . >/dev/null
  echo $(($(cat "$work/peak") / 1024)); }

build -f base -t localhost:1/base
build -f trivial
printf '%-58s %8s\n' figure here
row() { printf '%-58s %8s %s\n' "$@"; }
row 'binary' "$(($(stat --format=%s "$yado") / 1024))" KiB
row 'process start to end, one trivial RUN, warm base' "$(median build --no-cache -f trivial)" ms
row 'the same, all cached' "$(median build -f trivial)" ms
row 'peak memory, RUN that writes 200 MB of random bytes' "$(peak random)" MiB
row 'peak memory, RUN that writes 200 MB of text' "$(peak text)" MiB

#!/usr/bin/env bash
# Builds, pushes and runs testdata/app with a registry of its own on this machine.
#
# YADO  the binary (default: yado from PATH)
# PORT  where the registry listens on 127.0.0.1 (default: 5000)
# DEMO  where the registry's data and the bases are kept (default: target/demo)
#
# Runs as root and as an ordinary user. The first run makes two Debian bases,
# which takes a minute; later ones find them in the registry.
set -euo pipefail
cd "$(dirname "$0")/.."

yado=${YADO:-yado}
port=${PORT:-5000}
demo=${DEMO:-target/demo}
here=localhost:$port/demo
suite=bookworm
TIMEFORMAT='demo: took %1Rs'

stop() { [ -z "${registry:-}" ] || { kill "$registry" && wait "$registry"; } 2>/dev/null || true; }
trap stop EXIT
die() { echo "demo: $*" >&2; exit 1; }
say() { echo "demo: $*"; }
answers() { curl --silent --show-error --fail --output /dev/null "$@" 2>>"$demo/curl.log"; }

# A registry that is always ours: a stranger's on this port would get the images.
start_registry() {
  answers "http://127.0.0.1:$port/v2/" && die "port $port is in use, choose another with PORT="
  cat >"$demo/registry.yml" <<YAML
version: 0.1
log: {level: warn}
storage:
  filesystem: {rootdirectory: "$(realpath "$demo")/registry"}
  delete: {enabled: true}
http: {addr: "127.0.0.1:$port"}
YAML
  docker-registry serve "$demo/registry.yml" >"$demo/registry.log" 2>&1 &
  registry=$!
  for _ in {1..100}; do
    kill -0 "$registry" 2>/dev/null || die "the registry ended, see $demo/registry.log"
    answers "http://127.0.0.1:$port/v2/" && return
    sleep 0.1
  done
  die "the registry does not answer, see $demo/registry.log"
}

# make_base NAME [mmdebstrap flags]: Debian as an image, unless the registry has it.
make_base() {
  local name=$1 dir=$demo/$1
  shift
  answers --head --header 'Accept: application/vnd.oci.image.manifest.v1+json' \
    "http://127.0.0.1:$port/v2/demo/$name/manifests/$suite" && return
  mkdir -p "$dir"
  if [ ! -e "$dir/base.tar" ]; then
    say "making $name with mmdebstrap"
    # Device nodes and this machine's name servers are no part of an image. No file is newer
    # than the release, so that packages decide about the digest and not the day.
    SOURCE_DATE_EPOCH=1686355200 mmdebstrap --quiet --variant=minbase --skip=output/dev "$@" \
      --customize-hook='rm -f "$1/etc/resolv.conf" "$1/etc/hostname"' \
      "$suite" "$dir/making.tar" || die "mmdebstrap needs root, or subordinate ids (uidmap)"
    mv "$dir/making.tar" "$dir/base.tar"
  fi
  printf 'FROM scratch\nADD base.tar /\nCMD ["/bin/bash"]\n' >"$dir/Dockerfile"
  "$yado" build -t "$here/$name:$suite" --push "$dir"
}

command -v "$yado" >/dev/null || die "no $yado: name the binary with YADO="
for tool in docker-registry mmdebstrap curl jq; do
  command -v "$tool" >/dev/null || die "no $tool: run docker/install.sh"
done
mkdir -p "$demo"
start_registry
make_base debian
make_base debian-build --include=gcc,libc6-dev,make

say "building and pushing $here/app:1.0"
time "$yado" build -t "$here/app:1.0" --push --metadata-file "$demo/metadata.json" \
  --build-arg VERSION=1.0 --build-arg BASE="$here/debian:$suite" \
  --build-arg BUILD_BASE="$here/debian-build:$suite" testdata/app
say "digest $(jq -er '."containerimage.digest"' "$demo/metadata.json")"

say "running it"
"$yado" exec "$here/app:1.0" -- /usr/local/bin/app --self-test

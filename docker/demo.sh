#!/usr/bin/env bash
# Builds testdata/app on bases made of Debian packages, pushes it to a registry of its own on this
# machine, runs it, builds it again, and lets other tools judge it (judge.sh). As root or not.
#
# YADO   the binary (default: yado from PATH)
# PORT   where the registry listens on 127.0.0.1 (default: 5000, else the next free one)
# DEMO   where the registry's data and the bases are kept (default: target/demo)
# AGAIN  an ordinary user; as root, the second build is made by this user (default: the same user)
#
# The first run makes the two bases, which takes a minute; later ones find them in the registry.
set -euo pipefail
cd "$(dirname "$0")/.."

# What root mounts (mmdebstrap, runc) stays in a mount namespace that ends with this script.
if [ "$(id -u)" -eq 0 ] && [ -z "${DEMO_PRIVATE:-}" ] &&
  unshare --mount --propagation private true 2>/dev/null; then
  DEMO_PRIVATE=1 exec unshare --mount --propagation private docker/demo.sh
fi

yado=$(command -v "${YADO:-yado}") || { echo "demo: no yado: name the binary with YADO=" >&2; exit 1; }
yado=$(realpath "$yado")
demo=${DEMO:-target/demo}
suite=bookworm
registry=
service=

stop() { # PID: asks a process of ours to end, and waits until it has.
  [ -z "$1" ] || { kill "$1" && wait "$1"; } 2>/dev/null || true
}
trap 'stop "$service"; stop "$registry"' EXIT
die() { echo "demo: $*" >&2; exit 1; }
say() { echo "demo: $*"; }
answers() { curl --silent --show-error --fail --output /dev/null "$@" 2>>"$demo/curl.log"; }
in_use() { (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

free_port() { # FROM: the first port from there where nobody listens.
  local port
  for ((port = $1; port < $1 + 100; port++)); do
    in_use "$port" || { echo "$port"; return; }
  done
  die "no free port between $1 and $port"
}

# A registry that is always ours: a stranger's on this port would get the images.
start_registry() { # PORT
  cat >"$demo/registry.yml" <<YAML
version: 0.1
log: {level: warn}
storage:
  filesystem: {rootdirectory: "$(realpath "$demo")/registry"}
  delete: {enabled: true}
http: {addr: "127.0.0.1:$1"}
YAML
  docker-registry serve "$demo/registry.yml" >"$demo/registry.log" 2>&1 &
  registry=$!
  for _ in {1..100}; do
    kill -0 "$registry" 2>/dev/null || die "the registry ended, see $demo/registry.log"
    answers "http://127.0.0.1:$1/v2/" && return
    sleep 0.1
  done
  die "the registry does not answer, see $demo/registry.log"
}

make_base() { # NAME [mmdebstrap flags]: Debian as an image, unless the registry has it.
  local name=$1 dir=$demo/$1
  shift
  answers --head --header 'Accept: application/vnd.oci.image.manifest.v1+json' \
    "http://$host/v2/demo/$name/manifests/$suite" && return
  mkdir -p "$dir"
  if [ ! -e "$dir/base.tar" ]; then
    say "making $name with mmdebstrap"
    # Device nodes and this machine's name servers are no part of an image. No file is newer
    # than the release, so that packages decide about the digest and not the day.
    # shellcheck disable=SC2016 # $1 is the hook's own argument.
    SOURCE_DATE_EPOCH=1686355200 mmdebstrap --quiet --variant=minbase --skip=output/dev "$@" \
      --customize-hook='rm -f "$1/etc/resolv.conf" "$1/etc/hostname"' \
      "$suite" "$dir/making.tar" || die "mmdebstrap needs root, or subordinate ids (uidmap)"
    mv "$dir/making.tar" "$dir/base.tar"
  fi
  printf 'FROM scratch\nADD base.tar /\nCMD ["/bin/bash"]\n' >"$dir/Dockerfile"
  "$yado" build -t "$host/demo/$name:$suite" --push "$dir"
}

arguments=()
build_app() { # [flags]
  "$yado" build "${arguments[@]}" "$@" testdata/app
}

build_as() { # USER: the same build by another user, who may not see this directory.
  local dir
  dir=$(mktemp -d)
  chmod 0755 "$dir"
  cp "$yado" "$dir/yado"
  cp -r testdata/app "$dir/app"
  chmod -R a+rX "$dir"
  install -d -o "$1" "$dir/home"
  (cd / && runuser -u "$1" -- env HOME="$dir/home" YADO_ROOT="$dir/home/store" \
    "$dir/yado" build "${arguments[@]}" --quiet "$dir/app")
  rm -rf --one-file-system "$dir"
}

for tool in docker-registry mmdebstrap curl jq; do
  command -v "$tool" >/dev/null || die "no $tool: run docker/install.sh"
done
mkdir -p "$demo"
if [ -n "${PORT:-}" ]; then
  in_use "$PORT" && die "port $PORT is in use, choose another with PORT="
else
  PORT=$(free_port 5000)
fi
host=localhost:$PORT
start_registry "$PORT"
say "a registry on $host"
make_base debian
make_base debian-build --include=gcc,libc6-dev,make

image=$host/demo/app:1.0
arguments=(--build-arg VERSION=1.0 --build-arg "BASE=$host/demo/debian:$suite"
  --build-arg "BUILD_BASE=$host/demo/debian-build:$suite")
say "building and pushing $image"
TIMEFORMAT='demo: built and pushed in %1Rs'
time build_app -t "$image" --push --no-cache --metadata-file "$demo/metadata.json"
digest=$(jq -er '."containerimage.digest"' "$demo/metadata.json")
say "digest $digest"

say "running it"
"$yado" exec "$image" -- /usr/local/bin/app --self-test
port=$(free_port 8080)
"$yado" exec -e PORT="$port" "$image" &
service=$!
for _ in {1..100}; do
  kill -0 "$service" 2>/dev/null || die "the application ended"
  answers "http://127.0.0.1:$port/healthz" && break
  sleep 0.1
done
curl --silent --show-error --fail "http://127.0.0.1:$port/"
stop "$service"
service=
in_use "$port" && die "the application still runs after yado exec has ended"
say "it answered on port $port, and it is stopped"

say "building it again, without the cache${AGAIN:+, as $AGAIN}"
if [ -n "${AGAIN:-}" ]; then
  again=$(build_as "$AGAIN")
else
  again=$(build_app --no-cache --quiet)
fi
[ "$again" = "$digest" ] || die "another digest: $again"
say "the same digest"

docker/judge.sh "$image" "$digest" "$demo/judge" /usr/local/bin/app --self-test

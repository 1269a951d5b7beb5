#!/usr/bin/env bash
# Lets other tools judge an image: skopeo pulls it, umoci unpacks it, runc runs a command in it.
#
#   docker/judge.sh IMAGE DIGEST DIR COMMAND…
#
# IMAGE is in a registry on this machine, without TLS. DIR is made anew and removed at the end.
# As root the image is unpacked with its owners and runs as its own user; as an ordinary user it
# has one id, so the files and the process are root's in the container. Where a container refuses
# namespaces there is no runc; then this says so and is content with the others.
set -euo pipefail

[ $# -ge 4 ] || { echo "usage: judge.sh IMAGE DIGEST DIR COMMAND..." >&2; exit 64; }
image=$1 digest=$2 dir=$3
shift 3
die() { echo "judge: $*" >&2; exit 1; }
say() { echo "judge: $*"; }
clean() { rm -rf --one-file-system "$dir"; }
for tool in skopeo umoci runc jq; do
  command -v "$tool" >/dev/null || die "no $tool: run docker/install.sh"
done

# runc mounts; as root it does so where nobody else sees it.
if [ "$(id -u)" -eq 0 ] && [ -z "${DEMO_PRIVATE:-}" ] &&
  unshare --mount --propagation private true 2>/dev/null; then
  DEMO_PRIVATE=1 exec unshare --mount --propagation private "$0" "$image" "$digest" "$dir" "$@"
fi

clean
trap clean EXIT
mkdir -p "$dir"
skopeo copy --quiet --src-tls-verify=false "docker://$image" "oci:$dir/image:judged"
pulled=$(jq -r '.manifests[0].digest' "$dir/image/index.json")
[ "$pulled" = "$digest" ] || die "skopeo pulled $pulled, expected $digest"
say "skopeo pulled $pulled"

if [ "$(id -u)" -eq 0 ]; then
  umoci unpack --image "$dir/image:judged" "$dir/bundle"
  edit='.'
else
  umoci unpack --rootless --image "$dir/image:judged" "$dir/bundle"
  edit='.process.user = {uid: 0, gid: 0}'
fi
say "umoci unpacked it"

if [ "$(id -u)" -eq 0 ]; then private=(unshare --mount); else private=(unshare --user --mount); fi
if ! refusal=$("${private[@]}" true 2>&1); then
  say "runc is NOT run, it needs what this machine refuses: $refusal"
  exit 0
fi
jq "$edit | .process.terminal = false | .process.args = \$ARGS.positional" \
  --args -- "$@" <"$dir/bundle/config.json" >"$dir/config.json"
mv "$dir/config.json" "$dir/bundle/config.json"
timeout 60 runc --root "$dir/runc" run --bundle "$dir/bundle" "yado-judge-$$" </dev/null ||
  die "runc could not run $*"
say "runc ran $*"

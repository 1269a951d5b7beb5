#!/usr/bin/env bash
# Installs what building, the tests and the demonstration use, from Debian's packages, and what
# Debian does not have, from install-kubernetes.sh. Does nothing, and needs no root, when all of it
# is there.
set -euo pipefail

packages=(
  make gcc g++ libc6-dev file shellcheck
  docker-registry skopeo umoci buildah runc uidmap mmdebstrap
  chromium busybox-static jq curl strace time ca-certificates openssh-client
  git git-lfs lighttpd lighttpd-mod-openssl gnupg openssh-server dropbear-bin libnss-wrapper
  podman pigz zstd python3 python3-pip valgrind
)

missing=()
for package in "${packages[@]}"; do
  state=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$state" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
  echo "install: all packages are there"
  exec "$(dirname "$0")/install-kubernetes.sh"
fi

root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || {
    echo "install: missing ${missing[*]}; run this as root, there is no sudo" >&2
    exit 1
  }
  root=(sudo)
fi

# The packages of these servers start them as services, where nobody asked for them. A
# policy that forbids services (invoke-rc.d asks it) holds while packages are installed; one that
# the machine has already is left alone, and the services are then stopped afterwards.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap '"${root[@]}" rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' | "${root[@]}" install -m 0755 /dev/stdin "$policy"
fi

echo "install: ${missing[*]}"
"${root[@]}" apt-get update -qq
"${root[@]}" env DEBIAN_FRONTEND=noninteractive \
  apt-get install -y -qq --no-install-recommends "${missing[@]}"

for service in docker-registry lighttpd ssh; do
  case " ${missing[*]} " in
  *" $service "*)
    echo "install: the $service service stays off"
    if [ -d /run/systemd/system ]; then
      "${root[@]}" systemctl disable --now "$service.service"
    else
      "${root[@]}" service "$service" stop >/dev/null 2>&1 || true
      "${root[@]}" update-rc.d "$service" disable
    fi
    ;;
  esac
done
"$(dirname "$0")/install-kubernetes.sh"

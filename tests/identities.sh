#!/usr/bin/env bash
# Runs the integration tests as root, as a user with subordinate ids and as one
# without; started by an ordinary user, as that user only. Arguments go to the
# test binary. The digests that the tests note down must be equal for all.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --locked
messages=$(cargo test --locked --test it --no-run 2>&1) || { echo "$messages" >&2; exit 1; }
test_binary=$(sed -n 's/^ *Executable .*(\(.*\))$/\1/p' <<<"$messages")
[[ -x $test_binary ]] || { echo "cargo named no test binary" >&2; exit 1; }

stage=$(mktemp -d /tmp/yado-identities.XXXXXX)
# What is mounted below would be emptied with it.
cleanup() {
    if grep -qF "$stage" /proc/self/mountinfo; then
        echo "a mount is left below $stage; it is not removed" >&2
        exit 1
    fi
    rm -rf --one-file-system -- "$stage"
}
trap cleanup EXIT
chmod 755 "$stage"
install -m 755 "$test_binary" "$stage/it"
install -m 755 target/debug/yado "$stage/yado"
cp -R testdata "$stage/testdata"
install -d -m 1777 "$stage/digests"

# as NAME UID COMMAND...: runs the tests, with COMMAND in front to become that user.
failed=()
as() {
    local name=$1 uid=$2
    shift 2
    install -d -m 700 -o "$uid" -g "$(id -g "$name")" "$stage/home-$name"
    # Some tests become another user, who must reach their files.
    install -d -m 711 -o "$uid" -g "$(id -g "$name")" "$stage/tmp-$name"
    echo "== $name: $(id "$name")"
    (cd "$stage" && exec env -i PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin \
        HOME="$stage/home-$name" TMPDIR="$stage/tmp-$name" \
        YADO="$stage/yado" TESTDATA="$stage/testdata" DIGESTS="$stage/digests" \
        "$@" "$stage/it" "${left_out[@]}" "${arguments[@]}") || failed+=("$name")
}
arguments=("$@")

# user NAME FLAG...: makes the user if he is not there. A server of ssh runs commands by his shell.
user() {
    local name=$1
    shift
    id "$name" >/dev/null 2>&1 || useradd --no-create-home --shell /bin/sh "$@" "$name"
    [[ $(getent passwd "$name" | cut -d: -f7) == /bin/sh ]] || usermod --shell /bin/sh "$name"
}

if ((UID == 0)); then
    user yado-test
    grep -q '^yado-test:' /etc/subuid || usermod --add-subuids 1000000-1065535 yado-test
    grep -q '^yado-test:' /etc/subgid || usermod --add-subgids 1000000-1065535 yado-test
    # A system user gets no subordinate ids.
    user yado-single --system --user-group
    # buildah, to which yado is compared, runs as a user with subordinate ids only.
    left_out=(--skip oracle::buildah)
    as root 0 unshare --mount --propagation private
    for name in yado-test yado-single; do
        left_out=()
        [[ $name == yado-test ]] || left_out=(--skip oracle::buildah)
        as "$name" "$(id -u "$name")" \
            setpriv --reuid="$name" --regid="$name" --init-groups --inh-caps=-all
    done
else
    echo "not root: as $(id -un) only" >&2
    left_out=()
    grep -q "^$(id -un):" /etc/subuid || left_out=(--skip oracle::buildah)
    as "$(id -un)" "$UID" env
fi

# One line for each digest that two users do not agree on.
if ! (cd "$stage/digests" && cat -- * 2>/dev/null || true) | sort -u |
    awk '{ n[$1]++ } END { for (k in n) if (n[k] > 1) { print "digests differ: " k; bad = 1 } exit bad }'; then
    (cd "$stage/digests" && head -n 100 -- *)
    failed+=(digests)
fi
if ((${#failed[@]})); then
    echo "failed: ${failed[*]}" >&2
    exit 1
fi

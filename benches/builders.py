#!/usr/bin/env python3
"""Builds the same images with yado, buildah and podman, side by side, and prints what each took.

All of it happens on this machine, as root, in a mount and a network namespace of its own: a
registry on the loopback, a Debian base made with mmdebstrap, contexts and stores in one work
directory. The loopback is nobody else's there, so its counter has the bytes on the wire; the
registry's access log has the requests.

A case is built by each builder in turn, and by nobody ("floor"), RUNS times after a round that is
not counted (A B C, A B C, ...). Each build includes the push. Each has content of its own, so that
no store and no registry has its layers yet, and a repository of its own. Stores are removed at the
very end, because removing many files makes ext4 slow for minutes; only single large files go at
once. What is written is synced before the next build starts.

The floor: the commands of RUN natively in a chroot of the unpacked base, then one layer by
`tar | pigz -6` on all cores, then one upload by curl. The digest of the uncompressed archive, the
configuration and the manifest are left out; that one follows the other is left in, so a builder
that does both at once may be below. pigz is zlib on all cores; the sizes that it and the builders
reach are printed. For the two large layers there is a second floor with `zstd -3` on all cores,
beside yado with compression=zstd.

Wall time is from start to end of the builder's processes. CPU is what they and all that they
have started and waited for took (so not the registry); memory is that of the largest single
process. Stores are warm (the base is there, no step is) unless the case says otherwise; the
page cache is always warm.
"""

import argparse
import fcntl
import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

HOST = "localhost:5000"
BASE = f"{HOST}/bench/debian:12"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = {"PATH": PATH, "LC_ALL": "C"}
# What all cases leave behind in one round, and once.
GIB_PER_ROUND, GIB_ONCE = 2, 5
TIMEOUT = 900


def say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def die(text: str) -> None:
    sys.exit(f"bench: {text}")


# --- The cases -----------------------------------------------------------------------------------

WORDS = r"""awk 'BEGIN{srand(%s);for(i=0;i<5000;i++){w="";n=2+int(rand()*8);for(j=0;j<n;j++)\
w=w substr("etaoinshrdlucmfw",1+int(rand()*16),1);W[i]=w}for(k=0;k<8192;k++){l="";\
while(length(l)<1023)l=l W[int(rand()*5000)] " ";L[k]=substr(l,1,1023)}\
for(r=0;r<25;r++)for(k=0;k<8192;k++)print L[k]}' >/text"""
MANY = "mkdir /many && cd /many && i=0; while [ $i -lt %d ]; do echo $i %s >f$i; i=$((i+1)); done"


@dataclass
class Case:
    """One row of the table; `{n}` stands for a number that no other build has."""

    title: str
    # What RUN runs, and so the floor.
    run: list[str] = field(default_factory=list)
    # The Dockerfile, if it is not the base with these.
    dockerfile: str = ""
    # The layers on top of the base, or of nothing.
    layers: int = 1
    on_base: bool = True
    # warm, cold, or rebuild: of the same again.
    store: str = "warm"
    context: str = "small"
    # A shell script, if it is not the commands of RUN and a layer of what they make.
    floor: str | None = None
    # What the commands make, as the names below the root.
    makes: str = ""
    # Whether the layer is large: zstd is measured as well, and files do not stay.
    large: bool = False

    def text(self, n: int) -> str:
        lines = [f"RUN {command}" for command in self.run]
        text = self.dockerfile or "\n".join(["FROM {base}", *lines, ""])
        return text.replace("{base}", BASE).replace("{n}", str(n))

    def floor_script(self, n: int) -> str | None:
        if self.floor is not None:
            return self.floor.replace("{n}", str(n)) or None
        commands = [f"native <<'END'\n{command}\nEND\n" for command in self.run]
        script = "".join(commands) + f'layer "$base" {self.makes}\nupload\n'
        return script.replace("{n}", str(n)).replace("\\\n", "")


ECHO = ["echo one {n} >/one", "echo two {n} >/two", "echo three {n} >/three"]
THREE = "".join(f"RUN {command}\n" for command in ECHO)
FLOOR_A = "".join(f"native <<'END'\n{command}\nEND\n" for command in ECHO)
FLOOR_A += 'cp "$context/hello" "$base/hello"\nlayer "$base" one two three hello\nupload\n'
SLEEP = "FROM {{base}} AS s{i}\nRUN sleep 1; echo {i} {{n}} >/s{i}\n"
STAGES = "".join(SLEEP.format(i=i) for i in range(1, 6))
COPIES = "".join(f"COPY --from=s{i} /s{i} /s{i}\n" for i in range(1, 6))
ALONE = "".join(f"(native <<'END'\nsleep 1; echo {i} {{n}} >/s{i}\nEND\n) &\n" for i in range(1, 6))

CASES = {
    "a": Case("3 RUN + COPY", dockerfile="FROM {base}\n" + THREE + "COPY hello /hello\n", layers=4,
              floor=FLOOR_A),
    "a0": Case("3 RUN + COPY, cold: base pulled, unpacked", layers=4, store="cold",
               dockerfile="FROM {base}\n" + THREE + "COPY hello /hello\n",
               floor="unpack\n" + FLOOR_A),
    "b": Case("3 RUN + COPY, rebuilt: all cached, pushed", layers=4, store="rebuild",
              dockerfile="FROM {base}\n" + THREE + "COPY hello /hello\n", floor=""),
    "c": Case("RUN: 10,000 small files", [MANY % (10000, "{n}")], makes="many"),
    "d": Case("RUN: 200 MiB random", ["dd if=/dev/urandom of=/large bs=1M count=200 2>/dev/null"],
              makes="large", large=True),
    "d2": Case("RUN: 200 MiB text", [WORDS % "{n}"], makes="text", large=True),
    "g": Case("30 trivial RUN", [f"echo {i} {{n}} >/f{i}" for i in range(1, 31)], layers=30,
              makes=" ".join(f"f{i}" for i in range(1, 31))),
    "g1": Case("1 trivial RUN", ["echo 1 {n} >/f1"], makes="f1"),
    "e": Case("COPY one file onto Debian, cold", store="cold",
              dockerfile="FROM {base}\nCOPY hello /hello\n",
              floor='layer "$context" hello\nupload\n'),
    "i": Case("COPY 20,000 files to scratch, cold", dockerfile="FROM scratch\nCOPY . /\n",
              on_base=False, store="cold", context="large",
              floor='layer "$context" .\nupload\n'),
    "i2": Case("COPY 20,000 files to scratch, rebuilt", dockerfile="FROM scratch\nCOPY . /\n",
               on_base=False, store="rebuild", context="large",
               floor='find "$context" -printf "%p %i %s %C@\\n" >/dev/null\n'),
    "f": Case("5 stages of sleep 1", dockerfile=STAGES + "FROM scratch\n" + COPIES, layers=5,
              on_base=False, floor=ALONE + 'wait\nlayer "$base" s1 s2 s3 s4 s5\nupload\n'),
    "h": Case("RUN: 2,000 files, COPY --from to scratch", on_base=False,
              dockerfile="FROM {base} AS s\nRUN " + MANY % (2000, "{n}")
              + "\nFROM scratch\nCOPY --from=s /many /many\n",
              floor="native <<'END'\n" + MANY % (2000, "{n}")
              + '\nEND\nlayer "$base" many\nupload\n'),
    "p": Case("3 RUN: 4 new blobs to push", ECHO, layers=3, makes="one two three"),
}

# What floors are made of. `base`, `out` (an empty directory), `context`, `repository` and `blob`
# (the base's layer) are set, and `zstd` is empty or not.
FLOOR_FUNCTIONS = r"""
set -euo pipefail
cd /
if [ "$zstd" ]; then
  compress() { zstd -q -3 -T0; }
else
  compress() { pigz -6 -n -p "$(nproc)"; }
fi
native() { chroot "$base" /bin/sh -c "$(cat)"; }
layer() { # DIR NAME...
  digest=$(tar -C "$1" -c "${@:2}" | compress | tee "$out/layer" | sha256sum)
  digest=${digest%% *}
}
upload() {
  local to
  to=$(curl -sS --fail -X POST -D - -o /dev/null "http://$host/v2/$repository/blobs/uploads/" |
    sed -n 's/^[Ll]ocation: \(.*\)\r$/\1/p')
  curl -sS --fail -o /dev/null -H 'Content-Type: application/octet-stream' \
    -T "$out/layer" "$to&digest=sha256:$digest"
}
unpack() {
  mkdir "$out/base"
  curl -sS --fail "http://$host/v2/$blob" | pigz -dc | tar -C "$out/base" -x
}
"""


# --- Measuring -----------------------------------------------------------------------------------

@dataclass
class Sample:
    """What one build took."""

    wall: float
    cpu: float
    peak: int  # KiB
    requests: int = 0
    wire: int = 0
    downloaded: int = 0
    layer: int = 0  # the size of the image's last layer


class Failed(Exception):
    """A build ended with an error, gave no image, or did not end."""


def too_long(*_) -> None:
    raise Failed(f"not done after {TIMEOUT} s")


class Registry:
    """Debian's docker-registry, with its access log."""

    def __init__(self, work: Path) -> None:
        (work / "registry").mkdir()
        config = work / "registry.json"  # JSON is YAML.
        config.write_text(json.dumps({
            "version": 0.1, "log": {"level": "error"}, "http": {"addr": "127.0.0.1:5000"},
            "storage": {"filesystem": {"rootdirectory": str(work / "registry")}}}))
        self.log = work / "registry.log"
        # It ends with this process, however that ends.
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "docker-registry", "serve", str(config)],
            stdout=self.log.open("w"), stderr=(work / "registry.errors").open("w"))
        deadline = time.monotonic() + 20
        while True:
            try:
                self.call("GET", "/v2/")
                break
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    die("the registry does not start: " + (work / "registry.errors").read_text())
                time.sleep(0.02)
        self.marks = 0

    def call(self, method: str, path: str, body=None, headers=None) -> tuple[int, dict, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", 5000, timeout=60)
        connection.request(method, path, body, {"Host": HOST, **(headers or {})})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, content

    def mark(self) -> int:
        """How long the log is, all requests so far being in it."""
        self.marks += 1
        name = f"mark-{self.marks}."
        self.call("GET", "/v2/", headers={"User-Agent": name})
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            log = self.log.read_bytes()
            if name.encode() in log:
                return len(log)
            time.sleep(0.002)
        die("the registry has no access log")

    def traffic(self, since: int) -> tuple[int, int]:
        """Requests, and the bytes of bodies that were downloaded, since a mark."""
        lines = self.log.read_bytes()[since:self.mark()].decode().splitlines()
        found = [re.search(r'" (\d{3}) (\d+) ', line) for line in lines if "mark-" not in line]
        return len(found), sum(int(match[2]) for match in found if match)

    def put_blob(self, repository: str, source: bytes | Path) -> dict:
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        digest = hash_of(source)
        _, headers, _ = self.call("POST", f"/v2/{repository}/blobs/uploads/")
        to = re.sub(r"^https?://[^/]*", "", headers["location"])
        body = source if isinstance(source, bytes) else source.open("rb")
        status, _, _ = self.call("PUT", f"{to}&digest={digest}", body, {
            "Content-Type": "application/octet-stream", "Content-Length": str(size)})
        if status != 201:
            die(f"the registry answers {status} to the base's blob")
        return {"digest": digest, "size": size}

    def check(self, repository: str, layers: int) -> int:
        """Checks that the image is there with all of its blobs; gives the last layer's size."""
        accept = ("application/vnd.oci.image.manifest.v1+json, "
                  "application/vnd.docker.distribution.manifest.v2+json")
        status, _, body = self.call("GET", f"/v2/{repository}/manifests/latest",
                                    headers={"Accept": accept})
        if status != 200:
            raise Failed(f"the registry has no image: {status}")
        manifest = json.loads(body)
        if len(manifest["layers"]) != layers:
            raise Failed(f"the image has {len(manifest['layers'])} layers, not {layers}")
        for blob in [manifest["config"], *manifest["layers"]]:
            status, headers, _ = self.call("HEAD", f"/v2/{repository}/blobs/{blob['digest']}")
            if status != 200 or int(headers["content-length"]) != blob["size"]:
                raise Failed(f"the registry lacks {blob['digest']}")
        return manifest["layers"][-1]["size"]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


def hash_of(source: bytes | Path) -> str:
    if isinstance(source, bytes):
        return "sha256:" + hashlib.sha256(source).hexdigest()
    with source.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def wire() -> int:
    """All that went over the loopback."""
    line = next(line for line in Path("/proc/net/dev").read_text().splitlines() if " lo:" in line)
    return int(line.split(":")[1].split()[0])


def measure(command: list[str], directory: Path, environment: dict) -> Sample:
    """Runs a command. time(1) is between, since a process that this program starts begins with
    the memory of this program as its peak."""
    peak, said = directory / "peak", directory / "said"
    with said.open("w") as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            ["time", "--quiet", "--format=%M", f"--output={peak}", *command],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=directory,
            env=ENVIRONMENT | environment, start_new_session=True)
        signal.alarm(TIMEOUT)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        finally:
            signal.alarm(0)
        end = time.perf_counter()
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        lines = [line for line in said.read_text(errors="replace").splitlines() if line.strip()]
        raise Failed(lines[-1] if lines else f"exit code {process.returncode}")
    return Sample(end - start, usage.ru_utime + usage.ru_stime, int(peak.read_text()))


# --- The builders --------------------------------------------------------------------------------

@dataclass
class Build:
    """What a builder is asked for; the Dockerfile is in its working directory."""

    yado: str
    store: Path
    name: str
    context: Path
    # With no step taken from the cache.
    anew: bool
    # How many stages may run at once.
    stages: int = 1
    zstd: bool = False


class Bench:
    """The work directory and what is in it."""

    def __init__(self, work: Path, arguments: argparse.Namespace) -> None:
        self.work, self.arguments = work, arguments
        self.count = 0
        for name in ["builds", "stores", "home", "context-small", "context-large"]:
            (work / name).mkdir()
        self.registry = Registry(work)
        self.tell_base(arguments.keep)
        self.make_contexts()

    def tell_base(self, keep: Path) -> None:
        """Puts the base into the registry, and its files on disk for the floor."""
        archive, layer = keep / "base.tar", keep / "base.tar.gz"
        say("putting the base into the registry")
        blob = self.registry.put_blob("bench/debian", layer)
        machine = os.uname().machine
        machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
        # The history is what Docker's image of Debian has.
        config = json.dumps({
            "architecture": machine, "os": "linux", "config": {"Cmd": ["/bin/bash"]},
            "rootfs": {"type": "layers", "diff_ids": [hash_of(archive)]},
            "history": [{"created_by": "# debian.sh --arch 'amd64' out/ 'bookworm'"}]}).encode()
        oci = "application/vnd.oci.image."
        manifest = json.dumps({
            "schemaVersion": 2, "mediaType": oci + "manifest.v1+json",
            "config": {"mediaType": oci + "config.v1+json",
                       **self.registry.put_blob("bench/debian", config)},
            "layers": [{"mediaType": oci + "layer.v1.tar+gzip", **blob}]}).encode()
        status, _, body = self.registry.call("PUT", "/v2/bench/debian/manifests/12", manifest,
                                             {"Content-Type": oci + "manifest.v1+json"})
        if status != 201:
            die(f"the registry answers {status} to the base: {body.decode()}")
        self.base_blob = f"bench/debian/blobs/{blob['digest']}"
        self.base_size = blob["size"]
        self.base = self.work / "base"
        self.base.mkdir()
        subprocess.run(["tar", "-C", self.base, "-xf", archive], check=True)
        for device in ["null", "urandom"]:
            # In the namespace of this process only; whoever removes the file removes a file.
            (self.base / "dev").mkdir(exist_ok=True)
            (self.base / "dev" / device).touch()
            subprocess.run(["mount", "--bind", f"/dev/{device}", self.base / "dev" / device],
                           check=True)

    def make_contexts(self) -> None:
        (self.work / "context-small/hello").write_text("hello")
        for number in range(20000):
            directory = self.work / f"context-large/d{number // 100}"
            if number % 100 == 0:
                directory.mkdir()
            (directory / f"f{number}").write_text(f"file {number} of the context\n" * 3)

    def store(self, builder: str, case: Case) -> Path:
        """The store that the case asks for."""
        if case.store == "cold":
            return self.work / "stores" / f"{builder}-{self.count}"
        store = self.work / "stores" / builder
        if not store.exists():
            say(f"{builder}: making its warm store")
            directory = self.directory("warm")
            (directory / "Dockerfile").write_text(f"FROM {BASE}\nRUN echo warm >/warm\n")
            name = f"{HOST}/bench/{builder}-warm:latest"
            context = self.work / "context-small"
            for command in self.commands(builder, Build("", store, name, context, True)):
                measure(command, directory, self.environment())
        return store

    def commands(self, builder: str, build: Build) -> list[list[str]]:
        build.yado = self.arguments.yado
        return COMMANDS[builder](build)

    def directory(self, name: str) -> Path:
        self.count += 1
        directory = self.work / "builds" / f"{self.count}-{name}"
        directory.mkdir()
        return directory

    def environment(self) -> dict:
        return {"HOME": str(self.work / "home"), "TMPDIR": str(self.work / "home"),
                "XDG_RUNTIME_DIR": str(self.work / "home")}

    def build(self, builder: str, name: str, zstd: bool) -> Sample:
        """One build with its push."""
        case = CASES[name]
        directory = self.directory(f"{builder}-{name}")
        again = case.store == "rebuild"
        # Numbers that no other case has, so that no layer is there already.
        number = 900_000_000 + (0 if again else self.count)
        if not again:
            (self.work / f"context-{case.context}/hello").write_text(f"hello {number}")
        text = case.text(number)
        (directory / "Dockerfile").write_text(text)
        repository = f"bench/{builder}-{name}" + ("" if again else f"-{number}")
        commands = self.commands(builder, Build(
            "", self.store(builder, case), f"{HOST}/{repository}:latest",
            self.work / f"context-{case.context}", not again, text.count("FROM "), zstd))
        os.sync()
        start, since, before = time.time(), self.registry.mark(), wire()
        samples = [measure(command, directory, self.environment()) for command in commands]
        after = wire()
        requests, downloaded = self.registry.traffic(since)
        layer = self.registry.check(repository, case.layers + (1 if case.on_base else 0))
        if case.large:
            self.free(start, self.work / "stores" / builder)
        return Sample(sum(sample.wall for sample in samples), sum(sample.cpu for sample in samples),
                      max(sample.peak for sample in samples), requests, after - before, downloaded,
                      layer)

    def free(self, since: float, directory: Path) -> None:
        """Removes the large files that have been made since, there and in the registry."""
        subprocess.run(["find", directory, self.work / "registry", "-xdev", "-type", "f", "-size",
                        "+16M", "-newerct", f"@{since}", "-delete"], check=True)

    def build_floor(self, name: str, zstd: bool) -> Sample | None:
        case = CASES[name]
        directory = self.directory(f"floor-{name}")
        script = case.floor_script(self.count)
        if script is None:
            return None
        (directory / "floor").write_text(FLOOR_FUNCTIONS + script)
        (out := directory / "out").mkdir()
        before = set(os.listdir(self.base))
        os.sync()
        start = time.time()
        sample = measure(["bash", "floor"], directory, {
            "base": str(self.base), "out": str(out), "host": HOST, "blob": self.base_blob,
            "zstd": "yes" if zstd else "",
            "context": str(self.work / f"context-{case.context}"),
            "repository": f"bench/floor-{name}-{self.count}"})
        if (out / "layer").exists():
            sample.layer = (out / "layer").stat().st_size
        # What it made is moved away, not removed.
        for made in set(os.listdir(self.base)) - before:
            (self.base / made).rename(out / made)
        if case.large:
            self.free(start, out)
        return sample


def yado(build: Build) -> list[list[str]]:
    flags = ["--output", "type=image,push=true" + (",compression=zstd" if build.zstd else "")]
    flags += ["--no-cache"] if build.anew else []
    return [[build.yado, "--root", str(build.store), "build", "--quiet", *flags, "-t", build.name,
             "-f", "Dockerfile", str(build.context)]]


def containers(build: Build, program: list[str]) -> list[list[str]]:
    program += ["--storage-driver", "overlay", "--root", f"{build.store}",
                "--runroot", f"/run/{build.store.name}"]
    flags = ["--isolation", "chroot", "--layers", "--format", "oci", "--tls-verify=false"]
    flags += ["--no-cache"] if build.anew else []
    # Without this their stages wait for each other.
    flags += ["--jobs", str(build.stages)] if build.stages > 1 else []
    return [[*program, "build", "--quiet", *flags, "-t", build.name, "-f", "Dockerfile",
             str(build.context)],
            [*program, "push", "--quiet", "--tls-verify=false", build.name]]


def buildah(build: Build) -> list[list[str]]:
    return containers(build, ["buildah"])


def podman(build: Build) -> list[list[str]]:
    return containers(build, ["podman", "--tmpdir", "/run/podman", "--events-backend", "none"])


COMMANDS = {"yado": yado, "buildah": buildah, "podman": podman}


# --- The run -------------------------------------------------------------------------------------

def run_case(bench: Bench, name: str) -> dict[str, list[Sample] | str]:
    """The counted samples of the floor and of each builder, or why it failed."""
    everybody = ["floor", *bench.arguments.builders]
    if CASES[name].large:
        everybody += [f"{who}, zstd" for who in ["floor", "yado"] if who in everybody]
    results: dict[str, list[Sample] | str] = {who: [] for who in everybody}

    def attempt(who: str, counted: bool) -> None:
        if isinstance(results[who], str):
            return
        try:
            builder, _, zstd = who.partition(", ")
            if builder == "floor":
                sample = bench.build_floor(name, bool(zstd))
            else:
                sample = bench.build(builder, name, bool(zstd))
        except Failed as error:
            say(f"{name} {who} FAILED: {error}")
            results[who] = str(error)
            return
        if sample is not None:
            say(f"{name} {who} {sample.wall:.3f} s{'' if counted else ' (warm-up)'}")
            if counted:
                results[who].append(sample)

    say(f"{name}: {CASES[name].title}")
    for round_ in range(bench.arguments.runs + 1):
        for who in results:
            if round_ == 0 and who != "floor" and CASES[name].store == "rebuild":
                attempt(who, False)  # makes what the others find
            attempt(who, round_ > 0)
    return results


def single_figures(bench: Bench) -> list[str]:
    """What yado's process costs without a push."""
    store = bench.store("yado", CASES["g1"])
    directory = bench.directory("figures")
    context = str(bench.work / "context-small")

    def median(times: int, command: list[str]) -> float:
        measure(command, directory, bench.environment())
        return 1000 * statistics.median(
            measure(command, directory, bench.environment()).wall for _ in range(times))

    def build(times: int, case: str, *flags: str) -> float:
        (directory / "Dockerfile").write_text(CASES[case].text(1))
        return median(times, [bench.arguments.yado, "--root", str(store), "build", "--quiet", "-f",
                              "Dockerfile", *flags, context])

    def native(commands: int) -> float:
        command = f"chroot '{bench.base}' /bin/sh -c 'echo 1 1 >/dev/null'"
        return median(7, ["sh", "-c", "\n".join([command] * commands)])

    start, cached = build(21, "g1", "--no-cache"), build(21, "g1")
    step = (build(7, "g", "--no-cache") - start) / 29
    command = (native(30) - native(1)) / 29
    size = os.stat(bench.arguments.yado).st_size
    return [f"- binary: {size / 2**20:.1f} MiB",
            f"- process start to end, one trivial RUN, warm base, no push: {start:.1f} ms",
            f"- the same, all cached: {cached:.1f} ms",
            f"- each further trivial RUN, no push: {step:.1f} ms, the command natively in a chroot "
            f"{command:.1f} ms, so {step - command:.1f} ms beyond it"]


# --- What is printed -----------------------------------------------------------------------------

def seconds(value: float) -> str:
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def mega(size: float) -> str:
    return f"{size / 1e6:.3g}"


def median_of(samples, key: str) -> float:
    return statistics.median(getattr(sample, key) for sample in samples)


def cell(samples: list[Sample] | str) -> str:
    if isinstance(samples, str):
        return f"failed: {samples[:80]}".replace("|", "\\|")
    if not samples:
        return "–"
    walls = [sample.wall for sample in samples]
    return f"{seconds(statistics.median(walls))} ({seconds(min(walls))}–{seconds(max(walls))})"


def table(rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


def report(results: dict[str, dict], builders: list[str]) -> str:
    peers = [builder for builder in builders if builder != "yado"]
    has = lambda result, who: isinstance(result.get(who), list) and result[who]
    walls = [["case", "floor", *builders, "yado / best peer", "yado / floor"]]
    rest = [["case", *(f"{what} {' / '.join(builders)}" for what in
                       ["CPU s:", "peak MiB:", "requests:", "MB on the wire:", "MB downloaded:"])]]
    for name, result in results.items():
        best = [median_of(result[peer], "wall") for peer in peers if has(result, peer)]
        own = median_of(result["yado"], "wall") if has(result, "yado") else None
        floor = median_of(result["floor"], "wall") if has(result, "floor") else None
        title = f"**{name}** {CASES[name].title}"
        walls.append([title, *(cell(result[who]) for who in ["floor", *builders]),
                      f"{own / min(best):.2f}" if own and best else "–",
                      f"{own / floor:.2f}" if own and floor else "–"])
        shown = [("cpu", lambda value: f"{value:.2f}"), ("peak", lambda kib: f"{kib / 1024:.0f}"),
                 ("requests", lambda value: f"{value:.0f}"), ("wire", mega), ("downloaded", mega)]
        columns = []
        for key, show in shown:
            # The peak that counts is the highest one.
            values = [(max(sample.peak for sample in result[who]) if key == "peak"
                       else median_of(result[who], key)) if has(result, who) else None
                      for who in builders]
            columns.append(" / ".join("–" if value is None else show(value) for value in values))
        rest.append([name, *columns])
    text = [table(walls), "", table(rest), ""]
    for name in ["d", "d2"]:
        if name in results:
            sizes = [f"{who} {median_of(results[name][who], 'layer') / 1e6:.1f} MB"
                     for who in ["floor", *builders] if has(results[name], who)]
            text.append(f"- layer of {name}: {', '.join(sizes)}")
            zstd = [f"{who.partition(',')[0]} {cell(results[name][who])} s and "
                    f"{median_of(results[name][who], 'layer') / 1e6:.1f} MB"
                    for who in ["floor, zstd", "yado, zstd"] if has(results[name], who)]
            text.append(f"- {name} with zstd: {'; '.join(zstd)}")
    if {"g", "g1"} <= results.keys():
        each = {who: (median_of(results["g"][who], "wall") - median_of(results["g1"][who], "wall"))
                / 29 * 1000 for who in ["floor", *builders]
                if has(results["g"], who) and has(results["g1"], who)}
        native = each.get("floor", 0.0)
        text.append("- each trivial RUN with its push, (g − g1) / 29, beyond the native "
                    f"command's {native:.1f} ms: " + ", ".join(
                        f"{who} {each[who] - native:.1f} ms" for who in builders if who in each))
    return "\n".join(text)


def output_of(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout.strip() or done.stderr.strip()).split("\n")[0]


def heading(arguments: argparse.Namespace, work: Path) -> str:
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    debian = re.search(r'PRETTY_NAME="(.*)"', Path("/etc/os-release").read_text())
    versions = [output_of(arguments.yado if who == "yado" else who, "--version")
                for who in arguments.builders]
    versions += [output_of("dpkg-query", "--show", "--showformat=docker-registry ${Version}",
                           "docker-registry"), output_of("pigz", "--version")]
    filesystem = output_of("findmnt", "--noheadings", "--output", "FSTYPE", "--target", str(work))
    words = ["make bench", f"RUNS={arguments.runs}"]
    if arguments.cases != list(CASES):
        words.append(f"CASES=\"{' '.join(arguments.cases)}\"")
    return "\n".join([
        f"- machine: {os.cpu_count()} × {cpu[1] if cpu else os.uname().machine}, "
        f"{int(memory[1]) / 2**20:.0f} GiB, {filesystem}; "
        f"Linux {os.uname().release}; {debian[1]}; "
        f"load before: {arguments.load}",
        f"- versions: {'; '.join(versions)}",
        f"- `{' '.join(words)}`: medians (minimum–maximum) in seconds of {arguments.runs} runs, "
        f"{time.strftime('%Y-%m-%d')}", ""])


# --- Namespaces, the base, the end ---------------------------------------------------------------

def inside(arguments: argparse.Namespace) -> None:
    """The part that runs in namespaces of its own."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGALRM, too_long)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        # SIOCSIFFLAGS, IFF_UP | IFF_RUNNING: a new namespace's loopback is down.
        fcntl.ioctl(control, 0x8914, struct.pack("16sh", b"lo", 0x41))
    # What buildah and podman keep outside of their stores is neither found nor left behind.
    for directory in ["/run", "/var/lib/containers"]:
        os.makedirs(directory, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", directory], check=True)
    bench = Bench(arguments.inside, arguments)
    try:
        results = {name: run_case(bench, name) for name in arguments.cases}
        figures = single_figures(bench) if "yado" in arguments.builders else []
        print(heading(arguments, bench.work))
        print(report(results, arguments.builders))
        print("\n".join(figures))
    finally:
        bench.registry.stop()


def make_base(keep: Path) -> None:
    """Debian as an archive, and as a layer of one gzip stream, as registries have them."""
    archive, layer = keep / "base.tar", keep / "base.tar.gz"
    if not archive.exists():
        say("making the base with mmdebstrap")
        making = keep / "making.tar"
        done = subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "mmdebstrap", "--quiet",
             "--variant=minbase", "--skip=output/dev", "bookworm", str(making)],
            check=False, stdout=sys.stderr, env={**os.environ, "SOURCE_DATE_EPOCH": "1686355200"})
        if done.returncode:
            die("mmdebstrap could not make the base")
        making.rename(archive)
    if not layer.exists():
        making = keep / "making.tar.gz"
        with making.open("wb") as out:
            subprocess.run(["pigz", "-6", "-n", "-c", str(archive)], check=True, stdout=out)
        making.rename(layer)


def main() -> None:
    shown = "\n".join(f"  {name:3} {case.title}" for name, case in CASES.items())
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=f"cases:\n{shown}\n\nThe tables go to standard output as "
        "markdown, progress to standard error.",
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help="only these cases")
    parser.add_argument("--yado", default="yado", metavar="FILE", help="the binary [yado in PATH]")
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="counted rounds [3]")
    parser.add_argument("--builders", default="yado,buildah,podman", metavar="LIST",
                        help="who builds, of yado,buildah,podman [all]")
    parser.add_argument("--work", type=Path, metavar="DIR",
                        help="where all is made [a new temporary directory]; the base is kept "
                        "there and taken again by the next run, everything else is removed")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--keep", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.builders = arguments.builders.split(",")
    for what, given, known in [("case", arguments.cases, CASES),
                               ("builder", arguments.builders, COMMANDS)]:
        for name in given:
            if name not in known:
                parser.error(f"there is no {what} {name}, only {', '.join(known)}")
    if arguments.runs < 1:
        parser.error("--runs is at least 1")
    arguments.load = f"{os.getloadavg()[0]:.1f}"
    arguments.cases = [name for name in CASES if not arguments.cases or name in arguments.cases]
    if arguments.inside:
        inside(arguments)
        return
    if os.geteuid() != 0:
        die("buildah, podman and chroot need root here; run it with sudo")
    programs = [builder for builder in arguments.builders if builder != "yado"]
    for program in ["docker-registry", "mmdebstrap", "pigz", "zstd", "curl", "time", "unshare",
                    "setpriv", *programs]:
        if not shutil.which(program):
            die(f"no {program}: run docker/install.sh")
    binary = shutil.which(arguments.yado)
    if "yado" in arguments.builders and not binary:
        die(f"no {arguments.yado}: name the binary with --yado")
    if arguments.work:
        arguments.work.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix="run.", dir=arguments.work))
        keep = arguments.work.resolve()
    else:
        work = keep = Path(tempfile.mkdtemp(prefix="yado-bench."))
    share = len(arguments.cases) / len(CASES)
    need = GIB_ONCE + GIB_PER_ROUND * (arguments.runs + 1) * share
    free = shutil.disk_usage(work).free / 2**30
    code = 1
    try:
        if free < need:
            die(f"{work} has {free:.0f} GiB free, this needs about {need:.0f}; choose another "
                "place with --work, or fewer --runs")
        make_base(keep)
        process = subprocess.Popen(
            ["unshare", "--mount", "--net", "--propagation", "private", sys.executable, __file__,
             "--inside", work.resolve(), "--keep", keep, "--yado", os.path.abspath(binary or ""),
             "--runs", str(arguments.runs), "--builders", ",".join(arguments.builders),
             *arguments.cases])
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        while True:
            try:
                code = process.wait()
                break
            except KeyboardInterrupt:
                continue  # it has got the signal too
    finally:
        # The namespace is gone, and with it what was mounted there. This is done to its end.
        for number in [signal.SIGINT, signal.SIGTERM]:
            signal.signal(number, signal.SIG_IGN)
        if str(work) in Path("/proc/self/mountinfo").read_text():
            die(f"a mount is left below {work}; it is not removed")
        say("removing what the builds have left")
        subprocess.run(["rm", "-rf", "--one-file-system", "--", work], check=False,
                       start_new_session=True)
    sys.exit(code)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""git-patch beside the clone, commit and push that pipelines do instead.

Makes a repository of 24,000 files, serves it by `git http-backend` on the loopback interface, counts
requests and bytes, and changes one line both ways. Needs git; the binary is the first argument.
"""

import http.server
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time

RUNS = 5
PATH = "teams/team07/app0047/kustomization.yaml"


def repository(bare):
    """8,000 applications of three files each."""
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", bare], check=True)
    for setting in ("http.receivepack", "uploadpack.allowFilter"):
        subprocess.run(["git", "-C", bare, "config", setting, "true"], check=True)
    files = []
    for n in range(8000):
        place = f"teams/team{n % 40:02}/app{n:04}"
        for name, text in (
            ("kustomization.yaml", f"images:\n  - name: app\n    newTag: v{n}\n"),
            ("deployment.yaml", f"kind: Deployment\nmetadata:\n  name: app{n}\n" + "# words\n" * 20),
            ("service.yaml", f"kind: Service\nmetadata:\n  name: app{n}\n"),
        ):
            files.append(f"M 100644 inline {place}/{name}\ndata {len(text)}\n{text}\n")
    head = "commit refs/heads/main\ncommitter t <t@t> 1700000000 +0000\ndata 5\nfirst\n"
    stream = head + "".join(files) + "\n"
    subprocess.run(["git", "-C", bare, "fast-import", "--quiet"], input=stream.encode(), check=True)
    subprocess.run(["git", "-C", bare, "repack", "-adq"], check=True)


class Backend(http.server.BaseHTTPRequestHandler):
    """git's own server, with counters."""

    protocol_version = "HTTP/1.1"
    root = ""
    requests = sent = received = 0
    lock = threading.Lock()

    def log_message(self, *_):
        pass

    def body(self):
        if self.headers.get("transfer-encoding", "") == "chunked":
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def answer(self):
        body = self.body()
        path, _, query = self.path.partition("?")
        env = dict(
            os.environ,
            GIT_PROJECT_ROOT=self.root,
            GIT_HTTP_EXPORT_ALL="1",
            PATH_INFO=path,
            QUERY_STRING=query,
            REQUEST_METHOD=self.command,
            CONTENT_TYPE=self.headers.get("content-type", ""),
            CONTENT_LENGTH=str(len(body)),
            HTTP_CONTENT_ENCODING=self.headers.get("content-encoding", ""),
            GIT_PROTOCOL=self.headers.get("git-protocol", ""),
        )
        made = subprocess.run(["git", "http-backend"], input=body, env=env, capture_output=True)
        head, _, content = made.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        self.send_response(int(headers.pop("Status", "200")[:3]))
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        with Backend.lock:
            Backend.requests += 1
            Backend.sent += len(body)
            Backend.received += len(content)

    do_GET = do_POST = answer


def run(command, cwd):
    env = {
        "PATH": os.environ["PATH"],
        "HOME": cwd,
        **{f"GIT_{who}_{what}": "t" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }
    subprocess.run(command, cwd=cwd, env=env, check=True, stdout=subprocess.DEVNULL)


def clone(url, work, n):
    tree = f"{work}/clone{n}"
    run(["git", "clone", "--quiet", "--depth=1", url, tree], work)
    with open(f"{tree}/{PATH}", "w") as file:
        file.write(f"images:\n  - name: app\n    newTag: c{n}\n")
    run(["git", "-C", tree, "commit", "--quiet", "-am", "update"], work)
    run(["git", "-C", tree, "push", "--quiet"], work)


def patch(binary, url, work, n):
    edit = ["--path", PATH, "--kustomize-image", f"app:p{n}"]
    run([binary, "git-patch", "--quiet", "--url", url, "--branch", "main", *edit], work)


def main():
    binary = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as work:
        repository(f"{work}/ops.git")
        Backend.root = work
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/ops.git"
        rows = {
            "git clone --depth 1, commit, push": lambda n: clone(url, work, n),
            "yado git-patch": lambda n: patch(binary, url, work, n),
        }
        print("| | requests | bodies sent | bodies received | seconds (median) |")
        print("|---|---|---|---|---|")
        for name, action in rows.items():
            times = []
            for n in range(RUNS):
                Backend.requests = Backend.sent = Backend.received = 0
                begun = time.monotonic()
                action(n)
                times.append(time.monotonic() - begun)
            bytes_ = f"{Backend.sent:,} | {Backend.received:,}"
            print(f"| {name} | {Backend.requests} | {bytes_} | {statistics.median(times):.2f} |")
        server.shutdown()


main()

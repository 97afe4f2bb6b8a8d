"""A package index and an npm registry for who knows the password, with an MCP server in either's format."""

import base64
import hashlib
import http.server
import io
import json
import sys
import tarfile
import zipfile

NAME = "mcp-guarded-server"

PYTHON = '''
import json, sys

def main():
    for line in sys.stdin:
        request = json.loads(line)
        if "id" not in request:
            continue
        result = {"tools": []}
        if request["method"] == "initialize":
            result = {"protocolVersion": request["params"]["protocolVersion"], "capabilities": {"tools": {}},
                      "serverInfo": {"name": "guarded-python", "version": "1"}}
        print(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}), flush=True)
'''

NODE = """#!/usr/bin/env node
require('readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const { id, method, params } = JSON.parse(line);
  if (id === undefined) return;
  const serverInfo = { name: 'guarded-node', version: '1' };
  const result = method === 'initialize'
    ? { protocolVersion: params.protocolVersion, capabilities: { tools: {} }, serverInfo }
    : { tools: [] };
  console.log(JSON.stringify({ jsonrpc: '2.0', id, result }));
});
"""


def wheel():
    info = "mcp_guarded_server-1.0.dist-info"
    files = {
        "mcp_guarded_server.py": PYTHON,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {NAME}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{NAME} = mcp_guarded_server:main\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return packed.getvalue()


def tarball():
    package = json.dumps({"name": NAME, "version": "1.0.0", "bin": {NAME: "server.js"}})
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for path, text in {"package/package.json": package, "package/server.js": NODE}.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(text.encode()), 0o755
            archive.addfile(entry, io.BytesIO(text.encode()))
    return packed.getvalue()


WHEEL, TARBALL = wheel(), tarball()
WHEEL_NAME = "mcp_guarded_server-1.0-py3-none-any.whl"


def packument(host):
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(TARBALL).digest()).decode()
    dist = {"tarball": f"http://{host}/npm/server.tgz", "integrity": integrity}
    version = {"name": NAME, "version": "1.0.0", "bin": {NAME: "server.js"}, "dist": dist}
    return json.dumps({"name": NAME, "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}).encode()


class Registry(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        found = {
            f"/simple/{NAME}": ("text/html", f'<a href="/files/{WHEEL_NAME}">{WHEEL_NAME}</a>'.encode()),
            f"/files/{WHEEL_NAME}": ("application/octet-stream", WHEEL),
            f"/npm/{NAME}": ("application/json", packument(self.headers["Host"])),
            "/npm/server.tgz": ("application/octet-stream", TARBALL),
        }.get(self.path.rstrip("/"))
        if self.headers["Authorization"] != f"Basic {sys.argv[1]}":
            self.answer(401, "text/plain", b"who is there?")
        elif found:
            self.answer(200, *found)
        else:
            self.answer(404, "text/plain", b"no such package")

    do_HEAD = do_GET

    def answer(self, status, kind, body):
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="registry"')
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


http.server.ThreadingHTTPServer(("", 8000), Registry).serve_forever()

#!/usr/bin/python3
"""R1.15: ngx_pay inside a static nginx of each version, with a slice of the edge's tests. The whole of them:
make test-nginx NGINX=1.26.3. A version whose source cannot be had is skipped, and says so."""
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from edge import MODULE, Key, edge  # noqa: E402
from tap import done, is_, like, ok, skip, skip_all  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
# what a version of nginx is likely to break: parsing of requests, HTTP/2, signing, upstreams, the status page
SLICES = {"1.22.1": ["edge/out_sent.t", "edge/out_status.t"],
          "1.26.3": ["edge/in_http.t", "edge/in_sign.t", "edge/out_sent.t", "edge/out_tls.t", "docs/metrics.t"]}

if os.environ.get("PAY_NGINX"):
    skip_all("runs with one nginx of its own: " + os.environ["PAY_NGINX"])

for version, tests in SLICES.items():
    nginx, missing = ROOT / f"build/nginx-{version}/nginx", ROOT / f"build/nginx-{version}.missing"
    if missing.exists():
        skip(f"static nginx {version}", missing.read_text().strip())
        continue
    if not ok(nginx.exists(), f"{version}: was built", "make statics"):
        continue
    said = subprocess.run([str(nginx), "-V"], capture_output=True, text=True).stderr
    like(said, rf"^nginx version: nginx/{version}\b", f"{version}: says its version")
    warnings = [line for line in (nginx.parent / "configure.log").read_text().splitlines() if "warning" in line]
    is_(warnings, [], f"{version}: configure has no warning")
    for test in tests:
        run = subprocess.run([str(ROOT / "t" / test)], capture_output=True, text=True, cwd=ROOT,
                             env={**os.environ, "PAY_NGINX": str(nginx), "PAY_NGINX_MODULE": ""})
        failed = [line for line in run.stdout.splitlines() if line.startswith(("not ok", "#"))]
        ok(run.returncode == 0, f"{version}: {test}", *failed, run.stderr[-1500:])

    # a module of one version is refused by another, in words
    if version != "1.22.1" and MODULE:
        conf = Path(f"/tmp/ngx_pay-static.{os.getpid()}.conf")
        conf.write_text(f"load_module {Path(MODULE).absolute()};\nevents {{ }}\n")
        refused = subprocess.run([str(nginx), "-t", "-c", str(conf), "-e", "/dev/null"], capture_output=True, text=True)
        conf.unlink()
        like(refused.stderr, r"\[emerg\].*version \d+ instead of \d+", f"{version}: refuses the module built for 1.22.1")

# a static nginx also takes connections over the newer `http2 on;`
newest = ROOT / "build/nginx-1.26.3/nginx"
if newest.exists():
    import edge as harness  # noqa: E402

    class Newest(harness.Edge):
        def conf(self, **options):
            return super().conf(**options).replace("edge2.sock http2;", "edge2.sock;\n        http2 on;")

    harness.NGINX, harness.MODULE, harness.Edge = str(newest), "", Newest
    H = Key("HMAC1", "hmac")
    with edge(H) as e:
        out = subprocess.run(["curl", "-sS", "-i", "--http2-prior-knowledge", "--unix-socket", str(e.folder / "edge2.sock"),
                              "-H", "Authorization: " + harness.authorization(H, "GET", "/v1/certificates", b""),
                              "http://x/v1/certificates"], capture_output=True, text=True).stdout
        like(out, r"^HTTP/2 200", "1.26.3: http2 on")
        ok("deprecated" not in e.log.read_text(), "1.26.3: without the warning that `listen ... http2` gets")
else:
    skip("1.26.3: http2 on", "no nginx 1.26.3")

done()

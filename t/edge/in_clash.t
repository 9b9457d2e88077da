#!/usr/bin/python3
"""R1.15: another module may bring a hiredis of its own (nchan does, patched). nginx loads modules with RTLD_GLOBAL, so
its functions would stand in the place of ours, and workers would crash in a loop."""
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from edge import MODULE, NGINX, Edge, Key, edge  # noqa: E402
from tap import done, is_, ok, skip, skip_all  # noqa: E402

if not MODULE:
    skip_all("a static nginx under test")

H = Key("HMAC1", "hmac")
NCHAN = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")

exported = subprocess.run(["nm", "-D", "--defined-only", MODULE], capture_output=True, text=True, check=True).stdout
is_(sorted(line.split()[-1] for line in exported.splitlines()),
    ["ngx_module_names", "ngx_module_order", "ngx_modules"], "the module shows nginx three names and nothing else")

archive = subprocess.run(["gcc", "-print-file-name=libhiredis.a"], capture_output=True, text=True).stdout.strip()
names = sorted(set(re.findall(r" T (\w+)", subprocess.run(["nm", archive], capture_output=True, text=True).stdout)))
ok("redisAsyncConnect" in names and "redisAsyncCommandArgv" in names, f"hiredis has {len(names)} functions")

with tempfile.TemporaryDirectory() as folder:
    source, clash = Path(folder) / "clash.c", Path(folder) / "clash.so"
    # __abort: what this library needs of libc must not be hiredis' either
    source.write_text("void abort(void) __attribute__((noreturn));\n"
                      + "\n".join(f"void {n}(void); void {n}(void) {{ abort(); }}" for n in names))
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(clash), str(source)], check=True)

    class Clashing(Edge):
        def start_nginx(self):
            # as if a module loaded before ours had brought them all
            os.environ["LD_PRELOAD"] = str(clash)
            try:
                return super().start_nginx()
            finally:
                del os.environ["LD_PRELOAD"]

    import edge as harness  # noqa: E402
    harness.Edge = Clashing
    with edge(H, workers=2) as e:
        maps = Path(f"/proc/{e.workers()[0]}/maps").read_text()
        ok(str(clash) in maps, "the other hiredis is in the worker")
        is_([e.call(H).status for _ in range(20)], [200] * 20, "requests are served")
        is_(e.status()["edge"]["redis_ok"] >= 20, True, "with Redis")
        e.redis.kill()
        is_(e.call(H).status, 200, "Redis dies")
        is_(len(e.workers()), 2, "and no worker with it")
    harness.Edge = Edge

if NCHAN.exists():
    with edge(H, main=f"load_module {NCHAN};") as e:
        is_(e.call(H).status, 200, "beside nchan")
else:
    skip("beside nchan itself", "libnginx-mod-nchan is not installed")

done()

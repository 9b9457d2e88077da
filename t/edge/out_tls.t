#!/usr/bin/python3
"""R1.12: TLS to channels is verified against the CA and the name; what fails before sending is "no";
sessions and connections are used again; tls_name gives SNI, verified name and Host."""
import os
import shutil
import ssl
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from egress import CHANNEL, LOCATION, bank, certificates, nginx, wait_until  # noqa: E402
from tap import done, is_, ok  # noqa: E402

folder = Path(tempfile.mkdtemp(prefix="ngx_pay-t."))
ca, context = certificates(folder, "api.bank.example")
other_ca, other_context = certificates(folder, "api.bank.example")
_, alone = certificates(folder, "other.example")
mine, _ = certificates(folder, "client.example")
asking = certificates(folder, "api.bank.example")
asking[1].verify_mode = ssl.CERT_REQUIRED
asking[1].load_verify_locations(mine)
PAIR = [str(mine).replace("-ca.pem", end) for end in (".pem", ".key")]
CERT = "proxy_ssl_certificate $pay_egress_certificate; proxy_ssl_certificate_key $pay_egress_certificate_key;"
TLS = "proxy_ssl_verify on; proxy_ssl_trusted_certificate {};"
PROTOCOLS = "proxy_ssl_protocols TLSv1.2 TLSv1.3;"  # an old nginx takes 1.2 at most by itself
FULL = "proxy_ssl_server_name on; proxy_ssl_name $pay_egress_name;"

try:
    with bank(context) as b, bank(other_context) as foreign, bank() as plain:
        channels = "".join(f"pay_channel {name} {{ endpoint https://127.0.0.1:{port}; {CHANNEL} {more} }}\n"
                           for name, port, more in (
                               ("bank", b.port, "tls_name api.bank.example;"),
                               ("fresh", b.port, "tls_name api.bank.example; keepalive 0;"),
                               ("wrong", b.port, "tls_name www.bank.example;"),
                               ("none", b.port, ""),
                               ("foreign", foreign.port, "tls_name api.bank.example;"),
                               ("plain", plain.port, "")))

        for about, text in (("", TLS + FULL), (", by default", TLS)):
            b.requests.clear()
            with nginx(channels, egress=LOCATION + text.format(ca)) as n:
                a = n.call("/ok?x=1")
                is_((a.status, a.sent), (200, "answered"), f"a verified channel{about}")
                r = b.requests[-1]
                is_((r.sni, r.header("Host"), r.target), ("api.bank.example", "api.bank.example", "/ok?x=1"),
                    f"SNI and Host are tls_name{about}")
                at = b.connections
                is_({n.call().sent for _ in range(4)}, {"answered"}, "more calls")
                is_(b.connections, at, "use the kept connection")
                b.resumed = 0
                is_({n.call(channel="fresh").sent for _ in range(4)}, {"answered"}, "calls without kept connections")
                ok(b.resumed >= 3, f"take the TLS session up again ({b.resumed} of 4)")
                b.close_idle()
                is_((n.call().sent, len(b.requests)), ("answered", 10), "a connection that the bank closed is not used")

                for name in ("wrong", "none", "foreign", "plain"):
                    # without TLS on its side the bank waits for more: a time-out
                    is_(n.call(channel=name).short, (504 if name == "plain" else 502, None, "no"),
                        f"not sent: {name}{about}")
                is_((len(b.requests), len(foreign.requests), len(plain.requests)), (10, 0, 0), "and nothing arrived")
                is_(n.channel("foreign")["in_flight"], 0, "nothing in flight")

                b.requests.clear()
                for target, want in (("/reset", (502, "maybe")), ("/hang", (504, "maybe")), ("/eof", (502, "maybe"))):
                    n.call("/ok")
                    a = n.call(target)
                    is_((a.status, a.sent, b.targets().count(target)), (*want, 1), f"{target} under TLS: maybe, once")

        with nginx(channels, egress=LOCATION + (TLS + FULL).format(other_ca)) as n:
            b.requests.clear()
            is_(n.call().short, (502, None, "no"), "another CA: not sent")
            is_(n.call().short, (502, None, "no"), "and again")
            is_(n.call(channel="foreign").sent, "answered", "its own channel works")
            is_(b.requests, [], "nothing arrived")
            ok("certificate verify error" in n.log.read_text(), "the reason is logged")

        with bank(asking[1]) as demanding:
            channels = "".join(f"pay_channel {name} {{ endpoint https://127.0.0.1:{port}; {CHANNEL} tls_name api.bank.example; {more} }}\n"
                               for name, port, more in (("bank", demanding.port, f"tls_certificate {PAIR[0]} {PAIR[1]};"),
                                                        ("without", demanding.port, ""), ("other", b.port, "")))
            both = folder / "both.pem"
            both.write_text(asking[0].read_text() + ca.read_text())
            with nginx(channels, egress=LOCATION + (TLS + FULL).format(both) + CERT + PROTOCOLS) as n:
                b.requests.clear()
                is_({n.call("/mine").short for _ in range(3)}, {(200, None, "answered")}, "the channel's own certificate")
                # in TLS 1.3 the channel complains when the request may be on its way already
                shorts = {n.call(channel="without").short for _ in range(3)}
                ok(shorts <= {(502, None, "maybe"), (502, None, "no")}, "none where one is wanted: no answer is made up", shorts)
                alerts = 'pay_channel_tls_alerts_total{channel="without",alert="certificate"} '
                ok(wait_until(lambda: n.call(channel="without") and alerts + "0\n" not in n.metrics()), "counted as what it is")
                ok('pay_channel "without" breaks TLS off' in n.log.read_text() and '"tls_certificate"' in n.log.read_text(), "and logged")
                ok('pay_channel_tls_alerts_total{channel="bank",alert="certificate"} 0\n' in n.metrics(), "not of the one that has it")
                is_(n.call(channel="other").sent, "answered", "and works where nobody asks for it")
                is_(set(demanding.targets()), {"/mine"}, "nothing of the one without arrived")
                Path(PAIR[1]).rename(PAIR[1] + ".away")
                demanding.close_idle()
                a = n.call("/gone")
                ok(a.sent == "no" and "/gone" not in demanding.targets(), "a key that went away: not sent", a.short)

        asking[1].maximum_version = ssl.TLSVersion.TLSv1_2
        with bank(asking[1]) as demanding:
            channels = f"pay_channel without {{ endpoint https://127.0.0.1:{demanding.port}; {CHANNEL} tls_name api.bank.example; }}\n"
            with nginx(channels, egress=LOCATION + (TLS + FULL).format(asking[0]) + PROTOCOLS) as n:
                is_(n.call(channel="without").short, (502, None, "no"), "none where one is wanted, TLS 1.2: the handshake fails: not sent")
                ok('pay_channel_tls_alerts_total{channel="without",alert="other"} 1\n' in n.metrics(), "counted")
                is_(demanding.targets(), [], "and nothing arrived")
finally:
    shutil.rmtree(folder)

done()

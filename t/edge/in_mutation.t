#!/usr/bin/python3
"""R1.1: a mutation check. Every function that decides whether something is genuine is replaced by one that says
"genuine", one at a time, in the linked unit tests; at least one test must then fail. A call that no test misses
would be a bypass that nobody notices.

The replacement is an object of one function; the original's symbol is made weak (objcopy), so that the linker takes
ours, also for calls within the file (-fPIC keeps them open). OpenSSL's own are replaced by being linked first.
"""
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from tap import done, is_, ok  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("PAY_BUILD", "build")
TESTS = ("core_crypto", "core_scheme", "core_sorted", "core_rfc9421")
LIBS = ("-lcrypto", "-lcmocka")
CC = os.environ.get("CC", "gcc")

SLICES = "const struct slice *parts, size_t count"
# function: (object that holds it, its declaration, what stands for "genuine")
MUTANTS = {
    "equal_ct": ("crypto.o", "bool equal_ct(struct slice a, struct slice b)", "return true;"),
    "hmac_verify": ("crypto.o", f"int hmac_verify(const struct hmac_key *k, {SLICES}, struct slice mac)", "return 0;"),
    "pkey_verify": ("crypto_pkey.o", f"int pkey_verify(const struct pkey *k, {SLICES}, struct slice sig)", "return 0;"),
    "key_verify": ("scheme_key.o", f"int key_verify(const struct verify_key *k, {SLICES}, struct slice signature)", "return 0;"),
    "scheme_verify": ("scheme_key.o", f"int scheme_verify(const struct verify_key *k, {SLICES}, struct slice signature_base64)",
                      "return 0;"),
    "sorted_verify": ("scheme_sorted_out.o",
                      "int sorted_verify(const struct verify_key *k, struct slice string, struct slice sign)", "return 0;"),
    "content_digest_check": ("scheme_rfc9421.o", "int content_digest_check(struct arena *a, struct slice value, struct slice body,"
                             " const char **reason)", "*reason = 0; return 0;"),
    "httpsig_check": ("scheme_rfc9421.o", "int httpsig_check(const struct httpsig *s, const struct http_message *m, bool has_body,"
                      " const char **reason)", "*reason = 0; return 0;"),
    "scheme_fits": ("scheme.o", "bool scheme_fits(enum scheme s, enum key_scheme key_scheme, enum key_alg alg)", "return true;"),
    "key_scheme_allows": ("scheme_key.o", "bool key_scheme_allows(enum key_scheme s, enum key_alg alg)", "return true;"),
    # OpenSSL's own answers
    "EVP_PKEY_verify": (None, "int EVP_PKEY_verify(void *ctx, const unsigned char *sig, size_t siglen,"
                        " const unsigned char *tbs, size_t tbslen)", "return 1;"),
    "EVP_DigestVerify": (None, "int EVP_DigestVerify(void *ctx, const unsigned char *sig, size_t siglen,"
                         " const unsigned char *tbs, size_t tbslen)", "return 1;"),
    "CRYPTO_memcmp": (None, "int CRYPTO_memcmp(const void *a, const void *b, size_t n)", "return 0;"),
}


def command(*args: object) -> subprocess.CompletedProcess:
    return subprocess.run([str(a) for a in args], cwd=ROOT, capture_output=True, text=True)


def linked(folder: Path, test: str, name: str) -> Path:
    """The test with one mutant in it."""
    holder, declaration, genuine = MUTANTS[name]
    source = folder / f"{name}.c"
    source.write_text('#include "core/scheme_rfc9421.h"\n#include "core/scheme_sorted.h"\n'
                      f"{declaration};\n{declaration}\n{{\n{genuine}\n}}\n")
    mutant, program = folder / f"{name}.o", folder / f"{name}.{test}"
    made = command(CC, "-std=gnu11", "-w", "-I.", "-c", "-o", mutant, source)
    assert made.returncode == 0, made.stderr
    originals: list[Path] = []
    if holder:
        originals.append(folder / f"{name}.weak.o")
        done_ = command("objcopy", f"--weaken-symbol={name}", BUILD / "core" / holder, originals[0])
        assert done_.returncode == 0, done_.stderr
    sanitizers = ["-fsanitize=address,undefined"] if "san" in BUILD.name else []
    made = command(CC, *sanitizers, "-o", program, BUILD / f"t/unit/{test}_test.o", mutant, *originals,
                   BUILD / "core.a", *LIBS)
    assert made.returncode == 0, made.stderr
    return program


def likely(function: str) -> str:
    """The test to try first: each link costs a second."""
    return "core_rfc9421" if function.startswith(("httpsig", "content")) else \
        "core_sorted" if function.startswith("sorted") else "core_scheme" if function.startswith(("scheme", "key")) else "core_crypto"


def main():
    env_problem = [t for t in TESTS if not (BUILD / f"t/unit/{t}_test.o").exists()]
    is_(env_problem, [], "the unit tests are built")
    with tempfile.TemporaryDirectory(prefix="ngx_pay-t.") as name:
        folder = Path(name)
        for test in TESTS:
            is_(subprocess.run([BUILD / f"t/unit/{test}_test.t"], cwd=ROOT, capture_output=True).returncode, 0, f"{test} passes as it is")
        for function in MUTANTS:
            caught = []
            for test in sorted(TESTS, key=lambda t: t != likely(function)):
                program = linked(folder, test, function)
                run = subprocess.run([program], cwd=ROOT, capture_output=True, text=True, timeout=60)
                if run.returncode != 0:
                    caught.append(test)
                    break
            ok(caught, f"{function} that always says \"genuine\" breaks a test", TESTS)
    marks = [line for f in sorted((ROOT / "ngx_pay_module").glob("*/*.c")) for line in f.read_text().splitlines()
             if "verified = 1" in line]
    is_(len(marks), 1, "the edge calls a request verified in one place (t/edge/in_schemes.t changes what was signed)")
    done()


main()

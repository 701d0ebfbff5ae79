"""What is committed holds no secret, no path of a machine and no address but examples: every tracked file, by bytes."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from workbench.base.settings import PROJECT

pytestmark = pytest.mark.promise(
    "S16", "what is committed holds no secret, no path of a machine, no address; the lock has hashes"
)

# Written in two pieces, so that this file does not hold what it looks for.
LOOKS_LIKE = {
    "a private key": "-----BEGIN [A-Z ]*PRIV" + "ATE KEY",
    "a key of AWS": "(AKI" + "A|ASI" + "A)[0-9A-Z]{16}",
    "a token of GitHub": "gh[pousr]" + "_[A-Za-z0-9]{36}|github" + "_pat_[A-Za-z0-9_]{22}",
    "a token of GitLab, Slack or PyPI": "glpat" + "-[\\w-]{20}|xox[abprs]" + "-[\\w-]{10}|pypi" + "-[\\w-]{40}",
    "a key of Google": "AIz" + "a[0-9A-Za-z_-]{35}",
    "a JSON web token": "ey" + "J[\\w-]{10,}\\.ey" + "J[\\w-]{10,}\\.",
    "a home folder": "/(home|Users)" + "/(?!u/)[a-z][a-z0-9._-]+/|/roo" + "t/|C:\\\\Use" + "rs",
    "an index of packages": "(index-url|find-links|trusted-host)"
    + "[ =]+\\S*:/"
    + "/|/simp"
    + "le/|artifac"
    + "tory|/nex"
    + "us/",
}
EXAMPLE_HOSTS = re.compile(
    r"(127\.0\.0\.1|localhost|\[::1\]?|prefect|host|[a-z]|me|u|www\.w3\.org|([a-z]+\.)?example(\.(com|org))?)(:.*)?"
)
KNOWN_PASSWORDS = frozenset(
    {"guest", "postgres", "password", "secret", "admin", "analyst", "canary", "p", "p@ss", "own"}
)
_ADDRESS = re.compile(rb"https?://([\w.\[\]:-]+)")
_PASSWORD = re.compile(rb"[a-z0-9+]://[^\s/:@'\"]*:([^\s/'\"<>`]+)@")
_ASSIGNED = re.compile(rb"(?i)(?:password|passwd|secret|token|api_?key)['\"]?\s*[:=]\s*['\"]([^'\"\s{}$*]{8,})['\"]")


def tracked() -> list[Path]:
    """Return every file that is committed or staged; a loud skip where there is no git."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("NO GIT: nobody knows what is committed here")
    paths = [PROJECT / name for name in listed.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


def problems(name: str, content: bytes) -> Iterator[str]:
    """Yield what must not stand in a file of this name."""
    for what, pattern in LOOKS_LIKE.items():
        yield from (f"{what}: {found[0]!r}" for found in re.finditer(pattern.encode(), content))
    for host in _ADDRESS.findall(content):
        if not EXAMPLE_HOSTS.fullmatch(host.decode()):
            yield f"address: {host!r}"
    if not name.startswith("tests/"):
        for password in _PASSWORD.findall(content) + _ASSIGNED.findall(content):
            if password.decode() not in KNOWN_PASSWORDS and not password.startswith((b"$", b"{", b"%")):
                yield f"password: {password!r}"


def test_no_tracked_file_holds_a_secret_a_machines_path_or_an_address() -> None:
    files = tracked()
    assert len(files) > 200
    found = [
        f"{name}: {problem}"
        for path in files
        if (name := str(path.relative_to(PROJECT)))
        for problem in problems(name, path.read_bytes())
    ]
    assert found == []


def test_no_tracked_file_names_this_checkout() -> None:
    here = str(PROJECT).encode()
    assert [str(path) for path in tracked() if here in path.read_bytes()] == []


def test_nothing_that_holds_secrets_can_be_committed_by_mistake() -> None:
    for name in (".env", ".workbench/web/token", ".workbench/services/spark/state.json"):
        ignored = subprocess.run(["git", "check-ignore", "--quiet", name], cwd=PROJECT, check=False)
        if ignored.returncode == 128:
            pytest.skip("NO GIT: nobody knows what is ignored here")
        assert ignored.returncode == 0, name


@pytest.mark.parametrize(
    "planted",
    [
        b"-----BEGIN RSA PRIV" + b"ATE KEY-----",
        b"key = AKI" + b"AIOSFODNN7EXAMPLE",
        b"gh" + b"p_" + b"a" * 36,
        b"path = /home" + b"/someone/project",
        b"--index-url http:/" + b"/packages.internal/simp" + b"le",
        b"see http:/" + b"/build.corp.internal/job",
        b"DATABASE_URL=postgresql:/" + b"/me:Tr0ub4dor@db/x",
        b'PASSWORD = "' + b'correct-horse-battery"',
        b"\x89PNG\r\n\x1a\n...tEXt/Use" + b"rs\0" + b"C:\\Use" + b"rs",
    ],
)
def test_one_that_is_planted_is_found(planted: bytes) -> None:
    assert list(problems("docs/page.md", b"some text\n" + planted + b"\nmore text"))


@pytest.mark.parametrize(
    "good", [b"amqp://guest:guest@127.0.0.1", b"postgresql://me:secret@db/x", b"http://example.com"]
)
def test_documented_examples_are_none(good: bytes) -> None:
    assert list(problems("docs/page.md", good)) == []

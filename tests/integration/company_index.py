"""A company's index of packages: HTTPS, with a certificate that only its own authority vouches for."""

from __future__ import annotations

import ssl
import threading
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from zipfile import ZipFile, ZipInfo

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_CA_USAGE = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


@contextmanager
def company_index(folder: Path) -> Iterator[tuple[str, Path]]:
    """Serve what lies in `folder`, a folder a package; yields the index's URL and the authority's certificate."""
    folder.mkdir(exist_ok=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority = folder.with_name("authority.pem")
    context.load_cert_chain(_certify(authority))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(folder)))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"https://localhost:{server.server_port}", authority  # pip from 24.2 on refuses addresses
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _certify(authority: Path) -> Path:
    """Make an authority, write its certificate, and return the file of key and certificate that it gave localhost."""
    root, leaf = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "The company's own")])
    blank = x509.CertificateBuilder(
        issuer, not_valid_before=datetime.now(UTC) - timedelta(1), not_valid_after=datetime.now(UTC) + timedelta(1)
    )
    own = blank.subject_name(issuer).public_key(root.public_key()).serial_number(1)
    own = own.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    own = own.add_extension(_CA_USAGE, critical=True)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    given = blank.subject_name(x509.Name([])).public_key(leaf.public_key()).serial_number(2)
    given = given.add_extension(names, critical=True)
    pem = serialization.Encoding.PEM
    authority.write_bytes(own.sign(root, hashes.SHA256()).public_bytes(pem))
    both = authority.with_name("server.pem")
    both.write_bytes(
        leaf.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + given.sign(root, hashes.SHA256()).public_bytes(pem)
    )
    return both


def make_wheel(folder: Path, name: str, version: str, files: Mapping[str, bytes]) -> str:
    """Write a wheel of these files into `folder`; returns its line of a lock, with its hash."""
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    about = f"{name}-{version}.dist-info"
    files = {
        **files,
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{about}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = [f"{path},sha256={_base64(content)},{len(content)}" for path, content in files.items()]
    with ZipFile(wheel, "w") as archive:
        for path, content in files.items():
            entry = ZipInfo(path)
            entry.external_attr = 0o100755 << 16
            archive.writestr(entry, content)
        archive.writestr(f"{about}/RECORD", "\n".join([*lines, f"{about}/RECORD,,", ""]))
    return f"{name}=={version} --hash=sha256:{sha256(wheel.read_bytes()).hexdigest()}\n"


def _base64(content: bytes) -> str:
    return urlsafe_b64encode(sha256(content).digest()).decode().rstrip("=")

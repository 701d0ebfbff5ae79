"""Security headers of every answer: no caching, no framing, no foreign scripts."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders

from workbench.notebook.report import EMPTY_STYLE

_POLICY = (
    f"default-src 'none'; script-src 'self'; style-src 'self'; style-src-elem 'self' {EMPTY_STYLE}; "
    "style-src-attr 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: with it browsers send `Origin: null` for our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cache-Control": "no-store",
}


def protect(headers: MutableHeaders) -> None:
    """Add the security headers to an answer; headers that it sets itself stay."""
    for name, value in _HEADERS.items():
        headers.setdefault(name, value)

"""Serves files of JupyterLab's folder as they are, in a sandbox, and lets one report lead to the next."""

from __future__ import annotations

from jupyter_server.files.handlers import FilesHandler


class LinkedFilesHandler(FilesHandler):
    """Files behind links of the folder are served, too: the server's default handler for plain folders refuses them."""

    def check_xsrf_cookie(self) -> None:
        """Let a person go from report to report, which sends no referrer, because a sandboxed page has no origin.

        The browser itself says that it opens a page; a foreign page cannot say so for what it embeds or fetches.
        """
        is_page_opened = self.request.headers.get("Sec-Fetch-Dest") == "document"
        if not (is_page_opened and self.request.path.endswith(".html")):
            super().check_xsrf_cookie()

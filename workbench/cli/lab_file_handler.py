"""Serves files of JupyterLab's folder in a sandbox, and allows links from one report to the next."""

from __future__ import annotations

from jupyter_server.files.handlers import FilesHandler


class LinkedFilesHandler(FilesHandler):
    """Serves files behind symbolic links, too: the server's default handler for plain folders refuses them."""

    def check_xsrf_cookie(self) -> None:
        """Allow links between reports, which send no referrer, because a sandboxed page has no origin.

        The browser sets the header for a page that it opens; a foreign page cannot set it for frames or fetches.
        """
        is_page_opened = self.request.headers.get("Sec-Fetch-Dest") == "document"
        if not (is_page_opened and self.request.path.endswith(".html")):
            super().check_xsrf_cookie()

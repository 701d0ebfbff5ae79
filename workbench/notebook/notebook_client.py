"""nbclient's client with progress, capped output, and detection of a kernel that a cell has ended.

Secrets are removed from outputs as they arrive, so that no saved notebook ever holds one.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.channels import AsyncZMQSocketChannel
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_output

from workbench.base.redaction import redacted, without_known_secrets
from workbench.notebook.results import Observer
from workbench.stage.progress import PROGRESS_MIME, RECORDS

_DISPLAYS = ("display_data", "execute_result", "update_display_data")
_TEXT_SHOWN = 2_000
_LONGEST_ERROR = 200_000
_LONGEST_SECRET = 4_096
_TAKEN_UP_SECONDS = 3.0


class FairChannel(AsyncZMQSocketChannel):
    """Lets other tasks run between two messages: a flood of output must not starve deadline and cancel."""

    async def get_msg(  # type: ignore[override]  # as jupyter_client's own asynchronous channel does
        self, timeout: float | None = None
    ) -> dict[str, Any]:
        await asyncio.sleep(0)
        return await super().get_msg(timeout)


class CellClient(NotebookClient):
    """Executes single cells of a notebook on a kernel that the caller starts and stops."""

    def __init__(self, notebook: NotebookNode, kernel: AsyncKernelClient, observer: Observer, cap: int) -> None:
        super().__init__(notebook, store_widget_state=False, iopub_timeout=10)
        self.kc = self._kernel = kernel
        self.kernel_ended_by_cell = False
        self.at_work = False
        self._observer = observer
        self._cap = cap
        self._kept = 0
        self._dropped = 0
        self.on_cell_executed = self._look_for_exit

    async def answer(self) -> None:
        """Wait for one more reply of the kernel; does not return when the kernel does not reply."""
        await self.async_wait_for_reply(self._kernel.kernel_info())

    def begin_cell(self) -> None:
        """Reset the output count of the last cell, and that the kernel has begun it."""
        self._kept = self._dropped = 0
        self.at_work = False

    async def interrupted(self, interrupt: Callable[[], Awaitable[None]]) -> None:
        """Interrupt the cell as soon as the kernel works on it, or after a moment: an interrupt before that is lost."""
        until = time.monotonic() + _TAKEN_UP_SECONDS
        while not self.at_work and time.monotonic() < until:
            await asyncio.sleep(0.02)
        await interrupt()

    def end_cell(self, cell: NotebookNode) -> None:
        """Append how much output was dropped, and apply carriage returns as a terminal does."""
        for output in cell.outputs:
            if output.output_type == "stream":
                output.text = redacted(_without_overwritten(output.text))
        if self._dropped:
            note = f"… {self._dropped:,} more characters not kept (a cell keeps {self._cap:,})\n"
            cell.outputs.append(new_output("stream", name="stderr", text=note))

    def process_message(self, msg: dict[str, Any], cell: NotebookNode, cell_index: int) -> NotebookNode | None:
        """Report progress, cap other output, and pass it on to nbclient."""
        kind, content = msg["msg_type"], msg["content"]
        _strike_secrets(kind, content)
        self.at_work = self.at_work or kind == "execute_input"
        if kind in _DISPLAYS and PROGRESS_MIME in content["data"]:
            self._report_progress(content["data"][PROGRESS_MIME], cell_index + 1)
            return None
        if kind == "clear_output":
            self._kept = 0
        elif kind == "stream":
            if not self._cut(content):
                return None
            self._observer.cell_output(cell_index + 1, content["text"])
        elif kind in _DISPLAYS:
            if not self._fits(_size(content["data"])):
                return None
            self._observer.cell_output(cell_index + 1, str(content["data"].get("text/plain", ""))[:_TEXT_SHOWN])
        elif kind == "error":
            _shorten(content)
        return super().process_message(msg, cell, cell_index)

    def output(
        self, outs: list[NotebookNode], msg: dict[str, Any], display_id: str | None, cell_index: int
    ) -> NotebookNode | None:
        """Join what is printed in pieces: one output per stream, not one per flush."""
        last = outs[-1] if outs and not self.clear_before_next_output else None
        if msg["msg_type"] == "stream" and last is not None and last.get("name") == msg["content"]["name"]:
            # Once more where the pieces meet: a secret may have arrived in two parts.
            joined = without_known_secrets(last.text[-_LONGEST_SECRET:] + msg["content"]["text"])
            last.text = last.text[:-_LONGEST_SECRET] + joined
            return last
        return super().output(outs, msg, display_id, cell_index)

    def _report_progress(self, progress: Any, number: int) -> None:
        if isinstance(progress, Mapping) and isinstance(progress.get("done"), int):
            total, unit = progress.get("total"), str(progress.get("unit", RECORDS))[:_TEXT_SHOWN]
            self._observer.cell_progress(number, progress["done"], total if isinstance(total, int) else None, unit)

    def _cut(self, content: dict[str, Any]) -> bool:
        """Remove secrets from the text and cut it to the room that is left; False when no text is left."""
        room = max(0, self._cap - self._kept)
        content["text"] = redacted(content["text"]) if room else content["text"]
        self._dropped += max(0, len(content["text"]) - room)
        content["text"] = content["text"][:room]
        self._kept += len(content["text"])
        return bool(content["text"])

    def _fits(self, size: int) -> bool:
        if self._kept + size > self._cap:
            self._dropped += size
            return False
        self._kept += size
        return True

    def _look_for_exit(self, execute_reply: Mapping[str, Any], **_: Any) -> None:
        payload = execute_reply["content"].get("payload") or []
        self.kernel_ended_by_cell = any(item.get("source") == "ask_exit" for item in payload)


def _strike_secrets(kind: str, content: dict[str, Any]) -> None:
    """Remove known and likely secrets from errors, and known secrets from displayed data."""
    if kind == "error":
        content |= {
            "evalue": redacted(content["evalue"]),
            "traceback": [redacted(line) for line in content["traceback"]],
        }
    elif kind in _DISPLAYS:
        content["data"] = without_known_secrets(content["data"])


def _without_overwritten(text: str) -> str:
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n")) if "\r" in text else text


def _size(data: Mapping[str, Any]) -> int:
    return sum(len(value) if isinstance(value, str) else len(json.dumps(value)) for value in data.values())


def _shorten(content: dict[str, Any]) -> None:
    content["evalue"] = content["evalue"][:_LONGEST_ERROR]
    content["traceback"] = [line[:_LONGEST_ERROR] for line in content["traceback"][:200]]

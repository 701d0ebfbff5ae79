"""JupyterLab as the workbench starts it: one folder with notebooks, runs and opened copies, on loopback, with a token.

WORKBENCH_HOME/lab/notebooks   the notebooks of WORKBENCH_NOTEBOOKS (saved without outputs)
WORKBENCH_HOME/lab/runs        the files of the runs: executed notebooks, reports, data
WORKBENCH_HOME/lab/opened      copies made by `workbench open`
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

from jupyter_server.serverapp import ServerApp, list_running_servers
from jupyterlab_server.workspaces_handler import WorkspacesManager

from workbench.base.durable_files import private_folder
from workbench.base.environment import passed_on
from workbench.base.settings import Settings

log = logging.getLogger(__name__)
WORKSPACE = "workbench"
_CONTENTS = "@jupyterlab/toc:plugin"
PANEL = "notebooks/00_workbench.ipynb"
_ASSETS = Path(__file__).with_name("lab_assets")


def lab_root(settings: Settings) -> Path:
    """Return JupyterLab's folder, made if needed."""
    root = settings.home / "lab"
    private_folder(root / "opened")
    (settings.home / "runs").mkdir(exist_ok=True)
    for name, target in (("notebooks", settings.notebooks), ("runs", settings.home / "runs")):
        _link(root / name, target)
    return root


def _link(place: Path, target: Path) -> None:
    if place.is_symlink() and place.readlink() != target:
        place.unlink()
    if not place.exists():
        place.symlink_to(target, target_is_directory=True)


def lab_command(settings: Settings, path: str = PANEL, more: Sequence[str] = ()) -> list[str]:
    """Return the command that serves JupyterLab and opens `path` (below its folder); `more` are Jupyter's options."""
    root = lab_root(settings)
    options = [
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.root_dir={root}",
        f"--LabApp.default_url=/lab/workspaces/{WORKSPACE}/tree/{quote(path)}",
        f"--LabApp.workspaces_dir={_workspaces(settings, path)}",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.news_url=",
        "--KernelManager.transport=ipc",
        "--ContentsManager.files_handler_class=workbench.cli.lab_file_handler.LinkedFilesHandler",
        "--ContentsManager.pre_save_hook=workbench.cli.lab_save_hook.drop_outputs",
    ]
    as_root = ["--allow-root"] if os.geteuid() == 0 else []
    return [sys.executable, "-m", "jupyter", "lab", *_without(options, more), *as_root, *more]


def _without(options: Sequence[str], more: Sequence[str]) -> list[str]:
    """Return the options that `more` does not set: Jupyter refuses to start when an option is given twice."""
    full_names = {f"--{short}": f"--{name}" for short, name in dict(ServerApp().aliases).items()}
    given = {option.partition("=")[0] for option in more}
    replaced = {full_names.get(name, name) for name in given}
    return [option for option in options if option.partition("=")[0] not in replaced]


def lab_environment(settings: Settings) -> dict[str, str]:
    """Return the environment of the server and its kernels: the workbench's folders, our defaults for the interface."""
    return {
        **passed_on(os.environ),
        **settings.workbench_kernel_env,
        "WORKBENCH_HOME": str(settings.home),
        "WORKBENCH_LAB": str(lab_root(settings)),
        "WORKBENCH_NOTEBOOKS": str(settings.notebooks),
        "JUPYTER_CONFIG_PATH": _before(_ASSETS, "JUPYTER_CONFIG_PATH"),
        "JUPYTER_PATH": _before(_ASSETS, "JUPYTER_PATH"),
        "PATH": _before(Path(sys.executable).parent, "PATH"),  # `workbench` is there in JupyterLab's terminals
    }


def serve(settings: Settings, path: str = PANEL, more: Sequence[str] = ()) -> NoReturn:
    """Replace this process by JupyterLab, so that signals reach the server."""
    command = lab_command(settings, path, more)
    os.execve(command[0], command, lab_environment(settings))


def running_address(settings: Settings, path: str) -> str | None:
    """Return the address of `path` on a running JupyterLab of this workbench, with its token; None without one."""
    root = str(lab_root(settings))
    for server in list_running_servers():
        if server["root_dir"] == root:
            return f"{server['url']}lab/tree/{quote(path)}?token={server['token']}"
    return None


def _before(folder: Path, variable: str) -> str:
    return os.pathsep.join(filter(None, (str(folder), os.environ.get(variable))))


def _workspaces(settings: Settings, path: str) -> Path:
    """Return the folder of layouts, with one for the workbench: files, this notebook, its contents."""
    folder = private_folder(settings.home / "lab-workspaces")
    layouts = WorkspacesManager(str(folder))
    if not _has_layout(layouts):
        layouts.save(WORKSPACE, json.dumps({"data": _layout(path), "metadata": {"id": WORKSPACE}}))
    return folder


def _has_layout(layouts: WorkspacesManager) -> bool:
    """Return whether a readable layout exists: JupyterLab writes it in place, unsynced."""
    try:
        return bool(layouts.load(WORKSPACE)["data"])
    except (ValueError, TypeError, LookupError) as error:
        log.warning("JupyterLab's layout cannot be read (%s) and is created again", type(error).__name__)
        return False


def _layout(path: str) -> dict[str, object]:
    widget = f"notebook:{path}"
    dock = {"type": "tab-area", "currentIndex": 0, "widgets": [widget]}
    left = {"collapsed": False, "visible": True, "current": "filebrowser", "widgets": ["filebrowser"]}
    right = {"collapsed": False, "visible": True, "current": _CONTENTS, "widgets": [_CONTENTS]}
    areas = {
        "main": {"dock": dock, "current": widget},
        "left": left,
        "right": right,
        "relativeSizes": [0.17, 0.68, 0.15],
    }
    return {
        "layout-restorer:data": areas,
        "file-browser-filebrowser:cwd": {"path": path.rpartition("/")[0]},
        widget: {"data": {"path": path, "factory": "Notebook"}},
    }

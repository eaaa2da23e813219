"""The built wheel, installed into a fresh environment and used from another folder."""

from __future__ import annotations

import asyncio
import tomllib
import zipfile
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import psutil
import pytest
import websockets
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.NewSession_pb2 import NewSession

from tests.support import results_rows
from tests.support.installed import (
    PACKAGES,
    ROOT,
    UNWANTED,
    Installed,
    build_wheel,
    install,
    serving,
)

SETTINGS = ROOT / ".streamlit" / "config.toml"
BESIDE_APP = "dashboard/.streamlit/config.toml"
STREAMLIT = ("python", "-m", "streamlit", "run", "APP", "--server.port=PORT")
STARTS = [("unpact", "dashboard", "--port", "PORT"), STREAMLIT]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return install(wheel, tmp_path_factory.mktemp("installed"))


def listening(pid: int) -> set[str]:
    """Addresses on which a process or a child of it accepts connections."""
    process = psutil.Process(pid)
    family = [process, *process.children(recursive=True)]
    every = [found for each in family for found in each.net_connections(kind="inet")]
    return {found.laddr.ip for found in every if found.status == psutil.CONN_LISTEN}


async def new_session(port: int) -> NewSession:
    """What a page is told first when it asks for the app: theme and settings among it."""
    request = BackMsg()
    request.rerun_script.query_string = ""
    async with websockets.connect(f"ws://127.0.0.1:{port}/_stcore/stream") as page:
        await page.send(request.SerializeToString())
        while True:
            message = ForwardMsg.FromString(await asyncio.wait_for(page.recv(), 60))  # type: ignore[arg-type]
            if message.WhichOneof("type") == "new_session":
                return message.new_session


def test_a_checkout_has_one_file_of_settings() -> None:
    assert (ROOT / BESIDE_APP).samefile(SETTINGS)


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_packages(wheel: Path) -> None:
    files = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and not any(map(path.match, UNWANTED)) and path.suffix != ".pyc"
    }
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if not name.startswith("unpact-")}
        assert archive.read(BESIDE_APP) == SETTINGS.read_bytes()
        (licence,) = (name for name in archive.namelist() if name.endswith("licenses/LICENSE"))
        assert archive.read(licence) == (ROOT / "LICENSE").read_bytes()
    assert held == files | {BESIDE_APP}


@pytest.mark.slow
def test_what_is_installed_needs_no_checkout(installed: Installed) -> None:
    code = f"for name in {PACKAGES}: print(__import__(name).__file__)"
    found = installed.output("python", "-c", code).splitlines()
    assert found == [str(installed.site / name / "__init__.py") for name in PACKAGES]
    assert installed.output("unpact", "--version") == f"unpact {version('unpact')}\n"


@pytest.mark.slow
@pytest.mark.parametrize("start", STARTS, ids=["unpact", "streamlit"])
def test_the_installed_dashboard_has_its_settings_in_any_folder(
    start: tuple[str, ...], installed: Installed, tmp_path: Path
) -> None:
    app = str(installed.site / "dashboard" / "app.py")
    program, *arguments = (part.replace("APP", app) for part in start)
    study = results_rows.small_study(tmp_path / "small.duckdb")
    with serving(installed, study, program, *arguments) as (server, port):
        assert listening(server.pid) == {"127.0.0.1"}
        with ThreadPoolExecutor(1) as apart:  # a browser test leaves a loop on this thread
            told = apart.submit(lambda: asyncio.run(new_session(port))).result()
    theme = tomllib.loads(SETTINGS.read_text(encoding="utf-8"))["theme"]
    assert Path(told.main_script_path) == Path(app)
    assert not told.config.gather_usage_stats
    assert list(told.custom_theme.chart_categorical_colors) == theme["chartCategoricalColors"]
    assert told.custom_theme.base_font_size == theme["baseFontSize"]
    for name in ("light", "dark"):
        told_colors = getattr(told.custom_theme, name)
        assert told_colors.primary_color == theme[name]["primaryColor"]
        assert told_colors.background_color == theme[name]["backgroundColor"]
        assert told_colors.sidebar.border_color == theme[name]["sidebar"]["borderColor"]

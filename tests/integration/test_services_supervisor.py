"""An embedded service lives as long as it has a user, and not longer, however its users and its supervisor end."""

from __future__ import annotations

import random
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import psutil
import psycopg2
import pytest

from tests.integration.service_watch import (
    all_gone,
    family_of,
    other_user,
    processes_below,
    supervisor_of,
    supervisors_below,
    wait_until,
)
from workbench.base.errors import InvalidSetting, ServiceUnavailable
from workbench.services import embedded
from workbench.services.service_file import STATE

NAME = "postgres"
_STOPPED_WITHIN = 15


def _answers(url: str | None) -> bool:
    connection = psycopg2.connect(str(url))
    with connection.cursor() as cursor:
        cursor.execute("select 1")
        answer = cursor.fetchone()
    connection.close()
    return answer == (1,)


def test_two_users_share_one_service_which_stops_after_the_second(tmp_path: Path) -> None:
    with embedded.held(NAME, tmp_path) as first:
        family = family_of(NAME, tmp_path)
        with embedded.held(NAME, tmp_path) as second:
            assert first == second
        other = ExitStack()
        other.enter_context(other_user(NAME, tmp_path))
    assert _answers(first.url)
    other.close()
    assert wait_until(lambda: all_gone(family), _STOPPED_WITHIN)
    assert not (tmp_path / "services" / NAME / STATE).exists()


def test_an_abandoned_start_is_given_up(tmp_path: Path) -> None:
    given_up = threading.Event()
    given_up.set()
    with pytest.raises(ServiceUnavailable, match="abandoned"), embedded.held(NAME, tmp_path, given_up):
        pass
    assert wait_until(lambda: not supervisors_below(tmp_path) and not processes_below(tmp_path), _STOPPED_WITHIN)


def test_a_killed_user_counts_as_gone(tmp_path: Path) -> None:
    with other_user(NAME, tmp_path) as user:
        family = family_of(NAME, tmp_path)
        user.kill()
    assert wait_until(lambda: all_gone(family), _STOPPED_WITHIN)


def test_a_killed_supervisor_takes_its_service_along_and_the_next_user_starts_another(tmp_path: Path) -> None:
    with embedded.held(NAME, tmp_path) as first:
        family = family_of(NAME, tmp_path)
        supervisor_of(NAME, tmp_path).kill()
        assert wait_until(lambda: all_gone(family), _STOPPED_WITHIN)
        with embedded.held(NAME, tmp_path) as second:
            assert second.supervisor != first.supervisor
            assert _answers(second.url)


def test_after_a_service_has_died_the_next_user_starts_another(tmp_path: Path) -> None:
    with embedded.held(NAME, tmp_path) as first:
        assert first.service is not None
        service = psutil.Process(first.service)
        service.kill()
        assert wait_until(lambda: all_gone([service]), _STOPPED_WITHIN)
        with embedded.held(NAME, tmp_path) as second:
            assert second.service != first.service
            assert _answers(second.url)


def test_a_supervisor_asked_to_end_stops_its_service(tmp_path: Path) -> None:
    with embedded.held(NAME, tmp_path):
        family = family_of(NAME, tmp_path)
        supervisor_of(NAME, tmp_path).terminate()
        assert wait_until(lambda: all_gone(family), _STOPPED_WITHIN)


def test_twenty_users_that_come_and_go_never_meet_a_dying_service_and_leave_none(tmp_path: Path) -> None:
    def use(seed: int) -> set[int]:
        pause, seen = random.Random(seed), set()
        for _ in range(3):
            with embedded.held(NAME, tmp_path) as state:
                assert _answers(state.url)
                assert len(supervisors_below(tmp_path)) == 1
                wait_until(lambda: False, pause.uniform(0, 0.3))
                assert _answers(state.url)
                seen.add(state.supervisor)
            wait_until(lambda: False, pause.uniform(0, 1.5))
        return seen

    with ThreadPoolExecutor(20) as users:
        supervisors = set().union(*users.map(use, range(20)))
    assert supervisors
    assert wait_until(lambda: not processes_below(tmp_path), _STOPPED_WITHIN)


def test_users_that_arrive_while_a_supervisor_stops_get_a_new_service(tmp_path: Path) -> None:
    supervisors = set()
    for _ in range(4):
        with embedded.held(NAME, tmp_path) as state:
            assert _answers(state.url)
            supervisors.add(state.supervisor)
        assert wait_until(lambda: not (tmp_path / "services" / NAME / STATE).exists(), 5)
    assert len(supervisors) == 4


def test_two_homes_do_not_meet(tmp_path: Path) -> None:
    with embedded.held(NAME, tmp_path / "one") as one, embedded.held(NAME, tmp_path / "two") as two:
        assert one.supervisor != two.supervisor
        assert one.url != two.url
        assert _answers(one.url)
        assert _answers(two.url)


def test_what_tells_the_url_is_private(tmp_path: Path) -> None:
    with embedded.held(NAME, tmp_path):
        assert stat.S_IMODE((tmp_path / "services" / NAME / STATE).stat().st_mode) == 0o600


def test_nothing_is_started_for_a_user_that_wants_only_what_is_up(tmp_path: Path) -> None:
    with embedded.held_if_live(NAME, tmp_path) as state:
        assert state is None
    with embedded.held(NAME, tmp_path) as up, embedded.held_if_live(NAME, tmp_path) as state:
        assert state == up


def test_a_home_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(InvalidSetting, match=r"WORKBENCH_HOME .*cannot be written"),
        embedded.held(NAME, tmp_path / "file"),
    ):
        pass


def test_a_service_that_cannot_start_says_so_and_where_its_log_is(tmp_path: Path) -> None:
    data = tmp_path / "services" / NAME / "data"
    data.mkdir(parents=True)
    with (
        pytest.raises(ServiceUnavailable, match=r"postgres: .*exit code.*services/postgres/log"),
        embedded.held(NAME, tmp_path),
    ):
        pass
    assert wait_until(lambda: not processes_below(tmp_path), _STOPPED_WITHIN)

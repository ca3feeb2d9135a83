"""The dashboard's server against strangers: foreign pages, guesses, broken requests, connections that never end."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dashboard_server
import pytest
from dashboard_server import PlayedRobot, Server, free_port, running

from vla_ros.core.errors import ConfigError
from vla_ros.monitor.dashboard import door as dashboard_door
from vla_ros.monitor.dashboard import gate as dashboard_gate
from vla_ros.monitor.dashboard.door import Door, Visit, peer_of
from vla_ros.monitor.dashboard.gate import Guesses

TOKEN = "a-long-secret"
SOON_S = 0.8  # on a busy machine; the bar itself, 0.3 s, is held where nodes are live. Out of files: 1 s or more


def knocks(server: Server, count: int, data: bytes = b"GET / HTTP/1.1\r\n") -> list[socket.socket]:
    """Connections that begin a request and never end it."""
    links = [socket.create_connection(("127.0.0.1", server.port), timeout=5) for _ in range(count)]
    for link in links:
        with contextlib.suppress(OSError):  # shown out already
            link.sendall(data)
    return links


def closed(link: socket.socket) -> bool:
    link.setblocking(False)
    try:
        return link.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


@pytest.mark.parametrize(
    "body",
    [b'{"instruction": null}', b'{"instruction": 7}', b'{"instruction": ["push"]}', b"[]", b"{", b"[" * 2000, b"\xff"],
)
def test_only_a_sentence_is_an_instruction(body):
    robot = PlayedRobot()
    with running(robot) as server:
        assert server.ask("POST", "/instruct", body, X_Vla_Ros="1")[0] == 400
        assert server.post("/instruct", {"instruction": "push"})[0] == 200
    assert robot.said == ["push"]


def test_what_is_wrong_with_a_request_is_said_in_one_line_and_no_log_is_flooded(capfd):
    robot = PlayedRobot()
    with running(robot, token=TOKEN) as server:
        head, end = b"GET /state HTTP/1.1\r\n", b"\r\n\r\n"
        assert b" 400 " in server.raw(head + b"Host: 127.0.0.1:99999" + end).splitlines()[0]
        for data in (b"Host: a\r\nAuthorization: Bearer \xff\xfe", b"Host: 127.0.0.1\r\nAuthorization: \xff"):
            assert b" 401 " in server.raw(head + data + end).splitlines()[0]
        charset = {"Content_Type": "application/json; charset=rot13", "Authorization": f"Bearer {TOKEN}"}
        assert server.post("/instruct", {"instruction": "push"}, **charset)[0] == 200
        for _ in range(30):
            assert b" 400 " in server.raw(b"GET / HTTP/1.1\r\nHost: \x00" + end)
        robot.broken = ValueError("a bug\nof ours")
        for _ in range(3):
            status, text = server.ask("GET", "/state", Authorization=f"Bearer {TOKEN}")
            assert status == 500 and len(text.splitlines()) == 1
    said = "".join(capfd.readouterr())
    assert "Traceback" not in said
    assert len(said.splitlines()) <= 3, said


def test_the_log_names_what_failed_with_us(capfd):
    robot = PlayedRobot()
    robot.broken = ValueError("a bug\nof ours")
    with running(robot) as server:
        server.ask("GET", "/state")
    assert "dashboard: GET /state: ValueError('a bug\\nof ours')" in "".join(capfd.readouterr()).splitlines()


def test_nobody_may_frame_the_page_and_it_runs_only_its_own_code():
    with running(PlayedRobot()) as server:
        for path in ("/", "/page.js", "/page.css", "/state", "/frame/nobody", "/nowhere"):
            server.ask("GET", path)
            policy = server.headers["Content-Security-Policy"]
            assert "frame-ancestors 'none'" in policy and "default-src 'none'" in policy, path
            assert "unsafe" not in policy and server.headers["X-Frame-Options"] == "DENY", path
        page = server.ask("GET", "/")[1]
    assert "<style" not in page and " style=" not in page and "<script>" not in page


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1"},  # another port
        {"Origin": "http://127.0.0.1:99999"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "none"},
        {},
    ],
)
@pytest.mark.parametrize("path", ["/arm", "/stop", "/release", "/instruct", "/alive", "/login"])
def test_no_page_of_another_site_moves_the_robot_though_it_sets_the_header(path, headers):
    robot = PlayedRobot()
    with running(robot) as server:
        mark = {"X_Vla_Ros": "1"} if headers else {}
        assert server.ask("POST", path, b"{}", **headers, **mark)[0] == 403
    assert not robot.calls and not robot.beats


def test_the_page_itself_may_do_everything_and_be_linked_to():
    robot = PlayedRobot()
    with running(robot) as server:
        own = {"Origin": f"http://127.0.0.1:{server.port}", "Sec_Fetch_Site": "same-origin"}
        assert [server.post(path, **own)[0] for path in ("/arm", "/stop", "/release", "/alive")] == [200] * 4
        assert server.ask("GET", "/", Sec_Fetch_Site="cross-site")[0] == 200
        assert server.ask("GET", "/frame/front", Sec_Fetch_Site="cross-site")[0] == 403
        assert server.ask("GET", "/state", Host="evil.example")[0] == 403
    assert robot.calls[:3] == ["arm", "armed", "halt"]


def test_wrong_tokens_are_slowed_down_and_those_who_are_logged_in_are_not():
    with running(PlayedRobot(), token=TOKEN) as server:
        session = {"Authorization": "Bearer " + server.post("/login", Authorization=f"Bearer {TOKEN}")[1]["session"]}
        guesses = [server.post("/stop", Authorization=f"Bearer guess-{n}")[0] for n in range(50)]
        assert guesses[:5] == [401] * 5 and guesses[-1] == 429 and guesses.count(401) <= 7
        assert server.post("/login", Authorization=f"Bearer {TOKEN}")[0] == 429, "looked at, and so could be guessed"
        assert server.post("/stop", **session)[0] == server.ask("GET", "/state", **session)[0] == 200
        time.sleep(2.5)
        assert server.post("/login", Authorization=f"Bearer {TOKEN}")[0] == 200
        assert server.ask("GET", "/state?token=" + TOKEN)[0] == 401, "a token in an address ends up in logs"
        assert server.ask("GET", "/")[0] == 200


def test_guesses_are_counted_by_peer_forgotten_after_a_while_and_never_pile_up():
    now_s = [0.0]
    guesses = Guesses(lambda: now_s[0])
    waits = []
    for _ in range(12):
        guesses.wrong("a")
        waits.append(guesses.wait_s("a"))
    assert waits == [0, 0, 0, 0, 1, 2, 4, 8, 16, 30, 30, 30] and guesses.wait_s("b") == 0
    now_s[0] = 30.0
    assert guesses.wait_s("a") == 0
    now_s[0] += dashboard_gate.FORGET_S + 1
    guesses.wrong("a")
    assert guesses.wait_s("a") == 0
    for number in range(3000):
        guesses.wrong(f"peer {number}")
    assert len(guesses) <= 1024


def test_an_open_port_needs_a_token():
    with (
        pytest.raises(ConfigError, match="a token of 8 characters or more is needed"),
        running(PlayedRobot(), "0.0.0.0"),
    ):
        pass


def test_connections_that_ask_nothing_are_ended_after_a_while(monkeypatch):
    monkeypatch.setattr(dashboard_door, "WAIT_S", 0.5)
    with running(PlayedRobot()) as server:
        links = knocks(server, 20) + knocks(server, 1, b"GET /state HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET")
        time.sleep(0.2)
        assert not any(map(closed, links[:20]))
        time.sleep(1.0)
        links[20].setblocking(False)
        assert links[20].recv(65536)
        assert all(map(closed, links)), "still open after three times the limit"


def test_stop_gets_in_beside_more_half_requests_than_there_is_room_for():
    """And beside a second machine's, whose connections stay."""
    with running(PlayedRobot()) as server:
        links = knocks(server, 600)
        began_s = time.monotonic()
        assert server.post("/stop")[0] == 200
        assert time.monotonic() - began_s < SOON_S
        time.sleep(0.2)
        assert sum(not closed(link) for link in links) <= dashboard_door.MOST_PER_PEER
        assert not closed(links[-1]), "the newest had to go"


def test_a_soft_limit_of_open_files_is_raised():
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
        dashboard_door.room_for_connections()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 256
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_stop_gets_in_where_files_are_few():
    """A process that may have 256 files, and 600 half requests."""
    port = free_port()
    script = (
        "import asyncio, resource; resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))\n"
        "from dashboard_server import PlayedRobot, serve\n"
        f"asyncio.run(serve(PlayedRobot(), '127.0.0.1', {port}, '', lambda: True))\n"
    )
    helpers = Path(dashboard_server.__file__).parent
    paths = os.pathsep.join([str(helpers), str(Path(dashboard_gate.__file__).parents[3])])
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None and process.stdout.readline().startswith("dashboard: http://")
        server = Server(port)
        links = knocks(server, 600)
        began_s = time.monotonic()
        assert server.post("/stop")[0] == 200
        assert time.monotonic() - began_s < SOON_S
        for link in links:
            link.close()
    finally:
        process.kill()
        said = process.communicate()[0]
    assert said == "", "out of files"


class Link:
    """A connection, as far as a door sees it."""

    def __init__(self, peer: str) -> None:
        self.peer, self.aborted = peer, False

    def get_extra_info(self, _: str) -> tuple[str, int]:
        return self.peer, 1

    def abort(self) -> None:
        self.aborted = True


def test_who_is_shown_out_is_of_the_greediest_and_not_at_work():
    door = Door(most=6, most_per_peer=5)
    person, greedy = Link("10.0.0.1"), [Link("10.0.0.2") for _ in range(5)]
    for link in (person, *greedy):
        door.enter(link)
    with door.working(greedy[0]):
        other = Link("10.0.0.3")
        door.enter(other)
        assert greedy[1].aborted and not (greedy[0].aborted or person.aborted)
        door.enter(Link("10.0.0.2"))  # its own limit is not reached now, the door's is
        assert greedy[2].aborted and len(door) == 6


def test_a_request_at_work_has_its_time_too():
    visit = Visit(Link("10.0.0.1"), "10.0.0.1")
    now_s = visit.since_s
    assert visit.overdue(now_s + 6) and not visit.overdue(now_s + 4)
    visit.change(True)
    assert not visit.overdue(visit.since_s + 6) and visit.overdue(visit.since_s + 11)


def test_a_peer_is_an_address_or_a_network():
    assert peer_of(("10.0.0.1", 5)) == peer_of(("::ffff:10.0.0.1", 5, 0, 0)) == "10.0.0.1"
    assert peer_of(("2001:db8::1", 5, 0, 0)) == peer_of(("2001:db8::2", 5, 0, 0)) != peer_of(("2001:db9::1", 5, 0, 0))
    assert peer_of(("fe80::1%eth0", 5, 0, 0)) and peer_of(None) == "unknown"


def test_the_server_ends_at_once_beside_a_half_sent_request():
    with running(PlayedRobot()) as server:
        half = b"POST /instruct HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Vla-Ros: 1\r\nContent-Length: 100\r\n\r\n{"
        links = knocks(server, 3, half)
        time.sleep(0.2)
    assert Server.ended_in_s < 2.0
    assert all(map(closed, links))


def test_twenty_viewers_are_not_shown_out():
    with running(PlayedRobot()) as server, ThreadPoolExecutor(20) as pool:
        assert set(pool.map(_status, [server] * 200)) == {200}


def _status(server: Server) -> int:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as link:
        link.sendall(b"GET /frame/front HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        return int(link.recv(4096).split()[1])


def test_the_page_is_part_of_the_package():
    folder = Path(dashboard_gate.__file__).parent / "page"
    assert {path.name for path in folder.iterdir()} == {"index.html", "page.css", "page.js"}

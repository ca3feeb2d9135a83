"""Processes: started, watched, ended, with the exit code of the first that failed."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from vla_ros.core.errors import ConfigError
from vla_ros.launcher.output import Screen
from vla_ros.launcher.resolving import ProcessSpec
from vla_ros.launcher.supervisor import Supervisor

FOREVER = "import time; print('up', flush=True); time.sleep(60)"
DEAF = "import signal, time; signal.signal(2, signal.SIG_IGN); signal.signal(15, signal.SIG_IGN);" + FOREVER


def spec(label: str, code: str, *, shutdown: bool = False) -> ProcessSpec:
    return ProcessSpec(label, (sys.executable, "-c", code), dict(os.environ), shutdown, False)


def run(*specs: ProcessSpec, grace_s: float = 2.0) -> tuple[int, str, float]:
    """(exit code, screen, seconds)."""
    stream = io.StringIO()
    start = time.monotonic()
    code = Supervisor(specs, Screen(stream), grace_s).run()
    return code, stream.getvalue(), time.monotonic() - start


@pytest.fixture
def send() -> Iterator[None]:
    """SIGTERM to this process, as a user would send it to the launcher, one second from now."""
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    yield
    timer.cancel()


def test_ends_when_all_have_ended() -> None:
    code, screen, _ = run(spec("a", "print('x')"), spec("b", "print('y')"))
    assert code == 0 and "[a] x\n" in screen and "[b] y\n" in screen and "[launch] a ended\n" in screen


def test_the_first_failure_is_the_exit_code_and_the_others_go_on() -> None:
    code, screen, _ = run(spec("a", "raise SystemExit(3)"), spec("b", "import time; time.sleep(0.8); exit(4)"))
    assert code == 3 and "a died: exit code 3" in screen and "b died: exit code 4" in screen


def test_a_killed_process_counts_as_a_shell_counts_it() -> None:
    code, screen, _ = run(spec("a", "import os; os.kill(os.getpid(), 9)"))
    assert code == 137 and "a died: exit code 137" in screen


@pytest.mark.parametrize("exit_code", [0, 5])
def test_on_exit_shutdown_ends_all(exit_code: int) -> None:
    code, _, seconds = run(
        spec("a", FOREVER), spec("b", f"import time; time.sleep(0.5); exit({exit_code})", shutdown=True)
    )
    assert code == exit_code and seconds < 2.0


@pytest.mark.parametrize(("again_s", "waits"), [(0.1, True), (1.0, False)])
def test_a_second_signal_insists_unless_it_is_an_echo_of_the_first(again_s: float, waits: bool) -> None:
    """Deaf to SIGTERM, and gone by itself after three seconds."""
    deaf = spec("deaf", DEAF.replace("sleep(60)", "sleep(3)"))
    for delay_s in (1.0, 1.0 + again_s):
        threading.Timer(delay_s, os.kill, (os.getpid(), signal.SIGTERM)).start()
    _, screen, _ = run(deaf, grace_s=10.0)
    assert ("killed" in screen) == (not waits)


def test_what_does_not_listen_is_killed_after_the_grace() -> None:
    code, screen, seconds = run(spec("deaf", DEAF), spec("b", "import time; time.sleep(1)", shutdown=True), grace_s=0.5)
    assert code == 0 and "deaf did not end in time: killed" in screen and seconds < 4.0


def test_a_signal_ends_all_and_is_no_failure(send: None) -> None:
    code, screen, seconds = run(spec("a", FOREVER), spec("b", FOREVER))
    assert code == 0 and seconds < 3.0 and "died" not in screen


TELLING = """
import os, signal, time
told = lambda number, _: (print('got', signal.Signals(number).name, flush=True), os._exit(0))
for one in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
    signal.signal(one, told)
print('up', flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_whatever_signal_ends_the_launch_its_processes_get_sigterm(number: int) -> None:
    timer = threading.Timer(1.0, os.kill, (os.getpid(), number))
    timer.start()
    code, screen, seconds = run(spec("a", TELLING), spec("b", TELLING))
    timer.cancel()
    assert code == 0 and screen.count("got SIGTERM") == 2 and screen.count("got ") == 2 and seconds < 3.0


def launcher_of(code: str) -> subprocess.Popen[str]:
    """A launcher of one process, in a process of its own, with the process up."""
    script = (
        "import os, sys\nfrom vla_ros.launcher.resolving import ProcessSpec\n"
        "from vla_ros.launcher.output import Screen\nfrom vla_ros.launcher.supervisor import Supervisor\n"
        f"code = {code!r}\n"
        "Supervisor([ProcessSpec('a', (sys.executable, '-c', code), dict(os.environ), False, False)], Screen()).run()"
    )
    launcher = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert launcher.stdout is not None
    while "up" not in (line := launcher.stdout.readline()):
        assert line, "the launcher ended by itself"
    return launcher


def test_under_nohup_a_closed_terminal_ends_nothing() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        launcher = launcher_of(FOREVER)
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    launcher.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert launcher.poll() is None
    launcher.terminate()
    assert launcher.wait(5) == 0


def test_a_terminal_that_closes_keeps_no_process_from_its_end() -> None:
    """Nobody reads what the launcher prints any more, and it says that its processes did not end."""
    launcher = launcher_of(DEAF)
    assert launcher.stdout is not None
    launcher.stdout.close()
    launcher.send_signal(signal.SIGHUP)
    assert launcher.wait(8) == 0


SLOW_TO_SUSPEND = """
import os, signal, time
def rest(number, _):
    time.sleep(0.3)
    print('at rest', flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
signal.signal(signal.SIGTSTP, rest)
print('up', flush=True)
end = time.time() + 60
while time.time() < end:
    time.sleep(0.05)
    print('working', flush=True)
"""


def test_ctrl_z_lets_the_processes_come_to_rest_and_suspends_them() -> None:
    launcher = launcher_of(SLOW_TO_SUSPEND)
    assert launcher.stdout is not None
    launcher.send_signal(signal.SIGTSTP)
    _, status = os.waitpid(launcher.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    launcher.send_signal(signal.SIGCONT)
    time.sleep(0.3)
    launcher.terminate()
    assert launcher.wait(5) == 0
    screen = launcher.stdout.read()
    before, after = screen.split("at rest")
    assert "suspended: robots stop" in before and before.count("working") < 20 and "working" in after


def test_children_of_children_end_too() -> None:
    child = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {FOREVER!r}]).pid, flush=True)"
    _, screen, _ = run(spec("a", child + "; import time; time.sleep(0.5)"))
    pid = int(screen.split("[a] ")[1].split()[0])
    time.sleep(0.2)
    assert not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split(")")[1]


def test_a_command_that_is_not_there_is_one_clear_line_and_nothing_stays_behind() -> None:
    missing = ProcessSpec("b", ("/nowhere/node",), dict(os.environ), False, False)
    with pytest.raises(ConfigError, match="b: cannot start /nowhere/node"):
        run(spec("a", FOREVER), missing)


def test_children_end_when_the_launcher_is_killed(tmp_path: Path) -> None:
    script = (
        "import os, sys\nfrom vla_ros.launcher.resolving import ProcessSpec\n"
        "from vla_ros.launcher.output import Screen\nfrom vla_ros.launcher.supervisor import Supervisor\n"
        f"code = {FOREVER!r}\n"
        "Supervisor([ProcessSpec('a', (sys.executable, '-c', code), dict(os.environ), False, False)], Screen()).run()"
    )
    launcher = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert launcher.stdout is not None
    said = ""
    while "started, pid" not in said or "up" not in said:
        line = launcher.stdout.readline()
        assert line, f"the launcher ended before its child was up: {said!r}"
        said += line
    pid = int(said.split("started, pid ")[1].split()[0])
    launcher.kill()
    launcher.wait()
    deadline = time.monotonic() + 5.0
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split(")")[1]

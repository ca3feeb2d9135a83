"""`vla-ros launch` with real nodes: names, remaps, parameters of every type, environment arrive; all of it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.live

TALKER = """#!{python}
import rclpy
from rclpy.executors import ExternalShutdownException
from std_msgs.msg import String
rclpy.init()
node = rclpy.create_node('unnamed', automatically_declare_parameters_from_overrides=True)
values = [node.get_parameter(name).value for name in ('sentence', 'count', 'speed', 'loud', 'names')]
publisher = node.create_publisher(String, 'said', 1)
text = f'{{node.get_fully_qualified_name()}} {{values!r}}'
node.create_timer(0.05, lambda: publisher.publish(String(data=text)))
print('talker ready', flush=True)
try:
    rclpy.spin(node)
except (KeyboardInterrupt, ExternalShutdownException):
    pass
finally:  # also where the signal came between two waits, or while it published
    print('talker ends', flush=True)
"""
LISTENER = """#!{python}
import os, sys
import rclpy
from std_msgs.msg import String
def hear(message):
    print('heard', message.data, os.environ['COLOUR'], flush=True)
    sys.exit(int(os.environ['CODE']))
rclpy.init()
node = rclpy.create_node('listener')
node.create_subscription(String, 'heard', hear, 1)
print('listener ready', flush=True)
rclpy.spin(node)
"""
LAUNCH = """launch:
- arg: {name: sentence}
- set_env: {name: COLOUR, value: $(env COLOUR blue)}
- node:
    pkg: small
    exec: talker
    name: speaker
    namespace: room
    remap: [{from: said, to: /air}]
    param:
    - {name: sentence, value: $(var sentence), type: str}
    - {name: count, value: 3}
    - {name: speed, value: '2', type: float}
    - {name: loud, value: 'true'}
    - {name: names, value: [a, 'yes']}
- node:
    pkg: small
    exec: listener
    on_exit: shutdown
    remap: [{from: heard, to: /air}]
"""


@pytest.fixture
def file(tmp_path: Path, ros_domain: int, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A launch file of two nodes, with their package in AMENT_PREFIX_PATH."""
    folder = tmp_path / "lib" / "small"
    folder.mkdir(parents=True)
    for name, text in (("talker", TALKER), ("listener", LISTENER)):
        (folder / name).write_text(text.format(python=sys.executable), encoding="utf-8")
        (folder / name).chmod(0o755)
    path = tmp_path / "two.launch.yaml"
    path.write_text(LAUNCH, encoding="utf-8")
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
    return path


def start(file: Path, *words: str, code: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "vla_ros.cli.main", "launch", str(file), *words]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "CODE": str(code)}
    )


@pytest.mark.parametrize("code", [0, 7])
def test_two_nodes_find_each_other_and_end_together(file: Path, code: int) -> None:
    sentence = 'push: "the" red one\'s [3] {x} # é'
    process = start(file, f"sentence:={sentence}", code=code)
    output, _ = process.communicate(timeout=40)
    said = f"/room/speaker {[sentence, 3, 2.0, True, ['a', 'yes']]!r} blue"
    assert f"[listener] heard {said}" in output, output
    assert "[speaker] talker ends" in output
    assert process.returncode == code, output


def test_sigterm_ends_everything_soon(file: Path) -> None:
    file.write_text(LAUNCH.replace("to: /air", "to: /wall", 1), encoding="utf-8")
    process = start(file, "sentence:=hello")
    assert process.stdout is not None
    pids, ready = [], 0
    while ready < 2:  # rclpy may lose a signal that comes while it starts
        line = process.stdout.readline()
        assert line, "the launch ended by itself"
        pids += [int(line.split()[-1])] if "started, pid" in line else []
        ready += "ready" in line
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0 and time.monotonic() - began < 5.0, output  # 2 s where nothing else runs
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_a_wrong_argument_is_one_line_and_starts_nothing(file: Path) -> None:
    process = start(file, "sentence:=x", "sentense:=y")
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 2
    assert output.startswith("vla-ros: error: ") and "did you mean 'sentence'?" in output and output.count("\n") == 1


def test_a_module_in_the_current_folder_is_not_run_by_our_nodes(
    tmp_path: Path, ros_domain: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under `python -m` a rclpy.py beside the user would be every node's rclpy."""
    (tmp_path / "rclpy.py").write_text("print('HIJACKED', flush=True); raise SystemExit(9)\n")
    file = tmp_path / "one.launch.yaml"
    node = "{pkg: vla_ros, exec: commander, on_exit: shutdown, param: [{name: robot, value: nobody}]}"
    file.write_text(f"launch:\n- node: {node}\n", encoding="utf-8")
    command = [sys.executable, "-P", "-m", "vla_ros.cli.main", "launch", "--own", str(file)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=40, check=False)
    assert "HIJACKED" not in done.stdout and "nothing is called 'nobody'" in done.stdout
    assert done.returncode == 2


@pytest.mark.parametrize("words", [[], ["stay:=true"]])
def test_a_policy_that_refuses_ends_the_launch_unless_it_is_to_stay(
    words: list[str], ros_domain: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ["robot:=ur5e_tabletop", "model:=nobody", *words]
    command = [sys.executable, "-m", "vla_ros.cli.main", "launch", "--own", "vla.launch.yaml", *given]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    if words:
        while "policy died: exit code 2" not in (line := process.stdout.readline()):
            assert line, "the launch ended"
        time.sleep(1.0)
        assert process.poll() is None
        process.terminate()
    output, _ = process.communicate(timeout=40)
    assert process.returncode == 2
    if not words:
        assert "nobody: no model folder" in output
        assert "policy died: exit code 2; the launch ends with it" in output

"""From launch files to processes, and what is refused on the way."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from vla_ros.core.errors import ConfigError
from vla_ros.launcher.resolving import ProcessSpec, declared_arguments, resolve
from vla_ros.launcher.running import find_launch_file, parse_arguments

LAUNCH = Path(__file__).resolve().parents[2] / "launch"
NODE = "- node: {pkg: vla_ros, exec: demo, %s}"


def run(folder: Path, *lines: str, **arguments: str) -> tuple[ProcessSpec, ...]:
    path = folder / "x.launch.yaml"
    path.write_text("\n".join(["launch:", *lines]), encoding="utf-8")
    return resolve(path, arguments, {"HOME": "/home/u"})


def words(spec: ProcessSpec) -> list[str]:
    assert spec.command[:4] == (sys.executable, "-P", "-m", "vla_ros.nodes.demo")
    assert spec.command[4] == "--ros-args"
    return list(spec.command[5:])


def parameter(folder: Path, text: str, **arguments: str) -> str:
    declared = [f"- arg: {{name: {name}}}" for name in arguments]
    (spec,) = run(folder, *declared, NODE % f"param: [{{{text}}}]", **arguments)
    return words(spec)[1]


def test_a_node_becomes_a_command_line(tmp_path: Path) -> None:
    (spec,) = run(tmp_path, NODE % "name: eye, namespace: left, remap: [{from: a, to: b}, {from: c, to: /d}]")
    assert spec.label == "eye"
    assert words(spec) == ["-r", "__node:=eye", "-r", "__ns:=/left", "-r", "a:=b", "-r", "c:=/d"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: x, value: 3", "x:=3"),
        ("name: x, value: 2.0", "x:=2.0"),
        ("name: x, value: true", "x:=true"),
        ("name: x, value: '3'", "x:=3"),
        ("name: x, value: '3', type: str", 'x:="3"'),
        ("name: x, value: '3', type: float", "x:=3.0"),
        ("name: x, value: 'no', type: str", 'x:="no"'),
        ("name: x, value: '', type: str", 'x:=""'),
        ("name: x, value: [1.0, 2.5]", "x:=[1.0, 2.5]"),
        ("name: x, value: '[a, b]'", 'x:=["a", "b"]'),
        ("name: a.b, value: text", 'a.b:="text"'),
    ],
)
def test_parameter_values_keep_the_types_that_launch_ros_gives_them(tmp_path: Path, text: str, expected: str) -> None:
    assert parameter(tmp_path, text) == expected


def test_sentences_survive_as_text(tmp_path: Path) -> None:
    sentence = "push: \"the\" red one's [3] {x} # 'now' é"
    assert parameter(tmp_path, "name: x, value: $(var s), type: str", s=sentence) == (
        'x:="push: \\"the\\" red one\'s [3] {x} # \'now\' é"'
    )


def test_parameter_files(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("{}", encoding="utf-8")
    (spec,) = run(tmp_path, NODE % f"param: [{{from: {tmp_path}/p.yaml}}]")
    assert words(spec) == ["--params-file", f"{tmp_path}/p.yaml"]


def test_environment_reaches_only_what_follows(tmp_path: Path) -> None:
    first, second = run(
        tmp_path,
        NODE % "name: a",
        "- set_env: {name: COLOUR, value: $(env COLOUR blue)}",
        NODE % "name: b, env: [{name: OWN, value: '1'}]",
    )
    assert "COLOUR" not in first.environment and first.environment["HOME"] == "/home/u"
    assert second.environment["COLOUR"] == "blue" and second.environment["OWN"] == "1"


@pytest.mark.parametrize(("value", "names"), [("true", ["a"]), ("1", ["a"]), ("False", ["b"]), ("0", ["b"])])
def test_conditions(tmp_path: Path, value: str, names: list[str]) -> None:
    lines = ["- arg: {name: x}", NODE % "name: a, if: $(var x)", NODE % "name: b, unless: $(var x)"]
    assert [spec.label for spec in run(tmp_path, *lines, x=value)] == names


def test_include_gives_arguments_and_shares_what_it_starts(tmp_path: Path) -> None:
    inner = tmp_path / "inner.yaml"
    inner.write_text(
        "launch:\n- arg: {name: who}\n- arg: {name: ns, default: deep}\n"
        + NODE % "name: $(var who), namespace: $(var ns)",
        encoding="utf-8",
    )
    (spec,) = run(tmp_path, f"- include: {{file: {inner}, arg: [{{name: who, value: me}}]}}")
    assert words(spec) == ["-r", "__node:=me", "-r", "__ns:=/deep"]


def test_let_and_choices(tmp_path: Path) -> None:
    lines = ["- arg: {name: x, choice: [{value: one}, {value: two}]}", "- let: {name: y, value: $(var x)-y}"]
    (spec,) = run(tmp_path, *lines, NODE % "name: $(var y)", x="two")
    assert spec.label == "two-y"
    with pytest.raises(ConfigError, match=r"launch\[0\].arg: argument 'x': .* 'twoo'; did you mean 'two'\?"):
        run(tmp_path, *lines, x="twoo")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["- nod: {}"], r"x.launch.yaml: launch\[0\]: unknown entity 'nod'; did you mean 'node'\?"),
        (["- group: []"], "unknown entity 'group'; known: arg, include, let, node, set_env"),
        ([NODE % "nmae: x"], r"launch\[0\].node: unknown key 'nmae'; did you mean 'name'\?"),
        ([NODE % "respawn: 'true'"], "unknown key 'respawn'"),
        (["- node: {exec: demo}"], "node: key 'pkg' is missing"),
        ([NODE % "name: 3"], "name must be text in quotes, '3', got 3"),
        ([NODE % "output: log"], "output: 'log' is not supported"),
        ([NODE % "on_exit: restart"], "on_exit: 'restart' is not supported"),
        ([NODE % "param: {a: b}"], "param must be a list"),
        ([NODE % "param: []"], "param must be a list of one item or more"),
        ([NODE % "param: [{name: x}]"], r"param\[0\]: must be 'name' and 'value'"),
        ([NODE % "param: [{nam: x}]"], r"param\[0\]: unknown key 'nam'; did you mean 'name'\?"),
        ([NODE % "param: [{name: x, value: ''}]"], "parameter 'x' is empty"),
        ([NODE % "param: [{name: x, value: '1.5', type: int}]"], "parameter 'x': '1.5' is not of type int"),
        ([NODE % "param: [{name: x, value: [1, a]}]"], "must be text, number, bool or a list of one kind"),
        ([NODE % "param: [{name: x, value: .nan}]"], "must be finite, got nan"),
        ([NODE % "param: [{from: /nowhere.yaml}]"], "param from '/nowhere.yaml': no such file"),
        ([NODE % "if: 'maybe'"], "must be true, false, 1 or 0, got 'maybe'"),
        ([NODE % "if: 'true', unless: 'true'"], "'if' and 'unless' together"),
        (["- node: {pkg: vla_ros, exec: polcy}"], "package 'vla_ros' has no executable 'polcy'"),
        (["- node: {pkg: other, exec: x}"], "package 'other' has no executable 'x' in AMENT_PREFIX_PATH"),
        (["- arg: {name: x}"], r"argument 'x' is required; give x:=VALUE"),
        (["- arg: {name: x, default: 3}"], "default must be text in quotes, '3', got 3"),
        (["- set_env: {name: x}"], "set_env: key 'value' is missing"),
        (["- include: {file: /nowhere.yaml}"], "/nowhere.yaml: no such file"),
    ],
)
def test_what_is_refused(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        run(tmp_path, *lines)
    assert str(tmp_path) in str(raised.value) and "\n" not in str(raised.value)


def test_an_unknown_argument_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown argument 'sed'; did you mean 'seed'\?"):
        run(tmp_path, "- arg: {name: seed, default: '0'}", sed="1")


def test_a_file_that_includes_itself_ends(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does it include itself"):
        run(tmp_path, f"- include: {{file: {tmp_path}/x.launch.yaml}}")


@pytest.mark.parametrize("text", ["", "[]", "launch: {}", "launch: []\nother: 1", "- node: {}"])
def test_a_file_of_another_shape_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="must be one key 'launch'"):
        resolve(path, {}, {})


def test_arguments_of_the_command_line() -> None:
    assert parse_arguments(["a:=1", "b:=x:=y", "a:=2"]) == {"a": "2", "b": "x:=y"}
    for word in ("a", "a=1", "a:=", ":=1"):
        with pytest.raises(ConfigError, match="launch argument must be key:=value"):
            parse_arguments([word])


def test_launch_files_are_found_by_path_and_by_name(tmp_path: Path) -> None:
    assert find_launch_file("demo") == find_launch_file("demo.launch.yaml") == LAUNCH / "demo.launch.yaml"
    assert find_launch_file(str(LAUNCH / "vla.launch.yaml")) == LAUNCH / "vla.launch.yaml"
    with pytest.raises(ConfigError, match=r"no such launch file; did you mean 'demo.launch.yaml'\?"):
        find_launch_file("dmo.launch.yaml")


def test_the_demo_starts_its_four_nodes() -> None:
    specs = resolve(LAUNCH / "demo.launch.yaml", {"instruction": "push the red block to the left", "seed": "3"}, {})
    assert [spec.label for spec in specs] == ["sim", "policy", "commander", "demo"]
    assert 'instruction:="push the red block to the left"' in specs[3].command and "seed:=3" in specs[3].command
    assert all(spec.environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST" for spec in specs)


def test_a_robot_of_ones_own_needs_its_contract_and_a_model() -> None:
    assert {arg.name for arg in declared_arguments(LAUNCH / "vla.launch.yaml") if arg.default is None} == {
        "robot",
        "model",
    }
    specs = resolve(LAUNCH / "vla.launch.yaml", {"robot": "r.yaml", "model": "m"}, {})
    assert [spec.label for spec in specs] == ["policy", "commander"]


@pytest.mark.parametrize(("words", "ends"), [({}, True), ({"stay": "true"}, False)])
def test_a_policy_or_commander_that_ends_takes_the_launch_with_it_unless_asked_to_stay(words, ends) -> None:
    specs = resolve(LAUNCH / "vla.launch.yaml", {"robot": "r.yaml", "model": "m"} | words, {})
    assert [(spec.label, spec.shutdown_on_exit) for spec in specs] == [("policy", ends), ("commander", ends)]


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("vla", {"robot": "r.yaml", "model": "m"}),
        ("demo", {"dashboard": "true", "world_model": "true", "scene_question": "true"}),
        ("record", {}),
        ("replay", {"bag": "b", "graph": "true"}),
    ],
)
def test_every_node_follows_the_namespace(file: str, words: dict[str, str]) -> None:
    for given, expected in (({}, "/"), ({"namespace": "left"}, "/left"), ({"namespace": "/hall/left/"}, "/hall/left")):
        specs = resolve(LAUNCH / f"{file}.launch.yaml", words | given, {})
        assert specs and all(f"__ns:={expected}" in spec.command for spec in specs)


def test_a_namespace_that_is_no_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="'le ft' is not a ROS name"):
        resolve(LAUNCH / "record.launch.yaml", {"namespace": "le ft"}, {})

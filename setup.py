"""The ament_python package: `colcon build` and `pip install` both read this file."""

from pathlib import Path

from setuptools import find_packages, setup

NAME = "vla_ros"
HERE = Path(__file__).resolve().parent


def requirements(file: str) -> list[str]:
    """Requirement lines of a file, without their comments and without references to other files."""
    lines = (line.split("#")[0].strip() for line in (HERE / file).read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("-")]


def tree(folder: str) -> list[tuple[str, list[str]]]:
    """(destination, files) for every folder below `folder`, so that the share keeps its shape."""
    files: dict[str, list[str]] = {}
    for path in sorted((HERE / folder).rglob("*")):
        relative = path.relative_to(HERE)
        if path.is_file() and "__pycache__" not in relative.parts:
            files.setdefault(f"share/{NAME}/{relative.parent}", []).append(str(relative))
    return sorted(files.items())


setup(
    name=NAME,
    version="0.2.0",
    description="Vision-language-action and unified-world-model policies on ROS 2 robots",
    license="Apache-2.0",
    maintainer="vla_ros maintainers",
    maintainer_email="maintainers@vla-ros.example",
    python_requires=">=3.11",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={NAME: ["py.typed", "**/*.xml", "**/*.html", "**/*.css", "**/*.js"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        *tree("launch"),
        *tree("config"),
        *tree("models"),
    ],
    install_requires=requirements("requirements.txt"),
    extras_require={
        "training": requirements("requirements-training.txt"),
        "dev": requirements("requirements-dev.txt"),
        "docs": requirements("requirements-docs.txt"),
        "test": ["pytest", "hypothesis"],
    },
    zip_safe=True,
    entry_points={
        "console_scripts": [
            "vla-ros = vla_ros.cli.main:main",
            "policy = vla_ros.nodes.policy:main",
            "commander = vla_ros.nodes.commander:main",
            "sim = vla_ros.nodes.sim:main",
            "demo = vla_ros.nodes.demo:main",
            "bench_robot = vla_ros.nodes.bench_robot:main",
            "bench_cameras = vla_ros.nodes.bench_cameras:main",
            "recorder = vla_ros.nodes.recorder:main",
            "replay = vla_ros.nodes.replay:main",
            "world_model = vla_ros.nodes.world_model:main",
            "dashboard = vla_ros.nodes.dashboard:main",
            "scene_question = vla_ros.nodes.scene_question:main",
        ],
    },
)
